"""What init makes of scripts: the written pipeline gives a script's own parser just what it had by default."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_queue.contract.ids import RunId
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline
from pipeline_queue.planning.planner import plan_step
from pipeline_queue.scaffold.heavy_imports import heavy_imports
from pipeline_queue.scaffold.pipeline_text import Target, example_text, pipeline_text
from pipeline_queue.scaffold.reading import read_command_line
from pipeline_queue.scaffold.script import read_script


def _written(folder: Path, source: str, name: str = "train.py") -> LoadedPipeline:
    """The pipeline that init writes for a script, loaded."""
    (folder / name).write_text(source, encoding="utf-8")
    found = read_command_line(read_script(folder / name))
    (folder / "pipeline.yaml").write_text(pipeline_text(Target("pipeline.yaml", name), found), encoding="utf-8")
    return load_pipeline(folder / "pipeline.yaml")


def _argv(loaded: LoadedPipeline, **values: Any) -> list[str]:
    """The words that the script is started with, after its own name; defaults but for `values`."""
    pipeline = loaded.pipeline
    point = {parameter.name: parameter.default for parameter in pipeline.parameters} | values
    assert None not in point.values()
    plan = plan_step(pipeline.steps[0], RunId("train-7k3m9q2x", 0), point)
    return list(plan.argv[1:])


_NAMES = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True).filter(
    lambda name: name not in ("h", "help")
)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "default": st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), _TEXTS),
        "type": st.sampled_from(["int", "float", "str"]),
        "help": _TEXTS.map(lambda text: text.replace("%", "%%")),
        "choices": st.lists(st.one_of(st.integers(), _TEXTS), min_size=1, max_size=3),
    },
)
_ARGUMENTS = st.dictionaries(
    _NAMES, st.one_of(_SPECS, st.sampled_from([{"action": "store_true"}, {"action": "store_false"}])), max_size=6
)


@given(_ARGUMENTS)
@settings(max_examples=200)
def test_a_run_with_defaults_gives_the_script_what_no_words_at_all_give(arguments: dict[str, dict[str, Any]]) -> None:
    lines = ["import argparse", "parser = argparse.ArgumentParser(usage='x', allow_abbrev=False)"]
    for name, spec in arguments.items():
        words = [f"{key}={value if key == 'type' else repr(value)}" for key, value in spec.items()]
        lines.append(f"parser.add_argument({', '.join([repr(f'--{name}'), *words])})".replace("=inf", "=float('inf')"))
    source = "\n".join(lines).replace("=-inf", "=float('-inf')").replace("=nan", "=float('nan')")
    names: dict[str, Any] = {}
    exec(source, names)
    parser: argparse.ArgumentParser = names["parser"]
    try:
        expected = parser.parse_args([])
    except SystemExit:
        return  # a default that argparse itself refuses
    with tempfile.TemporaryDirectory() as folder:
        argv = _argv(_written(Path(folder), source + "\nargs = parser.parse_args()\n"))
    received = parser.parse_args(argv)
    assert repr(received) == repr(expected) or _same(vars(received), vars(expected), parser)


def _same(received: dict[str, Any], expected: dict[str, Any], parser: argparse.ArgumentParser) -> bool:
    """Equal but for what a type makes of a default: 2 given to type=float is 2.0, and any default to type=str a text."""
    kinds = {action.dest: action.type for action in parser._actions}
    for name, value in expected.items():
        kind = kinds.get(name)
        same = received[name] == value or (callable(kind) and received[name] == kind(value))
        if not same and not (kind is None and received[name] == str(value)) and value == value:
            return False
    return True


@pytest.mark.parametrize(
    "name",
    ["my script.py", "größe.py", "it's.py", 'a "b".py', "#1.py", "null.py", "-x.py", "${{ x }}.py", "true.py", "1.py"],
)
def test_any_name_of_a_script_can_be_written(name: str, tmp_path: Path) -> None:
    if "${{" in name:
        return
    loaded = _written(tmp_path, "import argparse\nargparse.ArgumentParser().parse_args()\n", name)
    assert loaded.pipeline.steps[0].python
    assert loaded.pipeline.steps[0].argv[0] == (name,)


@pytest.mark.parametrize(
    "default",
    [
        "null",
        "~",
        "yes",
        "1e5",
        "0777",
        "- x",
        "a: b",
        "a # b",
        "",
        " ",
        "'",
        '"',
        "\\",
        "@x",
        "*",
        "$HOME",
        "a,b",
        "[1]",
        "{}",
        "-",
    ],
)
def test_a_text_stays_the_text_it_is(default: str, tmp_path: Path) -> None:
    source = f"import argparse\np = argparse.ArgumentParser()\np.add_argument('--text', default={default!r})\np.parse_args()\n"
    assert _argv(_written(tmp_path, source)) == [f"--text={default}"]


def test_arguments_that_nobody_knows_before_it_runs_are_left_out_with_the_reason(tmp_path: Path) -> None:
    source = """
