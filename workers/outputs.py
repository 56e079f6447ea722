"""Finds the outputs of a step: what it created, changed or deleted in its folder."""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline_queue.contract.records import OutputFile
from pipeline_queue.contract.wording import was_were
from pipeline_queue.planning.inputs import WILDCARDS, unmatched_patterns
from pipeline_queue.storage.file_tree import (
    MAX_NAME_BYTES,
    FileStamp,
    is_closed,
    make_readable,
    names_in,
    scan,
    walk,
    whole_stamp_of,
)

_NEVER_PUBLISHED_FOLDERS = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MAX_NOTES = 20
_MAX_ESCAPED = 10
_MAX_ESCAPED_CHARACTERS = 200
_MAX_CHECKED_BYTES = 64 * 1024 * 1024
_MAX_CHECKED_BYTES_TOGETHER = 256 * 1024 * 1024


WITHIN = ("above", "work", "step")
"""The folders from the attempt's outermost to the step's own, nested so deep that `..` does not reach another run."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder of a step. `staged` maps every staged name, relative with `/`, to its stamp (None: a folder).

    `folders` has the stamps of folders, if the workspace shall be reused.
    """

    folder: Path
    staged: Mapping[str, FileStamp | None]
    folders: Mapping[str, FileStamp] = field(default_factory=dict)

    def around(self) -> list[tuple[Path, list[str]]]:
        """The other entries of each folder around the step's, from the innermost. Restores the folders' permissions."""
        folders = self._own_folders()
        found = [
            (above, [name for name in names_in(above) if name != inner.name])
            for above, inner in itertools.pairwise(folders)
        ]
        return found[::-1]

    def is_there(self) -> bool:
        """Whether the step's folder still exists: the step has neither removed it nor replaced it by a link."""
        return all(_is_folder(folder) for folder in self._own_folders())

    def _own_folders(self) -> list[Path]:
        """The attempt's folders, from the outermost to the step's own."""
        above = [self.folder]
        for _ in WITHIN:
            above.append(above[-1].parent)
        return above[::-1]


