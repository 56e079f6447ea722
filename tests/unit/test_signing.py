"""Signatures of messages and the files that hold their key."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_queue.broker.app import make_app
from pipeline_queue.broker.message import SIGNATURE, StepMessage, decode_step
from pipeline_queue.broker.signing import SigningKey, read_signing_key
from pipeline_queue.contract.errors import MessageError, SettingsError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.contract.settings import settings_from

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "envelope.signed.v1.json"
KEY = SigningKey(b"0123456789abcdef0123456789abcdef")
OTHER = SigningKey(b"fedcba9876543210fedcba9876543210")
MESSAGE = StepMessage(RunId("train-7k3m9q2x", 3), "prepare", {"learning_rate": 0.01, "name": "é $HOME"})

VALUES = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def signed(message: StepMessage = MESSAGE, key: SigningKey = KEY, queue: str = "gpu") -> dict[str, Any]:
    return {**message.envelope(), SIGNATURE: key.sign(message, queue)}


def test_the_signed_envelope_of_version_1_is_the_golden_one() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert signed() == golden
    assert decode_step(golden, MESSAGE.parameters) == MESSAGE, "a worker without a key takes it too"
    KEY.check(golden, MESSAGE, "gpu")


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_crossed_the_wire_keeps_its_signature(parameters: dict[str, Any]) -> None:
    sent = StepMessage(MESSAGE.run, MESSAGE.step, parameters)
    envelope, arrived = json.loads(json.dumps([signed(sent), parameters]))
    KEY.check(envelope, decode_step(envelope, arrived), "gpu")


@pytest.mark.parametrize(
    ("message", "queue"),
    [
        (StepMessage(RunId("train-7k3m9q2x", 4), MESSAGE.step, MESSAGE.parameters), "gpu"),
        (StepMessage(RunId("train-7k3m9q2y", 3), MESSAGE.step, MESSAGE.parameters), "gpu"),
        (StepMessage(MESSAGE.run, "train", MESSAGE.parameters), "gpu"),
        (MESSAGE, "default"),
        (StepMessage(MESSAGE.run, MESSAGE.step, {**MESSAGE.parameters, "learning_rate": 0.02}), "gpu"),
        (StepMessage(MESSAGE.run, MESSAGE.step, {**MESSAGE.parameters, "learning_rate": "0.01"}), "gpu"),
        (StepMessage(MESSAGE.run, MESSAGE.step, {**MESSAGE.parameters, "more": 1}), "gpu"),
        (StepMessage(MESSAGE.run, MESSAGE.step, {}), "gpu"),
    ],
    ids=["index", "sweep", "step", "queue", "value", "type", "one more", "none"],
)
def test_a_signature_holds_for_one_message_only(message: StepMessage, queue: str) -> None:
    with pytest.raises(MessageError, match="altered"):
        KEY.check({**message.envelope(), SIGNATURE: signed()[SIGNATURE]}, message, queue)


@pytest.mark.parametrize(
    "signature", ["", "1:", "2:" + "0" * 64, "0" * 64, 1, [], {}, True, "é" * 64, "\ud800", "x" * 5_000_000], ids=lambda one: ascii(one)[:20]
)  # fmt: skip
def test_a_signature_of_another_form_is_refused_shortly(signature: object) -> None:
    with pytest.raises(MessageError) as caught:
        KEY.check({**MESSAGE.envelope(), SIGNATURE: signature}, MESSAGE, "gpu")
    assert len(str(caught.value)) < 200


def test_an_unsigned_message_is_refused_with_what_to_do() -> None:
    with pytest.raises(MessageError, match=r"not signed; .* needs the signing key"):
        KEY.check(MESSAGE.envelope(), MESSAGE, "gpu")


def test_the_first_key_signs_and_the_older_one_is_accepted(tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 32
    rotated = read_signing_key(written(tmp_path / "key", f"{new}\n{old}\n"))
    for first, accepted in ((old, True), (new, True), ("x" * 32, False)):
        envelope = signed(key=SigningKey(first.encode()))
        if accepted:
            rotated.check(envelope, MESSAGE, "gpu")
        else:
            with pytest.raises(MessageError):
                rotated.check(envelope, MESSAGE, "gpu")
    assert rotated.sign(MESSAGE, "gpu") == SigningKey(new.encode()).sign(MESSAGE, "gpu")


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700, 0o500], ids=oct)
def test_a_private_file_is_read(tmp_path: Path, mode: int) -> None:
    assert repr(read_signing_key(written(tmp_path / "key", "k" * 32, mode))) == "SigningKey(***)"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620, 0o666, 0o601, 0o444], ids=oct)
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="chmod 600"):
        read_signing_key(written(tmp_path / "key", "secret" * 10, mode))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_whose_file_it_is_decides_what_its_group_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_signing_key(written(tmp_path / "roots", "k" * 32, 0o440))
    foreign = written(tmp_path / "foreign", "k" * 32, 0o400)
    os.chown(foreign, 12345, 12345)
    with pytest.raises(SettingsError, match="belong to this user or to root"):
        read_signing_key(foreign)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    read_signing_key(foreign)
    foreign.chmod(0o440)
    with pytest.raises(SettingsError, match="chmod 600"):
        read_signing_key(foreign)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "one line"), ("\n\n", "one line"), ("short-secret", "at least 32 bytes"), ("k" * 32 + "\nshort-secret", "at least 32"),
        ("\n".join(["k" * 32] * 3), "one line"), ("k" * 10_000, "one line"),
    ],
    ids=["empty", "blank", "short", "short second", "three", "long"],
)  # fmt: skip
def test_a_file_without_a_usable_key_is_refused_and_not_shown(tmp_path: Path, content: str, reason: str) -> None:
    with pytest.raises(SettingsError, match=reason) as caught:
        read_signing_key(written(tmp_path / "key", content))
    assert "kkkk" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path, reason in (
        (tmp_path, "not a file"),
        (tmp_path / "pipe", "not a file"),
        (tmp_path / "none", "No such file"),
    ):
        with pytest.raises(SettingsError, match=reason):
            read_signing_key(path)


def test_the_setting_names_the_file_and_celery_is_not_told_the_key(tmp_path: Path) -> None:
    path = written(tmp_path / "key", "confidential" * 4)
    environment = {"PIPELINE_QUEUE_BROKER_URL": "redis://h", "PIPELINE_QUEUE_STORAGE": "/s"}
    settings = settings_from({**environment, "PIPELINE_QUEUE_SIGNING_KEY_FILE": str(path)})
    assert settings_from(settings.environment()) == settings
    app = make_app(settings.broker_url, settings.signing_key_file)
    assert isinstance(app.signing_key, SigningKey)
    assert "confidential" not in repr(dict(app.conf)) + repr(app.signing_key) + repr(settings)
    assert make_app(settings.broker_url, settings_from(environment).signing_key_file).signing_key is None
