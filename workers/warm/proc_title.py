"""The arguments and environment that /proc shows of this process, and `ps`: a fork has to write its own there."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PADDING = b"PIPELINE_QUEUE_PADDING"
"""An environment variable that only makes room."""

# Fields of /proc/self/stat after the name.
_FIELDS = {
    "start_code": 23,
    "end_code": 24,
    "start_stack": 25,
    "start_data": 42,
    "end_data": 43,
    "start_brk": 44,
    "arg_start": 45,
    "arg_end": 46,
    "env_start": 47,
    "env_end": 48,
}
_PR_SET_MM, _PR_SET_MM_MAP = 35, 14
_CONTROL = ctypes.PyDLL(None).prctl
_HEAP_END = ctypes.PyDLL(None).sbrk
_HEAP_END.restype = ctypes.c_void_p


class _Map(ctypes.Structure):
    """`struct prctl_mm_map` of <linux/prctl.h>."""

    _fields_ = (
        ("start_code", ctypes.c_uint64),
        ("end_code", ctypes.c_uint64),
        ("start_data", ctypes.c_uint64),
        ("end_data", ctypes.c_uint64),
        ("start_brk", ctypes.c_uint64),
        ("brk", ctypes.c_uint64),
        ("start_stack", ctypes.c_uint64),
        ("arg_start", ctypes.c_uint64),
        ("arg_end", ctypes.c_uint64),
        ("env_start", ctypes.c_uint64),
        ("env_end", ctypes.c_uint64),
        ("auxv", ctypes.c_void_p),
        ("auxv_size", ctypes.c_uint32),
        ("exe_fd", ctypes.c_int32),
    )


@dataclass(frozen=True, slots=True)
class ProcessArea:
    """Two pieces of the stack's end, where the kernel put the strings of `exec`."""

    arguments: tuple[int, int]
    environment: tuple[int, int]
    layout: _Map

    @classmethod
    def of_this_process(cls) -> ProcessArea:
        """Where they are; from now on C's own environment lies elsewhere."""
        for name, value in list(os.environb.items()):
            os.environb[name] = value
        os.environb.pop(PADDING, None)
        with open("/proc/self/stat", "rb") as file:  # noqa: PTH123
            fields = file.read().rpartition(b")")[2].split()
        layout = _Map(**{name: int(fields[field]) for name, field in _FIELDS.items()}, exe_fd=-1)
        return cls((layout.arg_start, layout.arg_end), (layout.env_start, layout.env_end), layout)

    def write(self, arguments: Sequence[bytes], environment: Mapping[bytes, bytes]) -> None:
        """What does not fit is left out, the last first."""
        self.layout.arg_end = _write(self.arguments, arguments)
        self.layout.env_end = _write(self.environment, [name + b"=" + value for name, value in environment.items()])
        # So that nothing follows the text; some kernels allow it only to some, and then zeros follow.
        self.layout.brk = _HEAP_END(0)
        _CONTROL(_PR_SET_MM, _PR_SET_MM_MAP, ctypes.byref(self.layout), ctypes.sizeof(_Map), 0)


def initial_environment() -> dict[bytes, bytes]:
    """What this process was started with, but for the padding."""
    with open("/proc/self/environ", "rb") as file:  # noqa: PTH123
        pairs = (entry.partition(b"=") for entry in file.read().split(b"\0") if entry)
        return {name: value for name, _, value in pairs if name != PADDING}


def _write(where: tuple[int, int], entries: Sequence[bytes]) -> int:
    """Where the text ends now."""
    start, end = where
    room = end - start
    text = b""
    for entry in entries:
        if len(text) + len(entry) + 1 <= room:
            text += entry + b"\0"
    if 0 < start < end:
        ctypes.memmove(start, text.ljust(room, b"\0"), room)
    return start + len(text)
