"""One word for one thing: `docs/glossary.md` lists the words, and the retired ones stay away from code and pages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Word -> what to write instead.
RETIRED = {
    "ledgers?": "index",
    "(?:ring|rings|rung|ringing)": "enqueue",
    "letters?(?= of| on|'s)": "message",
    r"(?:take|takes|taken|taking)(?: \w+){0,3} up again": "restore",
    "(?:take|takes|taken|taking) up": "restore",
    "redo": "reopen",
    "hungry": "wants_more",
    "strays?": "orphan",
    "lookout": "sweep monitor",
    "intake": "admission",
}
# Where a word must stay: what lies in servers and storages keeps its name, and a page says what was replaced.
KEPT = re.compile(r"""redo:|['"]redo['"]|, redo\b|\bredo \(|`redo`|\.redo\b""")
NOT_SEARCHED = ("CHANGELOG.md", "docs/glossary.md", "tests/unit/test_vocabulary.py", "tests/acceptance/init_scripts/")


def _searched() -> list[str]:
    names = subprocess.run(
        ["git", "ls-files", "*.py", "*.md", "*.lua", "*.yml"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [name for name in names if not name.startswith(NOT_SEARCHED)]


def _words_of(text: str) -> str:
    """CamelCase and snake_case taken apart."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ")


@pytest.mark.parametrize("word", RETIRED)
def test_a_retired_word_is_not_used(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    found = [
        f"{name}:{number}: {line.strip()}"
        for name in _searched()
        for number, line in enumerate((ROOT / name).read_text().splitlines(), 1)
        if pattern.search(_words_of(line)) and not KEPT.search(line)
    ]
    assert found == [], f"write {RETIRED[word]}"


def test_limits_are_named_max_and_min() -> None:
    pattern = re.compile(r"^\s*_?(?:MOST|LONGEST|LARGEST|FEWEST|LEAST|SHORTEST)_[A-Z_]+ *[:=]", re.MULTILINE)
    texts = {name: (ROOT / name).read_text() for name in _searched() if name.endswith(".py")}
    assert {name: found for name, text in texts.items() if (found := pattern.findall(text))} == {}
