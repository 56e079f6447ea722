"""Signs messages: a signature proves that a holder of the key wrote the message for this run, step, queue and values.

A signature does not expire: a copy of a signed message stays valid. Copies are harmless, because the storage and the
index decide which work remains.
"""

from __future__ import annotations

import hmac
import json
import os
import stat
from pathlib import Path

from pipeline_queue.broker.message import SIGNATURE, VERSION, StepMessage
from pipeline_queue.contract.errors import MessageError, SettingsError

MIN_KEY_BYTES = 32
_MAX_KEYS = 2
_MAX_FILE_BYTES = 8192
_VERSION = 1


class SigningKey:
    """The key that signs, and the keys whose signatures are accepted."""

    def __init__(self, first: bytes, *older: bytes) -> None:
        self._keys = (first, *older)

    def __repr__(self) -> str:
        return "SigningKey(***)"

    def sign(self, message: StepMessage, queue: str) -> str:
        """`1:<64 hexadecimal digits>`: HMAC-SHA256 of the canonical JSON of the message's contents."""
        return _signature(self._keys[0], message, queue)

    def has_signed(self, signature: str | None, message: StepMessage, queue: str) -> bool:
        """Whether the current key made this signature; False for one by an older key, which will be dropped."""
        made = self.sign(message, queue)
        return signature is not None and signature.isascii() and hmac.compare_digest(signature, made)

    def check(self, envelope: dict[str, object], message: StepMessage, queue: str) -> None:
        """Raises MessageError unless the envelope of this message carries a signature by one of the keys."""
        given = envelope.get(SIGNATURE)
        if given is None:
            raise MessageError("the message is not signed; whoever submits needs the signing key of the workers")
        if not isinstance(given, str) or not given.isascii():
            raise MessageError("the signature of the message has an unknown form")
        # Compare with every key, so that the duration reveals nothing.
        if not any([hmac.compare_digest(given, _signature(key, message, queue)) for key in self._keys]):
            raise MessageError("the message was altered, or signed with another key")


def read_signing_key(path: Path) -> SigningKey:
    """Read the key file: the first line is the signing key, an optional second line is a key that is still accepted.

    Raises SettingsError, whose text never shows the file's content.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the path has a NUL in it"
        raise SettingsError(f"the signing key {path} cannot be read: {reason}") from None
    try:
        _check_file(path, os.fstat(descriptor))
        content = os.read(descriptor, _MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    keys = [line.strip() for line in content.splitlines() if line.strip()]
    if not 1 <= len(keys) <= _MAX_KEYS or len(content) > _MAX_FILE_BYTES:
        raise SettingsError(
            f"the signing key {path} must hold one line, or two: the key, and an older one still accepted"
        )
    if any(len(key) < MIN_KEY_BYTES for key in keys):
        raise SettingsError(
            f"the signing key {path} must be at least {MIN_KEY_BYTES} bytes long; make one with `openssl rand -hex 32`"
        )
    return SigningKey(*keys)


def _check_file(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SettingsError(f"the signing key {path} is not a file")
    if status.st_uid not in (0, os.geteuid()):
        raise SettingsError(f"the signing key {path} must belong to this user or to root")
    # Container engines mount secrets owned by root and readable by one group.
    allowed = 0o740 if status.st_uid == 0 else 0o700
    if status.st_mode & 0o777 & ~allowed:
        raise SettingsError(f"the signing key {path} can be read or written by others: chmod 600 it")


def _signature(key: bytes, message: StepMessage, queue: str) -> str:
    said = {
        "v": VERSION,
        "run": str(message.run),
        "step": message.step,
        "queue": queue,
        "parameters": message.parameters,
        SIGNATURE: _VERSION,
    }
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{_VERSION}:{hmac.digest(key, text.encode(), 'sha256').hex()}"
