"""Only the package `storage` touches the shared files: elsewhere there are a `RunStore`, and addresses for people."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest

from pipeline_queue.storage import run_store

ROOT = Path(__file__).resolve().parents[2]
INSIDE = ROOT / "pipeline_queue" / "storage"

MAY_OPEN_A_STORAGE = {
    "pipeline_queue/client.py",
    "pipeline_queue/index/backend.py",
    "pipeline_queue/index/storage_match.py",
    "pipeline_queue/local/service.py",
    "pipeline_queue/reporting/doctor.py",
}
"""Who chooses which store it is; everybody else is given one."""

IMPLEMENTATION = {
    "attempt_folder",
    "kept_files",
    "listing",
    "marker",
    "reading",
    "removal",
    "run_folder",
    "step_folder",
}
"""Modules of the file system's store that nobody outside needs."""

OPERATIONS = {
    *("rename", "replace", "mkdir", "makedirs", "unlink", "remove", "rmdir", "rmtree", "open", "scandir", "listdir"),
    *(
        "iterdir",
        "glob",
        "rglob",
        "walk",
        "exists",
        "is_file",
        "is_dir",
        "is_symlink",
        "stat",
        "lstat",
        "touch",
        "chmod",
    ),
    *("read_text", "read_bytes", "write_text", "write_bytes", "symlink_to", "link", "symlink", "readlink", "utime"),
    *("copy", "copy2", "copyfile", "copytree", "move", "samefile", "resolve"),
}
ADDRESSES = {"outputs", "log", "kept"}
"""Fields of a report's steps that are addresses."""


def _modules() -> list[Path]:
    paths = [path for package in ("pipeline_queue", "workers") for path in (ROOT / package).rglob("*.py")]
    return sorted(path for path in paths if INSIDE not in path.parents)


def _is_address(node: ast.AST) -> bool:
    """Whether an expression is an address that a store gave, or is made of one."""
    if isinstance(node, ast.Call):
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr.split("_")[0] == "where":
            return True
        if isinstance(function, ast.Name) and function.id == "Path":
            return any(_is_address(argument) or _is_told(argument) for argument in node.args)
        return False
    if isinstance(node, ast.BinOp):
        return _is_address(node.left)
    if isinstance(node, ast.Attribute):
        if node.attr == "storage" and isinstance(node.value, ast.Name) and node.value.id == "settings":
            return True
        return _is_address(node.value)
    return False


def _is_told(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in ADDRESSES


def operations_on_addresses(tree: ast.AST) -> Iterator[str]:
    """`line: operation` for each operation on files that is given an address; also by a name assigned from one."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.Module):
            continue
        names = {
            target.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and _is_address(node.value)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

        def is_one(node: ast.AST, names: set[str] = names) -> bool:
            begins = node
            while isinstance(begins, ast.Attribute | ast.BinOp):
                begins = begins.value if isinstance(begins, ast.Attribute) else begins.left
            return _is_address(node) or (isinstance(begins, ast.Name) and begins.id in names)

        for node in ast.walk(function):
            if isinstance(node, ast.Attribute) and node.attr in OPERATIONS and is_one(node.value):
                yield f"{node.lineno}: {node.attr}"
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in OPERATIONS and any(is_one(argument) for argument in node.args):
                    yield f"{node.lineno}: {name}"


def _imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Module of the storage -> name that is imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline_queue.storage."):
            yield from ((node.module.rpartition(".")[2], alias.name) for alias in node.names)


@pytest.mark.parametrize("path", _modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_outside_touches_files_of_the_storage(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert list(operations_on_addresses(tree)) == []
    imported = list(_imported(tree))
    assert [module for module, _ in imported if module in IMPLEMENTATION] == []
    if any(name == "Storage" for _, name in imported):
        assert str(path.relative_to(ROOT)) in MAY_OPEN_A_STORAGE


@pytest.mark.parametrize(
    "text",
    [
        "Path(run.where()).mkdir()",
        "os.rename(step.where(), 'x')",
        "def f():\n    where = store.where_sweep(name)\n    return open(where)",
        "paths = Path(slot.where('log'))\npaths.parent.unlink()",
        "Path(step.outputs).is_dir()",
        "repeat(Path(summary.log).open)",
        "(settings.storage / 'sweeps').iterdir()",
        "shutil.rmtree(Path(step.kept) / 'a')",
    ],
)
def test_this_test_sees_operations_on_addresses(text: str) -> None:
    assert list(operations_on_addresses(ast.parse(text)))


def test_a_store_gives_no_paths_away() -> None:
    protocols = [kind for _, kind in inspect.getmembers(run_store, inspect.isclass) if getattr(kind, "_is_protocol", 0)]
    methods = [
        (kind.__name__, name, method)
        for kind in protocols
        if kind.__module__ == run_store.__name__
        for name, method in inspect.getmembers(kind, inspect.isfunction)
    ]
    assert len(methods) > 50
    given = {f"{kind}.{name}": get_type_hints(method, vars(run_store)).get("return") for kind, name, method in methods}
    assert [name for name, kind in given.items() if "Path" in str(kind)] == []
