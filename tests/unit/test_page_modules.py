"""The modules of the plots: they work as modules for the dashboard, and in one scope for the page of `results --html`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

import pipeline_queue.reporting
from pipeline_queue.reporting.page import inlined_script

PAGES = Path(pipeline_queue.reporting.__file__).parent / "pages"
ENTRY = "results.js"
MODULES = {path.name: path.read_text("utf-8") for path in sorted(PAGES.glob("*.js"))}
MAX_LINES = 400

_IMPORT = re.compile(r'^import \{ ([A-Za-z_, ]+) \} from "\./([a-z_]+\.js)";$', re.MULTILINE)
_FUNCTION = re.compile(r"^(?:export )?(?:async )?(?:function|class) (\w+)", re.MULTILINE)
_CONSTANTS = re.compile(r"^(?:export )?(?:const|let) (.*)$", re.MULTILINE)
_EXPORTED = re.compile(r"^export (?:(?:async )?function|const|class) (\w+)", re.MULTILINE)
_NOT_CODE = re.compile(r"//[^\n]*|\"[^\"\n]*\"")
_TEMPLATE = re.compile(r"`[^`]*`")


def _imports(text: str) -> list[tuple[str, str]]:
    """Pairs of a name and the file that it comes from."""
    return [(name, file) for names, file in _IMPORT.findall(text) for name in names.split(", ")]


def _code(text: str) -> str:
    """Without comments, imports and texts, but with the expressions inside of texts."""
    without = _NOT_CODE.sub("", _IMPORT.sub("", text))
    return _TEMPLATE.sub(lambda found: " ".join(re.findall(r"\$\{([^}]*)\}", found[0])), without)


def _top_level_names(text: str) -> list[str]:
    names = _FUNCTION.findall(text)
    for line in _CONSTANTS.findall(text):
        assert re.match(r"\w+ = ", line), f"a top-level constant that is taken apart: {line}"
        # Further constants stand behind a plain number: `LEFT = 66, RIGHT = 14`.
        names += [line.split(" = ")[0], *re.findall(r"\d, (\w+) = ", line)]
    return names


EXPORTS = {name: _EXPORTED.findall(text) for name, text in MODULES.items()}
OWNER = {export: name for name, exports in EXPORTS.items() for export in exports}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_says_its_job_first_and_has_named_exports_only(name: str) -> None:
    text = MODULES[name]
    assert text.startswith("// ") and len(text.splitlines()) <= MAX_LINES
    exports = [line for line in text.splitlines() if line.startswith("export")]
    assert len(exports) == len(EXPORTS[name]) and bool(exports) == (name != ENTRY)


@pytest.mark.parametrize("name", MODULES)
def test_every_import_is_in_one_line_and_can_be_resolved(name: str) -> None:
    text = MODULES[name]
    assert len(re.findall(r"\bimport\b", _NOT_CODE.sub("", text))) == len(_IMPORT.findall(text))
    for imported, file in _imports(text):
        assert file in MODULES and imported in EXPORTS[file], f"{name} imports {imported} from {file}"


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_it_uses_and_nothing_else(name: str) -> None:
    """In one scope a forgotten import would go unnoticed; the dashboard would fail."""
    text = _code(MODULES[name])
    imported = {export for export, _ in _imports(MODULES[name])}
    used = {export for export in OWNER if re.search(rf"(?<!\w)(?<!(?<!\.\.)\.){export}\b(?!:)", text)}
    assert used - set(EXPORTS[name]) == imported


def test_top_level_names_are_unique_among_the_modules() -> None:
    counted = Counter(name for text in MODULES.values() for name in _top_level_names(text))
    assert len(counted) > 50
    assert [name for name, count in counted.items() if count > 1] == []


@pytest.mark.parametrize("name", sorted(set(MODULES) - {ENTRY}))
def test_only_the_page_itself_knows_ids_and_does_something_when_loaded(name: str) -> None:
    text = MODULES[name]
    assert "getElementById" not in text and "document.querySelector" not in text
    begins = {line.split(" ")[0] for line in text.splitlines() if line and line[0] not in " /}]"}
    assert begins <= {"import", "export", "const", "let", "function"}


@pytest.mark.parametrize("name", MODULES)
def test_values_are_shown_as_text_only(name: str) -> None:
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "DOMParser",
        '"style"',
    ):
        assert forbidden not in MODULES[name]


def test_the_page_has_every_module_once_and_after_those_it_needs() -> None:
    script = inlined_script(ENTRY)
    assert not re.search(r"^(?:import|export)\b", script, re.MULTILINE)
    places = {}
    for name, text in MODULES.items():
        first = text.splitlines()[0]
        assert script.count(first) == 1, name
        places[name] = script.index(first)
    assert max(places, key=places.__getitem__) == ENTRY
    for name, text in MODULES.items():
        assert all(places[file] < places[name] for _, file in _imports(text)), name


def test_shared_rules_reach_nothing_but_the_plots() -> None:
    css = re.sub(r"/\*.*?\*/", "", (PAGES / "plots.css").read_text("utf-8"), flags=re.DOTALL)
    selectors = [one.strip() for block in re.findall(r"([^{}]+)\{", css) for one in block.split(",")]
    others = [
        one for one in selectors if not re.match(r"\.plots[ .]|\.plots$|:root|@media", one) and one != "max-width"
    ]
    assert others == []
    assert all(name.startswith("--plot-") for name in re.findall(r"(--[a-z-]+):", css))
