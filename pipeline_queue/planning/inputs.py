"""Which files of the pipeline's folder a step with `sources` sees, and the digest of their content: pure."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping

from pipeline_queue.model.pipeline import Step

WILDCARDS = frozenset("*?[")


def select_sources(step: Step, names: Iterable[str]) -> tuple[str, ...]:
    """Of the folder's `names`, what the step's `sources` match, with the folders above, in the given order.

    A pattern is written like one of `.gitignore` that begins with `/`; one that matches a folder stands for all in it.
    A file that the step's command names literally, such as its script, belongs to it in any case. All names for a step
    that declares none.
    """
    every = tuple(names)
    if not step.sources:
        return every
    from pathspec import GitIgnoreSpec

    spec = GitIgnoreSpec.from_lines(f"/{pattern}" for pattern in step.sources)
    literal = {posixpath.normpath(word[0]) for word in step.words() if len(word) == 1 and isinstance(word[0], str)}
    wanted = {name for name in every if name in literal or spec.match_file(name)}
    above = {name[:end] for name in wanted for end in range(len(name)) if name[end] == "/"}
    return tuple(name for name in every if name in wanted or name in above)


def sources_digest(step: Step, contents: Mapping[str, str]) -> str:
    """A digest of what the step sees; `contents`: the folder's names and the digest of each."""
    seen = [(name, contents[name]) for name in select_sources(step, sorted(contents, key=str.encode))]
    text = json.dumps([1, seen]).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).hexdigest()


def unmatched(step: Step, names: Iterable[str]) -> list[str]:
    """The patterns of the step's `sources` that match nothing."""
    return unmatched_patterns(step.sources, names)


def unmatched_patterns(patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """The patterns, written like `sources`, that match none of the names, or are none."""
    from pathspec import GitIgnoreSpec

    every = tuple(names)

    def matches(pattern: str) -> bool:
        spec = GitIgnoreSpec.from_lines([f"/{pattern}"])
        return any(spec.match_file(name) for name in every)

    return [pattern for pattern in patterns if not is_pattern(pattern) or not matches(pattern)]


def is_pattern(text: str) -> bool:
    """Whether it can be read as a pattern: not `[z-a]`, nor with a backslash at its end."""
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([f"/{text}"])
    except (ValueError, re.error):
        return False
    return True
