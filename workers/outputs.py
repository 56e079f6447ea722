"""What a step left in its folder: found afterwards, and moved to where it is published."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline_queue.contract.records import OutputFile
from workers.trees import LONGEST_NAME_BYTES, Mark, mark_of, move_entry, walk

_NEVER_PUBLISHED_FOLDERS = frozenset({"__pycache__", ".ipynb_checkpoints"})
_MOST_NOTES = 20


@dataclass(frozen=True, slots=True)
class Workspace:
    """`staged` maps every name that was put there, relative with `/`, to its mark (None: a folder)."""

    folder: Path
    staged: Mapping[str, Mark | None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a step left: new or changed files, new folders (`name/`), what it deleted, what cannot be kept."""

    outputs: tuple[OutputFile, ...]
    deleted: tuple[str, ...]
    notes: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether a file, link or folder of that name is among the outputs."""
        return any(file.path.rstrip("/") == name or file.path.startswith(f"{name}/") for file in self.outputs)


def find_outputs(workspace: Workspace, declared: tuple[str, ...]) -> Found:
    """What is new or changed in the folder. Bytecode caches are left out unless declared.

    Links that lead outside, special files and names that no record can hold cannot be published: they are named in
    `notes`.
    """
    outputs: list[OutputFile] = []
    notes: list[str] = []
    replaced: list[str] = []
    folders: list[str] = []
    seen: set[str] = set()
    root, staged = workspace.folder, workspace.staged
    for path in walk(root):
        name = path.relative_to(root).as_posix()
        seen.add(name)
        status = path.lstat()
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder and staged.get(name) is not None:
            replaced.append(name)
        if name in staged and staged[name] == mark_of(status):
            continue
        refused = _refused(name, path, status, root)
        if refused:
            notes.append(refused)
        elif is_folder:
            folders.append(name)
        elif not _is_junk(name) or name in declared:
            outputs.append(OutputFile(path=name, size=status.st_size if stat.S_ISREG(status.st_mode) else None))
    filled = {name.rpartition("/")[0] for name in seen}
    outputs += [OutputFile(path=f"{name}/", size=None) for name in folders if name not in filled]
    deleted = tuple(sorted([*replaced, *(name for name in staged if name not in seen)]))
    return Found(tuple(sorted(outputs, key=lambda file: file.path)), deleted, _cut(notes))


def move_outputs(workspace: Workspace, found: Found, target: Path) -> None:
    """Moves what was found below `target`, which is created; safe to repeat after an error."""
    target.mkdir(exist_ok=True)
    made: set[Path] = {target}
    for file in found.outputs:
        destination = target / file.path
        parent = destination if file.path.endswith("/") else destination.parent
        if parent not in made:
            parent.mkdir(parents=True, exist_ok=True)
            made.add(parent)
        if not file.path.endswith("/"):
            move_entry(workspace.folder / file.path, destination, workspace.folder)


def _refused(name: str, path: Path, status: os.stat_result, root: Path) -> str:
    """Why this cannot be published, empty when it can."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return f"{name[:200]!a} is not a name in UTF-8, and was not published"
    if length > LONGEST_NAME_BYTES:
        return f"{name[:200]}… lies too deep (over {LONGEST_NAME_BYTES:,} bytes), and was not published"
    inside = not stat.S_ISLNK(status.st_mode) or _stays_inside(path, root)
    if stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK) and inside:
        return ""
    return f"{name} is a link that leads outside or a special file, and was not published"


def _cut(notes: list[str]) -> tuple[str, ...]:
    if len(notes) <= _MOST_NOTES:
        return tuple(notes)
    return (*notes[:_MOST_NOTES], f"and {len(notes) - _MOST_NOTES} more were not published")


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return any(part in _NEVER_PUBLISHED_FOLDERS for part in parts[:-1])


def _stays_inside(link: Path, root: Path) -> bool:
    try:
        return Path(os.path.realpath(link, strict=False)).is_relative_to(os.path.realpath(root))
    except OSError:
        return False
