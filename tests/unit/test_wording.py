"""Counts and sizes in messages: singular, plural and units, in every message of the program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_queue.contract.wording import counted, size_text

ROOT = Path(__file__).resolve().parents[2]
_NOUNS = (
    "attempts bytes causes cells characters choices duplicates executions failures files folders lines messages metrics "
    "numbers objects outputs parameters points problems processes rows runs slots steps sweeps values workers"
)
_PLURAL = re.compile(rf"\s(?!in |gives |and )(?:[a-z]+ )?(?:{'|'.join(_NOUNS.split())})\b(?!/)")
_LIMIT = re.compile(r"_?[A-Z][A-Z0-9_]+")
# The standard library only; their counts are of bytes above a limit.
_APART = ("workers/supervisor/", "workers/warm/")


@pytest.mark.parametrize(
    ("count", "noun", "plural", "text"),
    [
        (0, "run", "", "0 runs"),
        (1, "run", "", "1 run"),
        (2000, "run", "", "2,000 runs"),
        (1, "process", "processes", "1 process"),
        (2, "process", "processes", "2 processes"),
    ],
)
def test_one_is_singular(count: int, noun: str, plural: str, text: str) -> None:
    assert counted(count, noun, plural) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1,023 bytes"),
        (1024, "1.0 KiB"),
        (10_188, "9.9 KiB"),
        (10_190, "10 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (252 * 1024**3, "252 GiB"),
        (5 * 1024**6, "5,120 PiB"),
    ],
)
def test_sizes_have_units(size_bytes: int, text: str) -> None:
    assert size_text(size_bytes) == text


def _plurals(path: Path) -> Iterator[str]:
    """Every `{count} runs` of an f-string that would say `1 runs`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for part, after in zip(node.values, node.values[1:], strict=False):
            if (
                isinstance(part, ast.FormattedValue)
                and isinstance(after, ast.Constant)
                and _PLURAL.match(str(after.value))
                and not _is_limit(part.value)
            ):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:100]}"


def _is_limit(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and _LIMIT.fullmatch(value.id) is not None


def test_no_message_says_1_runs() -> None:
    paths = [path for package in ("pipeline_queue", "workers") for path in (ROOT / package).rglob("*.py")]
    paths = [path for path in paths if not str(path.relative_to(ROOT)).startswith(_APART)]
    assert len(paths) > 100
    assert [text for path in sorted(paths) for text in _plurals(path)] == []
