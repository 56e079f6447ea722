"""Commands that only a shell would understand are refused or warned of, and plain ones are left alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline

HEAD = "pipeline:\n  parameters:\n    - {name: lr, type: float, default: 0.1}\n  steps:\n    - train:\n"
USES = "        env: {LR: '${{ parameters.lr }}'}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.py").touch()
    return tmp_path


def load(folder: Path, step: str) -> LoadedPipeline:
    path = folder / "demo.yaml"
    path.write_text(HEAD + USES + "".join(f"        {line}\n" for line in step.splitlines()))
    return load_pipeline(path)


def refused(folder: Path, step: str) -> str:
    with pytest.raises(PipelineFileError) as caught:
        load(folder, step)
    return str(caught.value)


def warned(folder: Path, step: str) -> str:
    return "\n".join(map(str, load(folder, step).warnings))


@pytest.mark.parametrize(
    "command",
    [
        "python a.py && python b.py",
        "python a.py || true",
        "cat x | wc",
        "python a.py ; python b.py",
        "python a.py; python b.py",
        "python a.py > log.txt",
        "python a.py >log.txt",
        "python a.py >> log.txt",
        "python a.py 2>&1",
        "python a.py 2> err.txt",
        "python a.py &> all.txt",
        "python a.py < in.txt",
        "python a.py &",
        "python a.py <<EOF",
        "cd sub && make",
        "cd sub",
        "source venv/bin/activate",
        "export A=1",
        "OMP_NUM_THREADS=1 python a.py",
        "for i in 1 2 3; do echo $i; done",
        "if [ -f x ]; then y; fi",
    ],
)
def test_an_operator_of_the_shell_is_refused_in_run(folder: Path, command: str) -> None:
    said = refused(folder, f"run: {json.dumps(command)}")
    assert said.startswith(f"{folder}/demo.yaml:7:")
    assert "shell" in said or "env:" in said


@pytest.mark.parametrize("args", ["--x 1 && b", "--x 1 > log", "--x 1 2>&1", "a | b", "a; b"])
def test_an_operator_of_the_shell_is_refused_in_args(folder: Path, args: str) -> None:
    assert "shell" in refused(folder, f"run: train.py\nargs: {json.dumps(args)}")


@pytest.mark.parametrize(
    "step",
    [
        "run: |\n  python prepare.py\n  python train.py",
        "run: |\n  python prepare.py\n\n  # a comment\n  python train.py",
        'run: "python prepare.py\\npython train.py"',
        "run: >\n  python prepare.py\n\n  python train.py",
    ],
)
def test_a_run_of_several_lines_is_refused(folder: Path, step: str) -> None:
    said = refused(folder, step)
    assert "lines" in said and "shell: |" in said


@pytest.mark.parametrize(
    "step",
    [
        "run: |\n  python train.py",
        "run: >\n  python train.py\n  --lr 0.1",
        "run: |\n  python train.py \\\n    --lr 0.1",
        "run: train.py\nargs: |\n  --lr 0.1\n  --epochs 3",
        "run: python -c 'import sys\n\n  print(1)'",
    ],
)
def test_one_command_on_several_lines_is_one_command(folder: Path, step: str) -> None:
    assert warned(folder, step) == ""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("python $HOME/train.py", "$HOME"),
        ("python ${HOME}/train.py", "${HOME}"),
        ('python "$HOME/train.py"', "$HOME"),
        ("python train.py --now $(date)", "$("),
        ("python train.py `date`", "`"),
        ("python ~/train.py", "~"),
        ("python train.py --out=~/x", "~"),
        ("python train.py data/*.csv", "*"),
        ("python train.py a|b", "a|b"),
        ("python train.py a;b", "a;b"),
        ("python train.py x&", "x&"),
        ("python train.py $1", "$1"),
        ("python train.py $@", "$@"),
        ("python train.py %USERPROFILE%", "%USERPROFILE%"),
        ("python train.py {a,b}.csv", "{a,b}"),
        ("python train.py {1..3}", "{1..3}"),
        ("python train.py data/part-?.csv", "?"),
        ("python train.py part-[0-9].csv", "["),
    ],
)
def test_what_a_shell_would_expand_is_warned_of(folder: Path, command: str, shown: str) -> None:
    said = warned(folder, f"run: {json.dumps(command)}")
    assert shown in said and "unchanged" in said
    assert said.startswith(f"{folder}/demo.yaml:7:")


@pytest.mark.parametrize(
    "command",
    [
        "python train.py '$HOME' '*' '~' '&&' '>' ';'",
        'python train.py "&&" ">" "a;b" "*"',
        "python train.py \\> \\&\\& \\$HOME",
        "sh -c 'cd sub && ls > $HOME/x'",
        'bash -c "echo $HOME | wc"',
        "python train.py --url http://host/?a=1&b=2",
        "python train.py --min>=3",
        "python train.py --name=${{ parameters.lr }}",
        "find . -name x -exec rm {} \\;",
        "awk '{print $1}' x",
        "python train.py a~b 5% a->b #3 cost=5$",
        "python train.py --layers=[64,32] {x} really? {} sizes[0]=3 %Y%m%d {width:3,depth:4} lr=[0.1,0.2]/2",
    ],
)
def test_what_is_quoted_or_has_no_meaning_to_a_shell_is_left_alone(folder: Path, command: str) -> None:
    assert warned(folder, f"run: {json.dumps(command)}") == ""


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ('--conf {"a":1,"b":[1,2]}', "the quotes in"),
        ("--conf={'a':1}", "the quotes in"),
        ('layers=["a","b"]', "the quotes in"),
        ("--data C:\\new\\table.csv", "the backslash in"),
        ("--pattern \\d+", "the backslash in"),
        ("--sep \\t", "the backslash in"),
    ],
)
def test_what_splitting_takes_away_is_said(folder: Path, args: str, shown: str) -> None:
    assert shown in warned(folder, f"run: train.py\nargs: {json.dumps(args)}")


@pytest.mark.parametrize(
    "args",
    [
        """--conf '{"a":1}' --name "a b" --x='["a"]'""",
        "--pattern '\\d+' --sep '\\t' --data C:\\\\new",
        "a\\ b \\$x \\* \"a\\nb\" 'it\\'",
    ],
)
def test_quotes_and_backslashes_that_a_shell_would_need_are_left_alone(folder: Path, args: str) -> None:
    assert warned(folder, f"run: train.py\nargs: {json.dumps(args)}") == ""


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_an_option_in_one_word_with_its_value_is_said(folder: Path, quote: str) -> None:
    said = warned(folder, f"run: train.py\nargs:\n  - {quote}--lr ${{{{ parameters.lr }}}}{quote}")
    assert "is one word" in said and "--lr=${{ parameters.lr }}" in said
    assert warned(folder, 'run: train.py\nargs: ["--note=a b", "- a", "-5 m", "a -b c"]') == ""


@pytest.mark.parametrize(
    "step",
    [
        "run: train.py \\\n  --lr 1 \\\n  --note a\\ b",
        "run: >-\n  train.py \\\n  --lr 1 \\\n  --note a\\ b",
        "run: 'train.py \\\n  --lr 1 \\\n  --note a\\ b'",
        "run: |\n  train.py \\\n  --lr 1 \\\n  --note a\\ b",
        'run: "train.py \\\n  --lr 1 \\\n  --note a\\\\ b"',
        "run: train.py\nargs: --lr 1 \\\n  --note a\\ b",
        "run: train.py\nargs: >\n  --lr 1 \\ \n  --note a\\ b",
    ],
)
def test_a_backslash_at_a_lines_end_continues_it_in_every_style_of_yaml(folder: Path, step: str) -> None:
    loaded = load(folder, step)
    assert loaded.pipeline.steps[0].argv == (("train.py",), ("--lr",), ("1",), ("--note",), ("a b",))


def test_words_of_a_list_are_only_warned_of(folder: Path) -> None:
    said = warned(folder, 'run: [python, train.py, "&&", "$HOME/x", "~/y"]')
    assert "'&&'" in said and "$HOME" in said and "'~'" in said
    assert "'&&'" in warned(folder, "run: [python, a.py, '&&', python, b.py]")
    assert warned(folder, "run: [python, train.py, '$HOME/x', '~/y']") == ""
    assert warned(folder, 'run: [sh, -c, "echo $HOME > ~/x"]') == ""


@pytest.mark.parametrize("value", ["/opt/x:$PATH", "${HOME}/x", "~/data", "a:~/b", "%PATH%"])
def test_a_variable_in_a_value_of_the_environment_is_warned_of(folder: Path, value: str) -> None:
    said = _warned_of_env(folder, value)
    assert "nothing expands it" in said and "worker.env." in said


def _warned_of_env(folder: Path, value: str) -> str:
    path = folder / "demo.yaml"
    env = f"        env: {{LR: '${{{{ parameters.lr }}}}', DATA: {json.dumps(value)}}}\n"
    path.write_text(HEAD + env + "        run: train.py\n")
    return "\n".join(map(str, load_pipeline(path).warnings))


@pytest.mark.parametrize(
    ("run", "refused"),
    [
        (">\n          python a.py\n          python b.py\n", True),
        (">-\n          python a.py\n\n          # more\n          python3 b.py\n", True),
        ("python a.py\n          python b.py\n", True),
        ('"python a.py\n          python b.py"\n', True),
        (">\n          ./a.sh\n          ./b.sh\n", False),
    ],
)
def test_commands_on_lines_that_yaml_joins_are_said(tmp_path: Path, run: str, refused: bool) -> None:
    problems, warnings = both(tmp_path, f"run: {run}")
    (said,) = problems if refused else [one for one in warnings if "joins" in one]
    assert "joins its lines" in said or "lines, but a step starts one program" in said


@pytest.mark.parametrize(
    "run",
    [
        ">\n          python a.py\n          --lr 1\n          data.py\n",
        ">\n          nice -n 4\n          python a.py\n",
        "|\n          python a.py \\\n            python\n",
        "python a.py\n          ./data\n",
    ],
)
def test_one_command_may_be_written_on_several_lines(tmp_path: Path, run: str) -> None:
    assert both(tmp_path, f"run: {run}") == ([], [])


def test_a_list_of_commands_is_no_command(tmp_path: Path) -> None:
    problems, _ = both(tmp_path, 'run: ["python a.py", "python b.py"]\n')
    assert "'python a.py' is taken as the name of one program (write [python, a.py]: " in problems[0]
    _, warnings = both(tmp_path, 'run: ["make data", "make train"]\n')
    assert "'make data' is taken as the name of one program" in warnings[0]


def test_a_comment_in_a_command_is_said(tmp_path: Path) -> None:
    (warning,) = both(tmp_path, 'run: "python a.py # --lr 3"\n')[1]
    assert "'#' in run of step 'a' is passed to the program" in warning


def both(folder: Path, step: str) -> tuple[list[str], list[str]]:
    """The problems and the warnings of a step written in block style."""
    (folder / "a.py").touch()
    path = folder / "lines.yaml"
    path.write_text(f"pipeline:\n  steps:\n    - a:\n        {step}")
    try:
        return [], [str(one) for one in load_pipeline(path).warnings]
    except PipelineFileError as error:
        return [str(one) for one in error.problems], []
