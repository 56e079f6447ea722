"""Tab in real shells that have read the script of `completion`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import SEED_YAML, Shell, plain_environment, write_folder

# Sets the words as bash does when Tab is pressed at the end of the line, and calls what `complete` names for it.
_BASH = r"""
eval "$(pipeline-queue completion bash)"
compopt() { echo "compopt $*"; }
line=$1
read -ra COMP_WORDS <<< "$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
COMP_LINE=$line COMP_POINT=${#line}
function_name=$(complete -p pipeline-queue | sed 's/.*-F \([^ ]*\) .*/\1/')
"$function_name" pipeline-queue "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def project(seed_folder: Path) -> Path:
    """A folder with two ended sweeps and a run, as far as completion looks."""
    for name in ("train-7k3m9q2x", "other-00000000"):
        write_folder(seed_folder / "pipeline-queue-data" / "storage" / "sweeps" / name)
    sweep = seed_folder / "pipeline-queue-data" / "storage" / "sweeps" / "train-7k3m9q2x"
    (sweep / "sweep.json").write_text(
        '{"name": "night-1", "pipeline": {"steps": [{"name": "prepare"}, {"name": "fit"}]}}'
    )
    for run in ("0-learning_rate=0.1", "1-learning_rate=0.2", "10"):
        (sweep / "runs" / run).mkdir(parents=True)
    write_folder(seed_folder / "more", deep_yaml=SEED_YAML)
    write_folder(
        seed_folder / "broken", bad_yaml="pipeline:\n  parameters:\n    - name: rate\n      type: flaot\n  steps: [\n"
    )
    return seed_folder


def _environment() -> dict[str, str]:
    programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return plain_environment(PATH=programs, HOME="/nonexistent", LANG="C.UTF-8")


def _press_tab(project: Path, line: str, **environment: str) -> list[str]:
    """What bash offers for the line; nothing may be printed beside it."""
    done = subprocess.run(
        ["bash", "--norc", "--noprofile", "-c", _BASH, "bash", line],
        cwd=project,
        env=_environment() | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pipeline-queue st", ["status"]),
        ("pipeline-queue re", ["results", "resume", "retry"]),
        ("pipeline-queue run --js", ["--json"]),
        ("pipeline-queue status tr", ["train-7k3m9q2x"]),
        ("pipeline-queue status ni", ["night-1"]),
        ("pipeline-queue status la", ["last"]),
        ("pipeline-queue retry oth", ["other-00000000"]),
        ("pipeline-queue results train", ["train-7k3m9q2x"]),
        ("pipeline-queue compare other-00000000 tr", ["train-7k3m9q2x"]),
        ("pipeline-queue logs train-7k3m9q2x.", ["train-7k3m9q2x.0", "train-7k3m9q2x.1", "train-7k3m9q2x.10"]),
        ("pipeline-queue logs train-7k3m9q2x.0 ", ["fit", "prepare"]),
        ("pipeline-queue run pipe", ["pipeline.yaml"]),
        ("pipeline-queue run more/", ["more/deep.yaml"]),
        ("pipeline-queue run mo", ["compopt -o nospace", "more/"]),
        ("pipeline-queue run pipeline.yaml -p lea", ["compopt -o nospace", "learning_rate="]),
        ("pipeline-queue sweep more/deep.yaml --json -p ", ["compopt -o nospace", "learning_rate="]),
        ("pipeline-queue run broken/bad.yaml -p ", ["compopt -o nospace", "rate="]),
        ("pipeline-queue init tr", ["train.py"]),
        ("pipeline-queue completion z", ["zsh"]),
        ("pipeline-queue nothing x", []),
        ("pipeline-queue run nowhere.yaml -p ", []),
    ],
)
def test_bash_completes(line: str, offered: list[str], project: Path) -> None:
    assert sorted(_press_tab(project, line)) == sorted(offered)


def test_names_that_a_shell_would_execute_are_not_offered(project: Path) -> None:
    record = project / "pipeline-queue-data" / "storage" / "sweeps" / "train-7k3m9q2x" / "sweep.json"
    for name in ("night$(touch gone)", "night;ls", "night 1", "night`id`", "night\n2", "night'"):
        record.write_text(json.dumps({"name": name}))
        assert _press_tab(project, "pipeline-queue status ni") == []
    (project / "a b.yaml").write_text("")
    assert _press_tab(project, "pipeline-queue run a") == ["compopt -o", "default"]


def test_without_runs_or_a_storage_bash_completes_nothing_and_says_nothing(tmp_path: Path) -> None:
    assert _press_tab(tmp_path, "pipeline-queue status x") == []
    gone = {"PIPELINE_QUEUE_BROKER_URL": "redis://nowhere.invalid:1/0", "PIPELINE_QUEUE_STORAGE": "/nonexistent"}
    assert _press_tab(tmp_path, "pipeline-queue status x", **gone) == []
    assert list(tmp_path.iterdir()) == []


def test_a_shared_storage_is_read_without_its_broker(project: Path) -> None:
    storage = project / "pipeline-queue-data" / "storage"
    settings = {"PIPELINE_QUEUE_BROKER_URL": "redis://nowhere.invalid:1/0", "PIPELINE_QUEUE_STORAGE": str(storage)}
    assert _press_tab(Path("/"), "pipeline-queue cancel tr", **settings) == ["train-7k3m9q2x"]


def test_completing_ids_imports_neither_celery_nor_redis(project: Path) -> None:
    """What takes long is what is imported; Tab must answer at once."""
    text = (
        "import sys, atexit, os; os._exit = lambda code: print(sorted({'celery', 'redis', 'rich'} & set(sys.modules)));"
    )
    text += "sys.argv[0] = 'pipeline-queue'; from pipeline_queue.cli import main; main()"
    words = {"COMP_WORDS": "pipeline-queue status tr", "COMP_CWORD": "2", "_PIPELINE_QUEUE_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=project,
        env=_environment() | words,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "plain,train-7k3m9q2x" in done.stdout
    assert "[]" in done.stdout


def test_an_unknown_shell_is_refused(tmp_path: Path) -> None:
    assert "bash" in Shell(tmp_path)("completion", "tcsh", exit_code=2).stderr


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script_and_completes(project: Path) -> None:
    text = """
    autoload -Uz compinit; compinit -u -D
    eval "$(pipeline-queue completion zsh)"
    print -- "${_comps[pipeline-queue]}"
    words=(pipeline-queue status tr); CURRENT=3
    compadd() { print -l -- "$*" "${completions[@]}"; }
    _pipeline_queue_completion
    words=(pipeline-queue run pipeline.yaml -p lea); CURRENT=5
    _pipeline_queue_completion
    """
    done = subprocess.run(
        ["zsh", "-f", "-c", text], cwd=project, env=_environment(), capture_output=True, text=True, timeout=60
    )
    assert "_pipeline_queue_completion" in done.stdout, done.stderr
    assert "train-7k3m9q2x\n" in done.stdout
    assert "-a completions -S \nlearning_rate=\n" in done.stdout


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_reads_its_script_and_completes(project: Path, tmp_path: Path) -> None:
    text = "pipeline-queue completion fish | source; complete -C 'pipeline-queue status tr'"
    environment = _environment() | {"HOME": str(tmp_path)}
    done = subprocess.run(
        ["fish", "-c", text], cwd=project, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split()[:1] == ["train-7k3m9q2x"], done.stderr
