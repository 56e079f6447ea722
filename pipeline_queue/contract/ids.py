"""The names of sweeps and runs: made, checked and taken apart here only."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass

from pipeline_queue.contract.errors import NotFoundError

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: nothing that reads like another
_SUFFIX_LENGTH = 8
_SWEEP = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,63}}-[{_ALPHABET}]{{{_SUFFIX_LENGTH}}}", re.ASCII)
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


def new_sweep_id(pipeline_name: str) -> str:
    """`<pipeline>-<8 characters>`: 40 random bits, and the exclusive create of `sweep.json` decides."""
    return f"{pipeline_name}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX_LENGTH))}"


def named_sweep_id(pipeline_name: str, name: str) -> str:
    """The one id of a sweep that was given a name, so that a second submission finds the first."""
    number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=5).digest(), "big")
    letters = [_ALPHABET[number >> shift & 31] for shift in range(0, 5 * _SUFFIX_LENGTH, 5)]
    return f"{pipeline_name}-{''.join(letters)}"


def is_sweep_id(text: str) -> bool:
    return _SWEEP.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class RunId:
    """One point of a sweep: `<sweep>.<index>`."""

    sweep: str
    index: int

    def __str__(self) -> str:
        return f"{self.sweep}.{self.index}"

    @classmethod
    def parse(cls, text: str) -> RunId:
        """Raises NotFoundError when `text` is not a run's name, so a forged one never becomes a path."""
        sweep, dot, index = text.rpartition(".")
        if not dot or not is_sweep_id(sweep) or not _INDEX.fullmatch(index):
            raise NotFoundError(f"'{text[:100]}' is not the name of a run (they look like train-7k3m9q2x.0)")
        return cls(sweep, int(index))
