"""The Lua scripts say what they take, agree with the states of the contract, and come with the package."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pipeline_queue.contract import states
from pipeline_queue.index import scripts

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "pipeline_queue/index/lua"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.lua") if path.stem != "library")


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.lua").read_text()


def used_names() -> set[str]:
    """The scripts that the index registers."""
    code = "".join(path.read_text() for path in FOLDER.parent.glob("*.py"))
    return set(re.findall(r'script(?:_beyond_memory)?\("(\w+)"\)', code))


def test_every_script_is_used_and_every_used_one_is_there() -> None:
    assert used_names() == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_above_it_what_its_keys_arguments_and_result_are(name: str) -> None:
    above, _, body = text_of(name).partition("\nlocal ")
    said = [line for line in above.splitlines() if line.startswith("-- ")]
    keys = [
        line
        for line in said
        if (re.match(r"-- (KEYS  |      ) +[0-9.]+ ", line) and "pq1:" in line) or "<queue>" in line
    ]
    assert len(above.splitlines()) == len(said)
    unpacked = re.findall(r"^(?:local )?([\w, ]+) = unpack\(KEYS", body, re.M)
    assert keys and sum(len(names.split(", ")) for names in unpacked) in (len(keys), len(keys) - ("3.. " in above))
    assert ("ARGV" in body) == any(line.startswith("-- ARGV ") for line in said)
    assert bool(re.search(r"^return ", body, re.M)) == any(line.startswith("-- result ") for line in said)


def test_the_ended_states_are_those_of_the_contract() -> None:
    named = re.search(r"^local ENDED = \{(.*)\}$", text_of("library"), re.M)
    assert named is not None
    assert set(re.findall(r"(\w+) = true", named[1])) == set(states.ENDED)


def test_the_package_holds_the_scripts() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "index/lua/*.lua" in data["pipeline_queue"]


def test_a_script_is_sent_with_the_library_in_front() -> None:
    assert scripts.script("claim").startswith(text_of("library"))
    assert scripts.script_beyond_memory("renew").startswith("#!lua flags=allow-oom\n")
