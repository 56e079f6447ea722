"""What `doctor` prints for people, and the exact numbers beside it for programs."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest

from pipeline_queue.cli.printing import within_width
from pipeline_queue.contract.warm_python import WarmPython
from pipeline_queue.index.dead_letters import DeadLetter
from pipeline_queue.reporting.doctor import examine, shown_dead
from pipeline_queue.storage.disk import Room
from pipeline_queue.storage.storage import Storage


def test_room_is_told_in_units_and_counted_in_bytes(tmp_path: Path) -> None:
    Storage.open(tmp_path / "storage")
    (found,) = [check for check in examine(None, tmp_path / "storage", embedded=True) if check.name == "storage"]
    assert re.search(r"is writable \([0-9.,]+ (bytes|[KMGTP]iB)( and [0-9,]+ inodes?)? free\)$", found.detail)
    assert found.figures["free_bytes"] > 0
    assert str(Room(252 * 1024**3 + 1, 1)) == "252 GiB and 1 inode free"
    assert Room(5, None).figures() == {"free_bytes": 5}
    assert "1.5 GiB shared" in str(WarmPython(1, 1, 0, 3 * 1024**3 // 2))


def test_the_size_of_a_refused_message_has_a_unit() -> None:
    dead = DeadLetter(at=0.0, queue="default", worker="w", reason="not JSON", size_bytes=3 * 1024**2, payload="x")
    assert ", 3.0 MiB: not JSON" in shown_dead(dead)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_a_finding_is_broken_between_words(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        "✓ storage: /a/path/that/is/long/and/has-dashes/in/its/name/which/nobody/may/break can be written "
        + "now " * 20
    )
    assert within_width(line) == line, "what is piped stays one line"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "stdout", _Terminal())
    lines = within_width(line).split("\n")
    assert len(lines) > 1 and all(len(one) <= 80 for one in lines)
    assert all(one.startswith("    ") for one in lines[1:])
    assert any("/has-dashes/in/its/name/which/nobody/may/break" in one for one in lines)