@dataclass(frozen=True, slots=True)
class Changes:
    """How a step's folder differs from what was staged, whether published or not: new or changed `names`, `deleted`
    names, and staged `folders` that changed, even if only in their content."""

    names: tuple[str, ...]
    deleted: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What a step left: new or changed files, new folders (`name/`), deleted names, and what cannot be published.

    `changes` is None when the step has removed or replaced its folder.
    """

    outputs: tuple[OutputFile, ...]
    deleted: tuple[str, ...]
    notes: tuple[str, ...]
    changes: Changes | None = field(default=None, compare=False, repr=False)

    def has(self, name: str) -> bool:
        """Whether the outputs contain a file, link or folder of that name."""
        return any(file.path.rstrip("/") == name or file.path.startswith(f"{name}/") for file in self.outputs)

    def missing(self, declared: tuple[str, ...]) -> list[str]:
        """The declared names and patterns (as in `sources`) that match no output."""
        absent = [name for name in declared if not self.has(name)]
        patterns = [name for name in absent if WILDCARDS & set(name)]
        unmet = set(unmatched_patterns(patterns, (file.path for file in self.outputs))) if patterns else set()
        return [name for name in absent if name not in patterns or name in unmet]


def find_outputs(workspace: Workspace, declared: tuple[str, ...]) -> Found:
    """Finds what is new or changed in the folder. Leaves out bytecode caches unless they are declared.

    Links that lead outside, special files and names that a record cannot represent cannot be published; `notes` lists
    them.
    """
    outputs: list[OutputFile] = []
    notes: list[str] = []
    replaced: list[str] = []
    folders: list[str] = []
    seen: list[str] = []
    changed: list[str] = []
    touched: list[str] = []
    root, staged, known_folders = workspace.folder, workspace.staged, workspace.folders
    around = workspace.around()  # restores permissions, without which the folder cannot be seen
    is_there = workspace.is_there()
    for name, status in scan(root) if is_there else ():
        seen.append(name)
        known = staged.get(name)
        stamp = whole_stamp_of(status)
        if known == stamp:
            continue  # true of most entries
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder and known is None and name in staged:
            if name in known_folders and known_folders[name] != stamp:
                touched.append(name)
            continue
        changed.append(name)
        if is_folder and known is not None:
            replaced.append(name)
        refused = _refused(name, root / name, status, root)
        if refused:
            notes.append(refused)
        elif is_folder:
            folders.append(name)
        elif not _is_junk(name) or name in declared:
            outputs.append(OutputFile(path=name, size=status.st_size if stat.S_ISREG(status.st_mode) else None))
    notes = _cut(notes)
    if not is_there:
        notes.append("the step removed its own folder, or put something else in its place: nothing in it was published")
    escaped = _escaped(around)
    if escaped:
        named = ", ".join(f"{name[:_MAX_ESCAPED_CHARACTERS]!a}"[1:-1] for name in escaped[:_MAX_ESCAPED])
        more = f" and {len(escaped) - _MAX_ESCAPED:,} more" if len(escaped) > _MAX_ESCAPED else ""
        notes.append(f"written outside the step's folder, and not published: {named}{more}")
    filled = {name.rpartition("/")[0] for name in changed}
    outputs += [OutputFile(path=f"{name}/", size=None) for name in folders if name not in filled]
    gone = staged.keys() - set(seen)
    deleted = tuple(sorted([*replaced, *gone]))
    changes = Changes(tuple(changed), tuple(gone), tuple(touched)) if is_there else None
    return Found(tuple(sorted(outputs, key=lambda file: file.path)), deleted, tuple(notes), changes)


def with_checksums(workspace: Workspace, found: Found) -> Found:
    """Adds the sha256 of each file up to 64 MiB, for at most 256 MiB in total. Raises OSError."""
    left = _MAX_CHECKED_BYTES_TOGETHER
    outputs = []
    for file in found.outputs:
        if file.size is not None and file.size <= min(left, _MAX_CHECKED_BYTES):
            left -= file.size
            path = workspace.folder / file.path
            make_readable(path)
            file = file.model_copy(update={"sha256": sha256_of(path)})
        outputs.append(file)
    return replace(found, outputs=tuple(outputs))


def sha256_of(path: Path) -> str:
    """The file's sha256, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _escaped(around: list[tuple[Path, list[str]]]) -> list[str]:
    """What the step wrote outside its own folder but inside its attempt's, such as `../results/a.txt`."""
    found: list[str] = []
    for depth, (above, names) in enumerate(around, start=1):
        ups = "/".join([".."] * depth)
        for path in (above / name for name in names):
            inside = walk(path) if path.is_dir() and not path.is_symlink() else ()
            below = sorted(item.relative_to(above).as_posix() for item in inside if not item.is_dir())
            found += [f"{ups}/{name}" for name in below or [path.name]]
    return found


def _refused(name: str, path: Path, status: os.stat_result, root: Path) -> str:
    """Why the entry cannot be published; empty when it can."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return f"{name[:200]!a} is not a name in UTF-8, and was not published"
    if length > MAX_NAME_BYTES:
        return f"{name[:200]}… lies too deep (over {MAX_NAME_BYTES:,} bytes), and was not published"
    if is_closed(path, status):
        return f"{name} belongs to another user and cannot be read, and was not published"
    inside = not stat.S_ISLNK(status.st_mode) or _stays_inside(path, root)
    if stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) and inside:
        return ""
    return f"{name} is a link that leads outside or a special file, and was not published"


def _cut(notes: list[str]) -> list[str]:
    if len(notes) <= _MAX_NOTES:
        return notes
    return [
        *notes[:_MAX_NOTES],
        f"and {len(notes) - _MAX_NOTES:,} more {was_were(len(notes) - _MAX_NOTES)} not published",
    ]


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return any(part in _NEVER_PUBLISHED_FOLDERS for part in parts[:-1])


def _stays_inside(link: Path, root: Path) -> bool:
    try:
        return Path(os.path.realpath(link, strict=False)).is_relative_to(os.path.realpath(root))
    except OSError:
        return False
