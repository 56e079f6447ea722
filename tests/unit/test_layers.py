"""Imports run one way, as docs/explanation/how-it-works.md lists the layers: read from the source, so that nothing has to be imported."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# From the top down: a package may import itself and those below it. `docs/explanation/how-it-works.md` lists them in this order.
LAYERS = (
    *(
        "cli",
        "dashboard",
        "client",
        "local",
        "submitting",
        "reporting",
        "scaffold",
        "loading",
        "planning",
        "space",
        "model",
    ),
    *("index", "broker", "storage", "contract"),
)
ABOVE_ALL = ("__init__", "__main__")


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
    if own in ABOVE_ALL:
        return
    assert own in LAYERS, f"give pipeline_queue.{own} a layer, in docs/explanation/how-it-works.md and here"
    allowed = LAYERS[LAYERS.index(own) :]
    for name in _imports(path):
        parts = name.split(".")
        if parts[0] == "pipeline_queue" and len(parts) > 1 and parts[1] != "__version__":
            assert parts[1] in allowed, f"{own} imports {name}, which is above it"


def test_the_page_about_the_design_lists_the_layers_in_this_order() -> None:
    text = (ROOT / "docs/explanation/how-it-works.md").read_text()
    rows = [line.split("`")[1].rstrip("/") for line in text.splitlines() if line.startswith("| `pipeline_queue/")]
    assert [row.removeprefix("pipeline_queue/").removesuffix(".py") for row in rows] == list(LAYERS)


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
