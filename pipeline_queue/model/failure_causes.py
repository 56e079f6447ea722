"""Groups failures by what they have in common: the last meaningful line of a log, without what differs from run to run.

Pure. A run's message is one line that says what failed, and below it the end of the log, each line indented.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline_queue.contract.states import FailureGroup

LOG_FOLLOWS = "; the log ends with:"
LOG_IS_EMPTY = "; its log is empty"
MAX_CAUSE_CHARACTERS = 300

_CONTROLS = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TRACEBACK = re.compile(r"\s*(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\)")
_EXCEPTION = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning|Failure|Fault|Timeout)?(?::|$)")
_WHAT_WENT_WRONG = re.compile(
    r"error|exception|fatal|panic|terminate called|segmentation fault|killed|abort|out of memory|cannot|could ?n.t|"
    r"could not|not found|no such|denied|fail|assert|invalid|unable|refused|unrecognized|undefined|is nan|diverged",
    re.IGNORECASE,
)
_OF_NO_FAILURE = re.compile(
    r"\"[^\"]*\"|(?<!\w)'[^']*'(?!\w)"  # a value that is named
    r"|\b(?:no|0) (?:error|fail|exception)\w*"
    r"|\b(?:error|fail)\w*(?:\s*=\s*[-+]?[\d.]+|[\s:]+[-+]?\d+\.\d+)(?:e[-+]?\d+)?%?",  # a metric
    re.IGNORECASE,
)
"""Words of an error in a line that speaks of none."""
_GOES_ON_BELOW = re.compile(r"terminate called |thread '.*' panicked at .*:\s*$|[\w.]+(?:Error|Exception):\s*$")
_NOISE = re.compile(
    r"\s+at [\w$.<>/]+|\s*(?:File \"|\^+\s*$|~+\^|\.\.\. \d+ more)|Stack ?trace|"
    r"(?:[\w.]*Warning|warning|WARN(?:ING)?|INFO|DEBUG)\b|.*\b(?:Warning|FutureWarning): |"
    r"\s*\d{1,3}%\s?[|(]|.*\|[█#= ▏▎▍▌▋▊▉-]*\||"
    r".*resource_tracker|note: |Execution halted|\[\d+\] |Aborted|.*\(core dumped\)",
)
# In this order: what is longest and surest first.
_MASKS = (
    (re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]]+", re.IGNORECASE), "<url>"),
    (
        re.compile(r"(?:\b[A-Za-z]:|~|\.{1,2})?(?:[/\\][\w.@%+=,~-]+)+[/\\]?|\b[\w.@%+=-]+(?:/[\w.@%+=,-]+)+/?"),
        "<path>",
    ),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b"), "<id>"),
    (re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:[.,:]\d+)*(?:[eE][-+]?\d+)?"), "N"),
    (re.compile(r"\d+"), "N"),
)
_IN_HEAD = (
    (re.compile(r"used [\d.,]+ \w+ of memory"), "used N of memory"),
    (re.compile(r"last on \S+?: "), "last on a worker: "),
    (re.compile(r"^(step \S+ was given up: )\d+ attempts"), r"\1several attempts"),
)


def cause_of(message: str) -> str:
    """What a failed run's message has in common with those of other runs that failed alike; one line."""
    head, _, log = message.partition(LOG_FOLLOWS)
    head = head.partition("\n")[0].replace(LOG_IS_EMPTY, "")
    for pattern, put in _IN_HEAD:
        head = pattern.sub(put, head)
    line = meaningful_line(log.split("\n"))
    return _shortened(f"{head}: {masked(line)}" if line else head)


def reason_of(message: str) -> str:
    """Why this one run failed, with its own numbers and paths; one line."""
    head, _, log = message.partition(LOG_FOLLOWS)
    head = head.partition("\n")[0].replace(LOG_IS_EMPTY, "")
    line = meaningful_line(log.split("\n"))
    return _shortened(f"{head}: {line}" if line else head)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_CAUSE_CHARACTERS else f"{text[: MAX_CAUSE_CHARACTERS - 1]}…"


def meaningful_line(lines: Sequence[str]) -> str:
    """The line of a log's end that says what went wrong; empty when there is none.

    The last exception of Python; else the last line that speaks of an error; else the last that is no warning,
    progress bar or stack frame; else the last.
    """
    plain = _joined([line for line in map(without_controls, lines) if line.strip()])
    return (
        _exception(plain)
        or _last(plain, _WHAT_WENT_WRONG)
        or _last(plain, None)
        or (plain[-1].strip() if plain else "")
    )


def masked(text: str) -> str:
    """The text without numbers, paths, addresses and identifiers."""
    for pattern, put in _MASKS:
        text = pattern.sub(put, text)
    return text


def without_controls(text: str) -> str:
    """The text as a terminal would leave it: what follows the last carriage return, without escapes."""
    return _CONTROLS.sub("", text.rstrip("\r").rpartition("\r")[2])


def grouped(failures: Iterable[tuple[str, str, bool]]) -> tuple[FailureGroup, ...]:
    """The groups of failed runs, the largest first; each failure is a run, its cause, whether it is shared."""
    groups: dict[str, FailureGroup] = {}
    for run, text, is_shared in failures:
        known = groups.get(text, FailureGroup(text, 0, run))
        example = run if known.count == known.shared and not is_shared else known.example
        groups[text] = FailureGroup(text, known.count + 1, example, known.shared + is_shared)
    return in_order(groups.values())


def in_order(groups: Iterable[FailureGroup]) -> tuple[FailureGroup, ...]:
    return tuple(sorted(groups, key=lambda group: (-group.count, group.text)))


def _exception(lines: Sequence[str]) -> str:
    """The first line after the last traceback of Python that is not indented."""
    starts = [number for number, line in enumerate(lines) if _TRACEBACK.match(line)]
    if not starts:
        return ""
    for line in lines[starts[-1] + 1 :]:
        text = re.sub(r"^\s*\| ?", "", line)  # of an exception group
        if text[:1].strip() and _EXCEPTION.match(text):
            return text.strip()
    return ""


def _joined(lines: Sequence[str]) -> list[str]:
    """The lines, with the message of C++, Rust or Python that only begins on the next line on that of its kind."""
    joined: list[str] = []
    for line in lines:
        if joined and _GOES_ON_BELOW.match(joined[-1]) and not _NOISE.match(line):
            joined[-1] = f"{joined[-1].rstrip(': ')}: {line.strip().removeprefix('what():').strip()}"
        else:
            joined.append(line)
    return joined


def _last(lines: Sequence[str], wanted: re.Pattern[str] | None) -> str:
    for line in reversed(lines):
        if not _NOISE.match(line) and (wanted is None or wanted.search(_OF_NO_FAILURE.sub("", line))):
            return line.strip()
    return ""