import argparse, os, torch
p = argparse.ArgumentParser()
p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
p.add_argument("--workers", type=int, default=os.cpu_count())
p.add_argument("--seed", type=int)
p.add_argument("--rate", default=0.5)
p.add_argument("-v", action="count")
p.add_argument("--tag", action="append")
p.add_argument("--known", type=int, default=3)
if os.name == "nt":
    p.add_argument("--windows", type=int, default=1)
p.parse_args()
"""
    loaded = _written(tmp_path, source)
    assert [parameter.name for parameter in loaded.pipeline.parameters] == ["known"]
    text = (tmp_path / "pipeline.yaml").read_text()
    for name in ("device", "workers", "seed", "rate", "v", "tag", "windows"):
        assert f"# - {{name: {name}, " in text
    assert "torch.cuda.is_available()" in text


def test_lines_of_a_written_file_fit_a_terminal(tmp_path: Path) -> None:
    source = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=0.1)\np.parse_args()\n"
    _written(tmp_path, source)
    text = (tmp_path / "pipeline.yaml").read_text() + example_text("pipeline.yaml").split("run: [python")[0]
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 10 ** 10 ** 10\n",
        "x = 'a' * 10 ** 10\n",
        "x = list(range(10 ** 12))\n",
        "x = 1 << 10 ** 12\n",
        "x = '%1000000000d' % 1\n",
        "x = f'{1:>1000000000}'\n",
        "x = '{:>1000000000}'.format(1)\n",
        "while True:\n    pass\n",
        "def f():\n    f(); f()\nf()\n",
        "x = [1]\nfor i in range(100):\n    x = x + x\n",
        "x = 'ab'\nfor add in range(1000):\n    x = ''.join([x, x])\n    add(x)\n",
        "import train\n",
        "x = 1" + " + 1" * 1_500 + "\n",
        "class A(A): pass\nA().f().g[0](*A, **A)\n",
    ],
)
def test_a_script_that_computes_for_ever_is_read_at_once(source: str, tmp_path: Path) -> None:
    tail = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', type=int, default=x if False else 3)\np.parse_args()\n"
    (tmp_path / "train.py").write_text(source + tail)
    read_command_line(read_script(tmp_path / "train.py"))


def test_heavy_packages_are_named_as_they_are_imported(tmp_path: Path) -> None:
    package = tmp_path / "site"
    for path in ("numpy/__init__.py", "numpy/random/__init__.py", "pandas/__init__.py"):
        (package / path).parent.mkdir(parents=True, exist_ok=True)
        (package / path).write_text("raise SystemExit('imported')\n")
    (tmp_path / "pandas.py").write_text("")
    (tmp_path / "train.py").write_text(
        "import numpy as np\nfrom numpy.random import default_rng\nimport pandas\nimport torch\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(package))
        found = heavy_imports(read_script(tmp_path / "train.py").tree, tmp_path)
    assert [name for name in found if name != "torch"] == ["numpy", "numpy.random"]


def test_the_example_is_valid(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text(example_text("pipeline.yaml"))
    assert json.loads(json.dumps(load_pipeline(tmp_path / "pipeline.yaml").pipeline.as_json()))["name"] == "hello"
