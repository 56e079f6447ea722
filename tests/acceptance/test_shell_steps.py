"""What a person writes in `run` and `shell`, through the real command line and a real worker."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Shell, write_folder

SCRIPT = """\
pipeline:
  parameters:
    - {name: text, type: string}
    - {name: unused, type: int, default: 1}
  steps:
    - write:
        shell: |
          printf '%s' "$PARAM_TEXT" > out.txt
          false | true
    - never: {run: [echo, reached]}
"""

HOSTILE = "a'b\"c; $(touch pwned) `touch pwned` ${HOME} && \\ \n * é日"


def test_a_value_reaches_a_shell_step_byte_for_byte_and_a_failing_pipe_fails_it(tmp_path: Path) -> None:
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=SCRIPT))
    done = shell("run", "pipeline.yaml", "-p", f"text={HOSTILE}", exit_code=1)
    assert "no step uses the parameter 'unused'" in done.stderr
    report = shell.json("status", "last", "--json")
    assert [step["state"] for step in report["steps"]] == ["failed", "skipped"]
    fixed = SCRIPT.replace("false | true", "cat out.txt | wc -c")
    write_folder(shell.folder, pipeline_yaml=fixed)
    shell("run", "pipeline.yaml", "-p", f"text={HOSTILE}")
    shell("outputs", "last", "got")
    (found,) = (shell.folder / "got").rglob("out.txt")
    assert found.read_text() == HOSTILE
    assert not list((shell.folder / "got").rglob("pwned"))


def test_validate_says_what_a_sweep_would_refuse(tmp_path: Path) -> None:
    text = (
        "pipeline:\n  parameters:\n    - {name: lr, type: float, default: 0.1}\n  steps:\n"
        "    - train: {run: [echo, '{{ lr }}']}\n  sweep:\n    method: bayes\n    grid: {lr: [0.1, fast], momentum: [0.9]}\n"
    )
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=text))
    said = shell("validate", "pipeline.yaml", exit_code=2).stderr
    assert "unknown key 'method'" in said and "'fast'" in said and "'momentum'" in said
    text = text.replace("    method: bayes\n", "").replace("[0.1, fast], momentum: [0.9]", "[0.1, 0.2]")
    write_folder(shell.folder, pipeline_yaml=text)
    assert "{{ lr }}" in shell("validate", "pipeline.yaml", exit_code=2).stderr
    assert shell.json("validate", "pipeline.yaml", "--json", exit_code=2)["problems"][0]["line"] == 3
    refused = shell("sweep", "pipeline.yaml", exit_code=2)
    assert "the sweep varies 'lr', which no step uses" in refused.stderr
    assert shell("sweep", "pipeline.yaml", "--unused", "allow", "--dry-run").stdout.startswith("2 runs")
    assert not (shell.folder / "pipeline-queue-data").exists()


def test_a_variable_of_the_worker_can_be_extended(tmp_path: Path) -> None:
    text = (
        'pipeline:\n  steps:\n    - show:\n        run: [sh, -c, \'echo "$PATH" "[$MISSING]" > path.txt\']\n'
        "        env: {PATH: '/opt/x:${{ worker.env.PATH }}', MISSING: '${{ worker.env.NOT_SET }}'}\n"
    )
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=text))
    shell("run", "pipeline.yaml")
    shell("outputs", "last", "got")
    (found,) = (shell.folder / "got").rglob("path.txt")
    path, missing = found.read_text().split()
    assert path.startswith("/opt/x:/") and "/bin" in path
    assert missing == "[]"
