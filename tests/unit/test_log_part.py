"""Parts of a log: no character is cut, nothing is lost or comes twice, and names from outside lead nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.contract.errors import InputError, NotFoundError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.records import RunRecord, StepRecord
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.log_part import LAST_BYTES, LogPart, decoded, open_log, read_log, start_of_text
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.submission import prepare_run

FILE = "pipeline:\n  steps:\n  - one: {run: /bin/true}\n  - two: {run: /bin/true}\n"
UID = "0123456789abcdef"
ATTEMPT = f"one.attempt-1-{UID}"
TEXT = "aé€😀\r\nzü\n漢字 \x1b[1m end"
"""Characters of one to four bytes."""
LOGS = st.lists(
    st.sampled_from([b"a", b"\n", b"\xc3", b"\xa9", b"\xe2", b"\x82", b"\xac", b"\xf0", b"\x9f", b"\x98", b"\x80"])
    | st.sampled_from([b"\xff", b"\xc0", b"\xed", b"\xf5", b"\xe0", "é".encode(), "€".encode(), "😀".encode()]),
    max_size=40,
).map(b"".join)


class Log:
    """The log of one attempt of a run that no worker executes."""

    def __init__(self, folder: Path) -> None:
        project = folder / "project"
        project.mkdir()
        (project / "pipeline.yaml").write_text(FILE)
        self.storage = Storage.open(folder / "storage")
        submission = prepare_run(load_pipeline(project / "pipeline.yaml"), {}, self.storage.root)
        with submission.snapshot:
            self.sweep: Sweep = submission.commit(self.storage)
        self.run: RunId = self.sweep.run_id(0)
        self.paths = self.sweep.paths(self.storage, self.run)
        self.folder = Path(self.paths.where())

    def begin(self, data: bytes = b"", attempt: int = 1, uid: str = UID) -> Path:
        slot = self.paths.begin_attempt("one", attempt, uid)
        slot.make()
        Path(slot.log_sink()).write_bytes(data)
        return Path(slot.log_sink())

    def end(self, attempt: int = 1, uid: str = UID, state: str = "failed") -> None:
        record = StepRecord.model_validate(
            {"run": str(self.run), "step": "one", "attempt": attempt, "uid": uid, "state": state}
        )
        self.paths.begin_attempt("one", attempt, uid).write_record(record)

    def publish(self) -> None:
        self.end(state="succeeded")
        assert self.paths.begin_attempt("one", 1, UID).publish(self.paths.step("one"))

    def read(self, offset: int | None = 0, attempt: str | None = None, most_bytes: int = 1_000_000) -> LogPart:
        return read_log(self.storage, self.sweep, self.run, "one", attempt, offset, most_bytes)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@given(data=LOGS, cuts=st.lists(st.integers(0, 60), max_size=6))
def test_parts_of_any_bytes_together_are_the_whole_text(data: bytes, cuts: list[int]) -> None:
    """The log grows to each cut, is read from where the last part ended, and then is over."""
    text, done = "", 0
    for end in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        part, used = decoded(data[done:end], is_last=False)
        text, done = text + part, done + used
    part, used = decoded(data[done:], is_last=True)
    assert done + used == len(data)
    assert text + part == data.decode(errors="replace")


@given(text=st.text(), cut=st.integers(0, 200))
def test_a_cut_in_a_text_never_shows_a_replacement(text: str, cut: int) -> None:
    data = text.encode()
    part, used = decoded(data[:cut], is_last=False)
    assert part == data[:used].decode() and len(data[:cut]) - used < 4


@pytest.mark.parametrize(
    ("data", "start"),
    [
        (b"", 0),
        (b"abc", 0),
        (b"c\nabc", 2),
        (b"\xa9abc", 1),
        (b"\x9f\x98\x80abc", 3),
        (b"\x80\n", 1),
        (b"abc\n", 0),
        (b"\x80" * 9, 0),
    ],
)
def test_a_last_part_starts_at_a_line_or_else_a_character(data: bytes, start: int) -> None:
    assert start_of_text(data) == start


def test_a_growing_log_cut_at_every_byte_is_shown_without_a_broken_character(log: Log) -> None:
    data = TEXT.encode()
    path = log.begin()
    shown, offset = "", 0
    for length in range(len(data) + 1):
        path.write_bytes(data[:length])
        part = log.read(offset)
        assert (part.offset, part.size, part.is_over) == (offset, length, False)
        shown, offset = shown + part.text, part.next
        assert "\ufffd" not in shown and TEXT.startswith(shown)
    log.end()
    last = log.read(offset)
    assert shown + last.text == TEXT and last.next == len(data) and last.is_over


def test_an_ended_log_is_read_in_parts_of_any_size_and_only_the_last_one_is_over(log: Log) -> None:
    data = TEXT.encode() + b"\xf0\x9f"
    log.begin(data)
    log.end()
    for most in range(1, len(data) + 2):
        parts = [log.read(0, most_bytes=most)]
        while not parts[-1].is_over:
            parts.append(log.read(parts[-1].next, most_bytes=most))
            assert parts[-1].offset == parts[-2].next < parts[-1].next
        assert "".join(part.text for part in parts) == data.decode(errors="replace")
        assert all(part.next - part.offset <= max(most, 4) for part in parts)


def test_a_large_log_begins_in_its_last_64_kb_at_a_line(log: Log) -> None:
    lines = "".join(f"line {number} é\n" for number in range(20_000))
    log.begin(lines.encode())
    part = log.read(None)
    assert part.text.startswith("line ") and lines.endswith(part.text)
    assert LAST_BYTES - 100 < part.next - part.offset <= LAST_BYTES
    assert part.next == part.size == len(lines.encode())
    assert log.read(part.next) == LogPart(part.size, part.size, part.size, "", False)


def test_a_large_log_of_one_line_begins_at_a_character(log: Log) -> None:
    for more in range(4):
        log.begin(b"x" * more + "😀".encode() * LAST_BYTES)
        part = log.read(None)
        assert set(part.text) == {"😀"} and part.next == part.size
        assert part.offset >= part.size - LAST_BYTES


def test_a_call_reads_at_most_a_million_bytes(log: Log) -> None:
    log.begin(b"x" * 2_500_000)
    log.end()
    parts = [log.read(0)]
    while not parts[-1].is_over:
        parts.append(log.read(parts[-1].next))
    assert [len(part.text) for part in parts] == [1_000_000, 1_000_000, 500_000]


@pytest.mark.parametrize("offset", [4, 5, 10**12])
def test_an_offset_at_or_beyond_the_end_gives_an_empty_part_that_keeps_it(log: Log, offset: int) -> None:
    log.begin(b"abc\n")
    assert log.read(offset) == LogPart(offset, offset, 4, "", False)
    log.end()
    assert log.read(offset) == LogPart(offset, offset, 4, "", True)


def test_a_negative_offset_is_wrong(log: Log) -> None:
    with pytest.raises(InputError, match="negative") as caught:
        log.read(-1)
    assert not isinstance(caught.value, NotFoundError)


def test_there_is_no_log_before_the_first_attempt_and_none_of_a_silent_one(log: Log) -> None:
    assert log.read(None) == LogPart(0, 0, 0, "", False)
    assert log.read(7) == LogPart(7, 7, 0, "", False)
    log.begin().unlink()
    assert log.read(7) == LogPart(7, 7, 0, "", False)
    log.end()
    assert log.read(None) == LogPart(0, 0, 0, "", True)
    with pytest.raises(NotFoundError, match="printed nothing"):
        open_log(log.storage, log.sweep, log.run, "one", None)


def test_who_follows_an_attempt_goes_on_where_it_was_when_the_step_is_published(log: Log) -> None:
    path = log.begin(b"abc\n")
    part = log.read(0, ATTEMPT)
    assert (part.next, part.is_over) == (4, False)
    path.write_bytes(b"abc\nlast\n")
    log.publish()
    assert not path.exists()
    assert log.read(part.next, ATTEMPT) == LogPart(4, 9, 9, "last\n", True)
    assert log.read(part.next) == log.read(part.next, "one") == LogPart(4, 9, 9, "last\n", True)
    with pytest.raises(NotFoundError):
        log.read(0, f"one.attempt-1-{UID[:-1]}0")


def test_an_attempt_that_was_lost_or_followed_is_over(log: Log) -> None:
    log.begin(b"first\n")
    log.begin(b"second\n", attempt=2)
    assert log.read(0, ATTEMPT) == LogPart(0, 6, 6, "first\n", True)
    log.paths.fence_off("one", 1)
    assert log.read(0, ATTEMPT) == LogPart(0, 6, 6, "first\n", True)
    assert log.read(0, f"{ATTEMPT}.lost").text == "first\n"
    assert log.read(0) == LogPart(0, 7, 7, "second\n", False)
    log.paths.write_end(
        RunRecord(
            sweep=log.run.sweep, run=str(log.run), index=0, state="cancelled", parameters={}, steps=(), created_at=1.0
        )
    )
    assert log.read(0).is_over


def test_a_damaged_manifest_hides_no_log(log: Log) -> None:
    log.begin(b"abc\n")
    (log.folder / ATTEMPT / "step.json").write_text("{")
    assert log.read(0) == LogPart(0, 4, 4, "abc\n", True)


HOSTILE = [
    "../one",
    "one/../one",
    "a/b",
    "/etc",
    "one\0",
    "\0",
    ".",
    "..",
    "",
    "x" * 100_000,
    "one\n",
    "run.json",
    "Öne",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_is_no_steps_or_no_attempts_is_not_found(log: Log, name: str) -> None:
    log.begin(b"abc\n")
    log.end()
    for step, attempt in ((name, None), (name, ATTEMPT), ("one", name), ("one", f"{ATTEMPT}/{name}")):
        with pytest.raises(NotFoundError) as caught:
            read_log(log.storage, log.sweep, log.run, step, attempt, 0)
        assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("attempt", ["one", "two", f"two.attempt-1-{UID}", "run.json", f"one.attempt-2-{UID}"])
def test_a_name_of_something_else_is_not_found(log: Log, attempt: str) -> None:
    log.begin(b"abc\n")
    with pytest.raises(NotFoundError):
        log.read(0, attempt)


@pytest.mark.parametrize("kind", ["link", "loop", "pipe", "folder"])
def test_a_log_that_its_step_replaced_by_something_else_is_none(log: Log, tmp_path: Path, kind: str) -> None:
    (tmp_path / "secret").write_text("secret")
    path = log.begin()
    path.unlink()
    if kind == "link":
        path.symlink_to(tmp_path / "secret")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert log.read(0) == LogPart(0, 0, 0, "", False)
    with pytest.raises(NotFoundError):
        open_log(log.storage, log.sweep, log.run, "one", None)
