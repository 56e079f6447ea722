"""Which installed packages that a script imports are worth a `preload`: found by their files, never imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

MAX_MODULES = 20
HEAVY = frozenset(
    [
        *("numpy", "pandas", "scipy", "sklearn", "skimage", "statsmodels", "sympy", "networkx", "numba", "dask"),
        *("torch", "torchvision", "tensorflow", "keras", "jax", "lightning", "pytorch_lightning", "timm"),
        *("transformers", "datasets", "sentence_transformers", "spacy", "gensim", "nltk", "cv2", "optuna"),
        *("xgboost", "lightgbm", "catboost", "matplotlib", "seaborn", "plotly", "pyarrow"),
    ]
)
_SUFFIXES = (".py", ".so", ".pyd")


def heavy_imports(tree: ast.Module, folder: Path) -> tuple[str, ...]:
    """Names for `preload`, in the order of the script; nothing that lies in its own folder."""
    found: dict[str, None] = {}
    for name in _top_level_imports(tree):
        top = name.partition(".")[0]
        if top in HEAVY and not (folder / f"{top}.py").exists() and not (folder / top).exists():
            folders = _folders_of(top)
            if folders is not None:
                found[_longest_module(name, folders)] = None
    return tuple(found)[:MAX_MODULES]


def sets_environment_first(tree: ast.Module) -> bool:
    """Whether the script changes its environment before it has imported all, as for OMP_NUM_THREADS."""
    return any(
        isinstance(one, ast.Attribute) and one.attr in ("environ", "putenv")
        for statement in tree.body
        if isinstance(statement, (ast.Assign, ast.Expr))
        for one in ast.walk(statement)
    )


def _top_level_imports(tree: ast.Module) -> Iterator[str]:
    """Each module, and each name imported from one, which may be a module too."""
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name != "*")


def _folders_of(top: str) -> list[Path] | None:
    """Where the package's modules lie; None when it is not installed. A name without a dot is found, not imported."""
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    return None if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]


def _longest_module(name: str, folders: list[Path]) -> str:
    """The part of a dotted name that is a module by its files."""
    parts = name.split(".")
    known = parts[:1]
    for part in parts[1:]:
        inside = [folder / part for folder in folders if (folder / part / "__init__.py").is_file()]
        is_file = any(one.stem.partition(".")[0] == part and one.suffix in _SUFFIXES
                      for folder in folders for one in folder.glob(f"{part}.*"))  # fmt: skip
        if not inside and not is_file:
            break
        known.append(part)
        folders = inside
    return ".".join(known)
