"""Every legal name of a parameter works, also those that Celery, Redis and Python use themselves."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Shell, write_folder

NAMES = [
    "self", "args", "kwargs", "task", "task_id", "id", "request", "envelope", "parameters", "run", "step", "index", "state",
    "name", "queue", "shadow", "signature", "eta", "retries", "chain", "callbacks", "app", "cls", "sig", "v", "__class__",
    "__init__", "_", "None", "True", "class", "lambda", "import", "x-y", "arguments", "root_id", "expires", "argsrepr",
]  # fmt: skip


def test_a_parameter_may_have_any_legal_name(tmp_path: Path) -> None:
    parameters = "".join(f"    - {{name: '{name}', type: string}}\n" for name in NAMES)
    words = ", ".join(f"'${{{{ parameters[\"{name}\"] }}}}'" for name in NAMES)
    text = f"pipeline:\n  parameters:\n{parameters}  steps:\n    - first: {{run: [echo, {words}]}}\n    - second: {{run: [echo, {words}]}}\n"
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=text))
    given = [part for number, name in enumerate(NAMES) for part in ("-p", f"{name}=value{number}")]
    shell("run", "pipeline.yaml", *given)
    wanted = " ".join(f"value{number}" for number in range(len(NAMES)))
    assert shell("logs", "last").stdout.count(wanted) == 2
    report = shell.json("status", "last", "--json")
    assert report["parameters"] == {name: f"value{number}" for number, name in enumerate(NAMES)}
    for command in ("trace", "compare"):
        assert "value0" in shell(command, "last").stdout
