"""Two thousand generated and mutated files: each loads or is refused with places, and none takes long."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import load_pipeline

FILES = 2_000
SEED_OF_THE_DICE = 20_240_229
SLOWEST_SECONDS = 2.0

SEED = b"""\
pipeline:
  parameters:
    - name: learning_rate
      type: float
  steps:
    - train_model:
        run: train.py
        args: --lr ${{ parameters.learning_rate }}
"""
FULLER = b"""\
pipeline:
  name: train
  parameters:
    - {name: learning_rate, type: float, min: 0, help: step size}
    - {name: epochs, type: int, default: 10}
    - {name: optimizer, type: string, choices: [sgd, adam], default: sgd}
  steps:
    - prepare:
        run: prepare.py
        env: {A: "x ${{ run.id }}", B: 'y'}
    - train_model:
        run: train.py
        args: --lr ${{ parameters.learning_rate }} --epochs ${{ parameters.epochs }}
        timeout: 2h
        retries: 2
        queue: gpu
        outputs: [model.pkl, metrics.json]
        reuse: always
        sources: [train.py, "*.csv"]
        memory: 2GB
        preload: [json, os.path]
  sweep:
    grid: {learning_rate: {logspace: [1e-4, 1e-1, 7]}, optimizer: [sgd, adam]}
