"""Who may write on a storage of several users: the rights of what is made there, and what is said where they lack.

The folder above decides. Where its group may write, whatever is made in it gets that group and the rights that the
folder gives it, whatever the umask: so `chgrp GROUP storage; chmod 2775 storage` once lets a group share a storage.
Nothing is widened where only the owner may write, nor in a sticky folder such as /tmp for others.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterable
from pathlib import Path

from pipeline_queue.contract.errors import StorageError
from pipeline_queue.storage.patience import repeat_until_done

_DENIED = frozenset((errno.EACCES, errno.EPERM))
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def is_denied(error: BaseException | None) -> bool:
    """Whether this says that the user of this process lacks a right, which no repetition gives."""
    return isinstance(error, OSError) and error.errno in _DENIED


def make_folder(path: Path, exist_ok: bool = False) -> None:
    """Makes a folder and those above it that are missing, each with the access of the one above. Raises OSError."""
    try:
        repeat_until_done(path.mkdir)
    except FileExistsError:
        if not exist_ok or not repeat_until_done(path.is_dir):
            raise
        return
    except FileNotFoundError:
        if path.parent == path:
            raise
        make_folder(path.parent, exist_ok=True)
        make_folder(path, exist_ok)
        return
    inherit_access(path)


def inherit_access(path: Path) -> None:
    """Gives what this process has made at `path` the group and rights of the folder above, if its group may write.

    Never raises: where it cannot be done, whoever lacks the right is told so when it matters.
    """
    with contextlib.suppress(OSError, StorageError):
        repeat_until_done(lambda: _inherit_access(path))


def _inherit_access(path: Path) -> None:
    above = path.parent.stat()
    if above.st_mode & stat.S_IWGRP:
        descriptor = os.open(path, _FLAGS)
        try:
            give_access(descriptor, above)
        finally:
            os.close(descriptor)


def give_access(descriptor: int, above: os.stat_result) -> None:
    """The same for an open file or folder; `above` is the status of the folder it lies in."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        if not above.st_mode & stat.S_IWGRP or status.st_uid != os.geteuid():
            return
        allowed = above.st_mode
        if status.st_gid != above.st_gid:
            try:
                os.fchown(descriptor, -1, above.st_gid)
            except PermissionError:
                # To its present group, which may be another, no more than to everybody.
                allowed = allowed & ~stat.S_IRWXG | (allowed & stat.S_IRWXO) << 3
                if above.st_mode & stat.S_ISVTX:
                    return
        mode = mode_below(status.st_mode, allowed)
        if mode != stat.S_IMODE(status.st_mode):
            os.fchmod(descriptor, mode)


def mode_below(mode: int, above: int) -> int:
    """The mode that a file or folder of this mode gets below a folder of mode `above`: pure.

    Group and others get what the owner has, as far as the folder gives it to them.
    """
    others = above & stat.S_IRWXO & ~(stat.S_IWOTH if above & stat.S_ISVTX else 0)
    owner = mode & stat.S_IRWXU
    wider = stat.S_IMODE(mode) | (owner >> 3) & above & stat.S_IRWXG | (owner >> 6) & others
    return wider | stat.S_ISGID if stat.S_ISDIR(mode) else wider


def inherit_access_below(folder: Path) -> None:
    """The same for all that lies in a folder; links are not followed. Never raises."""
    with contextlib.suppress(OSError):
        if not folder.stat().st_mode & stat.S_IWGRP:
            return
        for name, _, files in os.walk(folder):
            for path in (Path(name) / file for file in files):
                inherit_access(path)
            for entry in os.scandir(name):
                if entry.is_dir(follow_symlinks=False):
                    inherit_access(Path(entry.path))


def find_denied(folders: Iterable[Path]) -> Path | None:
    """The first of the folders that is there and that this user may not write in."""
    for folder in folders:
        is_allowed = os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
        if not is_allowed and os.path.lexists(folder):
            return folder
    return None


def describe_failed(path: Path, error: OSError, verb: str = "written") -> str:
    """What could not be written (or what `verb` says), why, and for lack of a right who lacks it."""
    return describe_denied(path, None, verb) if is_denied(error) else f"{path} cannot be {verb}: {error.strerror}"


def describe_denied(path: Path, root: Path | None, verb: str = "written") -> str:
    """Who may not write (or do what `verb` says with) what, and how to change that; `root` is the storage's folder."""
    shown = path
    while not os.path.lexists(shown) and shown != shown.parent:
        shown = shown.parent
    who = _name_of_user(os.geteuid())
    fact = f"{shown}{_described(shown)} cannot be {verb} by {who}: Permission denied"
    if root is None:
        return f"{fact}; `pipeline-queue doctor` says how several users share a storage"
    return (
        f"{fact}; to share the storage, put its users into one group and run `chgrp -R GROUP {root} && "
        f"chmod -R g+rwX {root} && find {root} -type d -exec chmod g+s {{}} +`, "
        "or run submitters and workers as one user"
    )


def _described(path: Path) -> str:
    try:
        status = path.stat()
    except OSError:
        return ""
    owner, group = _name_of_user(status.st_uid), _name_of_group(status.st_gid)
    return f" (owner {owner}, group {group}, mode {stat.S_IMODE(status.st_mode):04o})"


def _name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except (KeyError, OSError):
        return f"user {number}"


def _name_of_group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except (KeyError, OSError):
        return str(number)
