"""Access rights on a storage that several users share: sets them on new files, and words the errors for missing ones.

The parent folder decides. If its group may write, every new file or folder in it gets that group and the permissions
that the parent gives the group, regardless of the umask. So running `chgrp GROUP storage; chmod 2775 storage` once lets
a group share a storage. Permissions are not widened where only the owner may write, nor for others in a sticky folder
such as /tmp.
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
    """Whether the error says that this process's user lacks a permission, so that retrying is useless."""
    return isinstance(error, OSError) and error.errno in _DENIED


def make_folder(path: Path, exist_ok: bool = False) -> None:
    """Creates a folder and its missing parents, each with the access rights of its own parent. Raises OSError."""
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
    """Gives what this process has created at `path` its parent's group and permissions, if that group may write.

    Never raises. If this fails, users who lack a permission get an error when they need it.
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
    """The same for an open file or folder; `above` is the status of its parent folder."""
    with contextlib.suppress(OSError):
        status = os.fstat(descriptor)
        if not above.st_mode & stat.S_IWGRP or status.st_uid != os.geteuid():
            return
        allowed = above.st_mode
        if status.st_gid != above.st_gid:
            try:
                os.fchown(descriptor, -1, above.st_gid)
            except PermissionError:
                # The file may still belong to another group: give that group no more than everybody gets.
                allowed = allowed & ~stat.S_IRWXG | (allowed & stat.S_IRWXO) << 3
                if above.st_mode & stat.S_ISVTX:
                    return
        mode = mode_below(status.st_mode, allowed)
        if mode != stat.S_IMODE(status.st_mode):
            os.fchmod(descriptor, mode)


def mode_below(mode: int, above: int) -> int:
    """The mode that a file or folder of this mode gets in a folder of mode `above`. Pure.

    Group and others get the owner's permissions, as far as the folder grants them the same.
    """
    others = above & stat.S_IRWXO & ~(stat.S_IWOTH if above & stat.S_ISVTX else 0)
    owner = mode & stat.S_IRWXU
    wider = stat.S_IMODE(mode) | (owner >> 3) & above & stat.S_IRWXG | (owner >> 6) & others
    return wider | stat.S_ISGID if stat.S_ISDIR(mode) else wider


def inherit_access_below(folder: Path) -> None:
    """Calls `inherit_access` for everything below a folder, without following links. Never raises."""
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
    """The first of the folders that exists and that this user may not write to."""
    for folder in folders:
        is_allowed = os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
        if not is_allowed and os.path.lexists(folder):
            return folder
    return None


def describe_failed(path: Path, error: OSError, verb: str = "written") -> str:
    """Error text: what could not be written (`verb`), why, and, if a permission is missing, which user lacks it."""
    return describe_denied(path, None, verb) if is_denied(error) else f"{path} cannot be {verb}: {error.strerror}"


def describe_denied(path: Path, root: Path | None, verb: str = "written") -> str:
    """Error text: what cannot be written (`verb`) by which user, and the remedy; `root` is the storage's folder."""
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
