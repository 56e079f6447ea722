"""Imports run one way, as docs/design.md says: read from the source, so that nothing has to be imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the bottom up: a module may import its own layer and those before it.
LAYERS = [
    {"contract", "__init__"},
    {"pipeline"},
    {
        *("parameters", "expressions", "references", "problems", "conditions", "optional_words", "list_values"),
        "failure_causes",
    },
    {
        *("planner", "sharing", "step_progress", "sources", "sweep", "sweep_settings", "space"),
        *("snapshot", "loading", "scaffold"),
    },
    {
        "canvas",
        "storage_match",
        "submission",
        "forgetting",
        "report",
        "trace",
        "explain",
        "sweep_report",
        "sweep_progress",
        "results",
        "results_formats",
        "results_page",
        "pages",
    },
    {"feeder"},
    {"resume", "local", "doctor"},
    {"retry"},
    {"client"},
    {"cli", "__main__"},
]


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it, by its full name."""
    package = ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1]) if node.level else ""
            yield from (".".join(filter(None, [above, node.module, alias.name])) for alias in node.names)


def _layer(part: str) -> int | None:
    return next((number for number, layer in enumerate(LAYERS) if part in layer), None)


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", _modules("pipeline_queue"), ids=_id)
def test_the_submit_side_never_imports_workers(path: Path) -> None:
    assert [name for name in _imports(path) if name.split(".")[0] == "workers"] == []


@pytest.mark.parametrize("path", _modules("pipeline_queue/contract"), ids=_id)
def test_the_contract_imports_nothing_else_of_ours(path: Path) -> None:
    ours = [name for name in _imports(path) if name.startswith("pipeline_queue.")]
    assert [name for name in ours if not name.startswith("pipeline_queue.contract")] == []


@pytest.mark.parametrize("path", [*_modules("workers/supervisor"), *_modules("workers/warm")], ids=_id)
def test_the_small_processes_import_only_the_standard_library_and_themselves(path: Path) -> None:
    allowed = {*sys.stdlib_module_names}
    foreign = [name for name in _imports(path) if name.split(".")[0] not in allowed]
    own = ("workers.warm",) if path.parent.name == "warm" else ("workers.supervisor", "workers.warm")
    assert [name for name in foreign if not name.startswith(own)] == []


@pytest.mark.parametrize("path", _modules("pipeline_queue"), ids=_id)
def test_every_module_imports_only_its_own_layer_and_lower_ones(path: Path) -> None:
    own = path.relative_to(ROOT / "pipeline_queue").with_suffix("").parts[0]
    layer = _layer(own)
    assert layer is not None, f"give pipeline_queue.{own} a layer, in docs/design.md and here"
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "pipeline_queue" and len(parts) > 1:
            imported = _layer(parts[1])
            assert imported is None or imported <= layer, f"{own} imports {name}, which is above it"


@pytest.mark.parametrize("path", _modules("workers"), ids=_id)
def test_workers_use_neither_client_nor_command_line_nor_the_embedded_default(path: Path) -> None:
    above = ("pipeline_queue.cli", "pipeline_queue.client", "pipeline_queue.local")
    assert [name for name in _imports(path) if name.startswith(above)] == []


def test_no_module_imports_itself_in_a_circle() -> None:
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in
             [*_modules("pipeline_queue"), *_modules("workers")]}  # fmt: skip
    graph = {
        name: {found for one in _imports(path) for found in (one, one.rpartition(".")[0]) if found in names} - {name}
        for name, path in names.items()
    }
    # Take away, again and again, what imports nothing that is left.
    while free := {name for name, imported in graph.items() if not imported & graph.keys()}:
        graph = {name: imported for name, imported in graph.items() if name not in free}
    assert graph == {}
