"""Reads YAML text into nodes that know their line and column, within a budget of size and depth.

Scalars keep their source text: what `1e-3` or `on` means is decided by a declared type, never by YAML.
JSON is read too, byte-exact. Nothing here raises for a bad file: `Document.problems` says what is wrong.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.errors import Place, Problem
from pipeline_queue.loading.nodes import Node, Scalar
from pipeline_queue.loading.source import Source, decode
from pipeline_queue.loading.syntax import compose
from pipeline_queue.model.problems import Problems

MAX_FILE_BYTES = 1024 * 1024

_EXPRESSION_START = re.compile(r"\$\{\{")


@dataclass(frozen=True)
class Document:
    """A parsed file; `root` is None only when `problems` says why."""

    source: Source
    root: Node | None
    problems: tuple[Problem, ...]

    @property
    def text(self) -> str:
        return self.source.original

    def place(self, node: Node) -> Place:
        return Place(self.source.name, node.line, node.column)

    def _place_in_block(self, scalar: Scalar, raw: str, offset: int) -> Place | None:
        """Of a literal block, whose lines stand in the file as they are but for their indentation."""
        number = scalar.text.count("\n", 0, offset)
        start = scalar.text.rfind("\n", 0, offset) + 1
        lines = raw.splitlines()
        if number >= len(lines):
            return None
        indentation = lines[number].find(scalar.text[start:].partition("\n")[0])
        if indentation < 0:
            return None
        first_line, _ = self.source.line_and_column(scalar.start)
        return Place(self.source.name, first_line + number, indentation + 1 + offset - start)

    def place_in(self, scalar: Scalar, offset: int) -> Place:
        """Where an offset of a scalar's text lies in the file.

        Exact where the text stands in the file as it is; otherwise (escapes, folded lines) exact for
        an offset at a `${{`, which no quoting style splits; otherwise the start of the scalar.
        """
        raw = self.source.text[scalar.start : scalar.end]
        verbatim = raw.find(scalar.text)
        if scalar.text and verbatim >= 0:
            return self.source.place(scalar.start + verbatim + offset)
        is_block = self.source.line_text(scalar.line)[scalar.column - 1 :].startswith("|")
        if is_block and (place := self._place_in_block(scalar, raw, offset)):
            return place
        starts = [match.start() for match in _EXPRESSION_START.finditer(raw)]
        earlier = scalar.text.count("${{", 0, offset)
        if scalar.text.startswith("${{", offset) and len(starts) == scalar.text.count("${{"):
            return self.source.place(scalar.start + starts[earlier])
        return self.place(scalar)


def read_document(path: Path) -> Document:
    """Read and parse a file; every failure is a problem of the document."""
    name = str(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            return _refused(name, f"this is {kind}", "give the path of a YAML file")
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return _refused(name, "no such file", "check the path")
    except PermissionError:
        return _refused(name, "permission denied", "check its permissions")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return _refused(name, f"this file cannot be read: {reason}")
    return parse_document(name, data)


def parse_document(name: str, data: bytes) -> Document:
    """Parse the bytes of a YAML or JSON file; `name` is what places call it."""
    if len(data) > MAX_FILE_BYTES:
        problem = Problem(
            Place(name, 1, 1),
            f"the file is larger than {MAX_FILE_BYTES:,} bytes",
            "move data out of the YAML",
        )
        return Document(Source(name, ""), None, (problem,))
    source = decode(name, data)
    if isinstance(source, Problem):
        return Document(Source(name, ""), None, (source,))
    problems = Problems()
    root = compose(source, problems)
    return Document(source, root, problems.in_order_of_place())


def _refused(name: str, message: str, hint: str = "") -> Document:
    return Document(Source(name, ""), None, (Problem(Place(name), message, hint),))