"""
TOKENS = [
    b"${{", b"}}", b"$${{", b"${{ parameters.x }}", b"${{ ${{", b"'", b'"', b"\\", b"\\ud83d", b"\n",
    b"\t", b"\r", b"\r\n", b": ", b":", b"- ", b"? ", b"[", b"]", b"{", b"}", b",", b"#", b"&a ", b"*a",
    b"*a, ", b"<<: *a", b"<<: ", b"!!str ", b"!!python/object/apply:os.system ", b"!x ", b"!", b"|",
    b">", b"|-\n", b"%TAG ! x\n", b"---\n", b"...\n", b"@", b"`", b"~", b"null", b"on", b".nan",
    b"1e999", b"0777", b"1_000", b"1:30", b"", b" ", b"=", b"-", b"0", b"false", b"$HOME", b";", b"\x00",
    b"\x01", b"\x7f", b"\x85", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", "\u2028".encode(),
    "\x85".encode(), "\ufeff".encode(), "\uffff".encode(), "😀".encode(), "e\u0301".encode(),
    "\u202e".encode(), "٣".encode(), b"pipeline", b"parameters", b"steps", b"name", b"run", b"args",
    b"type", b"default", b"choices", b"min", b"max", b"sweep", b"env", b"timeout", b"retries", b"queue",
    b"outputs", b"help", b"reuse", b"sources", b"memory", b"preload", b"never", b"2GiB", b"**/*.csv", b"../x.py", b"/x.py", b"train.py", b"1h30m", b"99999999999",
]  # fmt: skip
LONG = [
    b"[" * 3_000, b"{a: " * 3_000, b"- " * 3_000, b"? " * 3_000, b"x" * 100_000, b"9" * 100_000,
    b"${{" * 30_000, b"'" * 50_000, b"\\" * 50_000, b"a " * 50_000, b"${{ a }} " * 10_000,
    b" " * 100_000, b"\n" * 50_000, b"#" * 100_000, b"a/" * 30_000 + b"x.py", b"a,\n" * 30_000,
    b"[[]," * 20, b"*a, " * 200, b"k: v\n" * 5_000, b"\"\\x41\" " * 5_000,
    b"&a [" + b"x, " * 5_000 + b"]\nb: &b [" + b"*a, " * 60 + b"]\nc: [" + b"*b, " * 30 + b"]\n",
]  # fmt: skip

Mutation = Callable[[random.Random, bytearray], None]


def flip_bits(dice: random.Random, data: bytearray) -> None:
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def delete_a_stretch(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    del data[start : start + dice.choice([1, 1, 2, 5, 30])]


def repeat_a_stretch(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data))
    stretch = data[start : start + dice.choice([1, 5, 30, 200])]
    data[start:start] = stretch * dice.choice([1, 2, 20])


def insert_a_token(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = dice.choice(TOKENS)


def insert_something_long(dice: random.Random, data: bytearray) -> None:
    start = dice.randrange(len(data) + 1)
    data[start:start] = dice.choice(LONG)


def replace_a_word(dice: random.Random, data: bytearray) -> None:
    words = bytes(data).split(b" ")
    words[dice.randrange(len(words))] = dice.choice(TOKENS + LONG if dice.random() < 0.1 else TOKENS)
    data[:] = b" ".join(words)


def swap_two_words(dice: random.Random, data: bytearray) -> None:
    words = bytes(data).split(b" ")
    one, other = dice.randrange(len(words)), dice.randrange(len(words))
    words[one], words[other] = words[other], words[one]
    data[:] = b" ".join(words)


def change_indentation(dice: random.Random, data: bytearray) -> None:
    lines = bytes(data).split(b"\n")
    index = dice.randrange(len(lines))
    lines[index] = dice.choice([b"", b" ", b"  ", b"\t", b"        "]) + lines[index].lstrip()
    data[:] = b"\n".join(lines)


def swap_two_lines(dice: random.Random, data: bytearray) -> None:
    lines = bytes(data).split(b"\n")
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    data[:] = b"\n".join(lines)


MUTATIONS: list[Mutation] = [
    flip_bits, delete_a_stretch, repeat_a_stretch, insert_a_token, replace_a_word,
    swap_two_words, change_indentation, swap_two_lines,
]  # fmt: skip


def hostile_file(dice: random.Random) -> bytes:
    """A mutated pipeline, or, one time in ten, tokens without any order."""
    if dice.random() < 0.1:
        return b"".join(dice.choice(TOKENS) + dice.choice([b"", b" ", b"\n  "]) for _ in range(dice.randrange(60)))
    data = bytearray(dice.choice([SEED, FULLER]))
    for _ in range(dice.choice([1, 1, 1, 2, 3, 8])):
        if data:
            dice.choice(MUTATIONS)(dice, data)
    if dice.random() < 0.1:
        insert_something_long(dice, data)
    return bytes(data)


def load_or_refuse(path: Path) -> str:
    """Whether the file loads or is refused; fails on a refusal without a place."""
    try:
        load_pipeline(path)
    except PipelineFileError as error:
        assert error.problems
        for problem in error.problems:
            assert problem.place.line is not None and problem.place.line >= 1
            assert problem.place.column is not None and problem.place.column >= 1
            assert problem.message.isprintable() and len(problem.message) < 1_000
            assert problem.hint.isprintable() and len(problem.hint) < 5_000
        return "refused"
    return "loaded"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").touch()
    (tmp_path / "prepare.py").touch()
    return tmp_path


def test_two_thousand_hostile_files_load_or_are_refused_with_places(folder: Path) -> None:
    dice = random.Random(SEED_OF_THE_DICE)
    outcomes = {"loaded": 0, "refused": 0}
    slowest_seconds, slowest = 0.0, b""
    path = folder / "hostile.yaml"
    for number in range(FILES):
        data = hostile_file(dice)
        path.write_bytes(data)
        started = time.process_time()
        try:
            outcomes[load_or_refuse(path)] += 1
        except Exception as error:
            raise AssertionError(f"file {number} is neither loaded nor refused: {data[:2_000]!r}") from error
        seconds = time.process_time() - started
        if seconds > slowest_seconds:
            slowest_seconds, slowest = seconds, data
    assert slowest_seconds < SLOWEST_SECONDS, f"{slowest_seconds:.2f} s for {len(slowest)} bytes: {slowest[:300]!r}"
    assert outcomes["loaded"] > 100, "the mutations leave too little intact to say anything"
    assert outcomes["refused"] > 1_000, "the mutations break too little to say anything"


def test_wrong_expressions_everywhere_are_handled_in_time(folder: Path) -> None:
    declared = "".join(f"    parameter_{number}: {{type: int}}\n" for number in range(200))
    wrong = " ".join(f"${{{{ parameters.paramter_{number}x }}}}" for number in range(100))
    steps = "".join(f"    step_{number}: {{run: trian{number}.py, args: '{wrong}'}}\n" for number in range(100))
    for number in range(1_000):
        (folder / f"train{number}.py").touch()
    path = folder / "wrong.yaml"
    path.write_text(f"pipeline:\n  parameters:\n{declared}  steps:\n{steps}")
    started = time.process_time()
    assert load_or_refuse(path) == "refused"
    assert time.process_time() - started < SLOWEST_SECONDS


@pytest.mark.parametrize("inserted", LONG, ids=range(len(LONG)))
@pytest.mark.parametrize("target", [b"train.py", b"--lr", b"learning_rate\n", b"float", b"pipeline", b"train_model"])
def test_a_long_or_deep_text_in_any_place_is_handled_in_time(folder: Path, target: bytes, inserted: bytes) -> None:
    path = folder / "long.yaml"
    path.write_bytes(SEED.replace(target, inserted + target, 1))
    started = time.process_time()
    load_or_refuse(path)
    assert time.process_time() - started < SLOWEST_SECONDS


@pytest.mark.parametrize(
    "filler", [b"#", b"\n", b" ", b"a", b"[", b"- ", b"a: ", b"&a", b'"', b"${{ a }} ", b"!x ", b"? a\n"]
)
def test_a_file_of_the_largest_size_is_handled_in_time(folder: Path, filler: bytes) -> None:
    path = folder / "large.yaml"
    for before in (b"", b"pipeline:\n  steps:\n    - a:\n        run: echo\n        args: "):
        path.write_bytes((before + filler * 1_048_576)[:1_048_576])
        started = time.process_time()
        load_or_refuse(path)
        assert time.process_time() - started < SLOWEST_SECONDS
