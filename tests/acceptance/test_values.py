"""A value is exactly one argv element, byte for byte, through a real chain, worker and process."""

from __future__ import annotations

import json
import random
import string
import sys
import unicodedata
from pathlib import Path

from tests.conftest import GENEROUS_SECONDS, Cluster, Shell, write_folder

HOSTILE = [
    "", " ", "a b", "'", '"', "a'b\"c", "$HOME", "${HOME}", "`id`", "$(id)", ";", "; touch pwned", "&&", "|",
    "\n", "a\nb\n", "\\", "\\n", "\\\\", "=", "a=b", "${{", "${{ parameters.text }}", "$${{", "}}", "-", "-x", "--lr",
    "0", "0.0", "false", "null", "~", "*", "?", "[a]", "{a,b}", "#", "# not a comment", "\t", "\r", "\x01", "\x7f",
    "é", "日本語", "🚀", "\u202e", "\ufeff", "e\u0301", "%s %(x)s {0}", "\U0010ffff",
]  # fmt: skip

ECHO = "import json, sys, os\njson.dump([os.fsencode(word).hex() for word in sys.argv[1:]], open('argv.json', 'w'))\n"

PIPELINE = """\
pipeline:
  parameters:
    - {name: text, type: string}
  steps:
    - echo:
        run: echo.py
        args: first ${{ parameters.text }} --name=${{ parameters.text }} '${{ parameters.text }}'"${{ parameters['text'] }}" last
"""


def _printable_planes() -> list[str]:
    """Every printable character of Unicode, in pieces that fit one argv element."""
    printable = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in "LMNPSZ"]
    return ["".join(printable[start : start + 20_000]) for start in range(0, len(printable), 20_000)]


def _generated(count: int, seed: int) -> list[str]:
    chance = random.Random(seed)
    alphabet = string.printable.replace("\x00", "") + "é日🚀${}'\"\\\n =-;"
    return ["".join(chance.choices(alphabet, k=chance.randint(0, 60))) for _ in range(count)]


def test_values_arrive_byte_exact_in_argv(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, echo_py=ECHO)
    client = cluster.client
    loaded = client.load(folder / "pipeline.yaml")
    # 65,000 bytes twice in one element, 100 kB once: see the test below for the largest.
    values = [*HOSTILE, *_generated(60, seed=7), *(piece[:15_000] for piece in _printable_planes())]
    runs = [(client.submit(loaded, {"text": value}), value) for value in values]
    cluster.start_worker("--concurrency", "4")
    for run, value in runs:
        report = client.wait(run, GENEROUS_SECONDS)
        assert report.state == "succeeded", (value, report.message)
        words = json.loads((client.outputs(run)["echo"] / "argv.json").read_text())
        received = [bytes.fromhex(word).decode() for word in words]
        assert received == ["first", value, f"--name={value}", value + value, "last"], value
        assert client.run(run).parameters == {"text": value}


def test_a_value_of_100_kb_and_every_printable_character_arrive_whole(cluster: Cluster, tmp_path: Path) -> None:
    pipeline = PIPELINE.split("        args:")[0] + "        args: ${{ parameters.text }}\n"
    folder = write_folder(tmp_path / "project", pipeline_yaml=pipeline, echo_py=ECHO)
    client = cluster.client
    loaded = client.load(folder / "pipeline.yaml")
    values = ["x" * 100_000, "é\n" * 33_000, *_printable_planes()]
    runs = [(client.submit(loaded, {"text": value}), value) for value in values]
    cluster.start_worker()
    for run, value in runs:
        report = client.wait(run, GENEROUS_SECONDS)
        assert report.state == "succeeded", report.message
        words = json.loads((client.outputs(run)["echo"] / "argv.json").read_text())
        assert bytes.fromhex(words[0]).decode() == value and len(words) == 1


def test_values_from_the_command_line_and_a_file_arrive_byte_exact(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, echo_py=ECHO)
    cluster.start_worker()
    shell = cluster.shell(folder)
    nasty = "-a 'b' \"c\" $HOME; \\ = ${{ x }} \n 🚀"
    (folder / "values.json").write_text(json.dumps({"text": nasty}))
    for words in (["-p", f"text={nasty}"], ["--params-file", "values.json"]):
        report = shell.json("run", "pipeline.yaml", *words, "--json")
        argv = json.loads((Path(report["steps"][0]["outputs"]) / "argv.json").read_text())
        assert bytes.fromhex(argv[1]).decode() == nasty


def test_a_value_too_long_for_the_system_is_refused_at_submission(cluster: Cluster, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=PIPELINE, echo_py=ECHO)
    (folder / "values.yaml").write_text("text: " + "x" * 130_000)
    done = cluster.shell(folder)("run", "pipeline.yaml", "--params-file", "values.yaml", exit_code=2)
    assert "bytes long" in done.stderr and "echo" in done.stderr
    assert not (cluster.settings.storage / "sweeps").exists()


def test_a_plan_shows_where_each_value_ends(tmp_path: Path) -> None:
    text = "pipeline:\n  parameters:\n    - {name: s, type: string}\n  steps:\n    - a: {run: [ls, '${{ parameters.s }}']}\n"
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=text))
    plan = shell("sweep", "pipeline.yaml", "-p", "s=s", "--dry-run").stdout
    assert "  s=s\n" in plan
    plan = shell("sweep", "pipeline.yaml", "-p", "s=" + json.dumps(["two\nlines", "a  t=b"]), "--dry-run").stdout
    assert plan.splitlines()[1:] == [r"  s='two\nlines'", "  s='a  t=b'"]
