"""What a step does in and around its folder: it stays in its own, and what it leaves is published, kept or noted."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

from tests.conftest import Shell, write_folder


def project(tmp_path: Path, step: str, script: str, parameters: str = "{name: n, type: int, default: 1}") -> Shell:
    text = f"pipeline:\n  parameters:\n    - {parameters}\n  steps:\n    - train: {{{step}}}\n"
    return Shell(write_folder(tmp_path / "project", pipeline_yaml=text, train_py=script))


def test_a_step_that_looks_upwards_finds_no_project(tmp_path: Path) -> None:
    script = (
        "import pathlib, subprocess, sys\n"
        "top = subprocess.run(['git', 'rev-parse', '--show-toplevel'], capture_output=True, text=True).stdout.strip()\n"
        "found = [str(p) for p in pathlib.Path.cwd().parents if (p / 'pyproject.toml').exists() or (p / '.env').exists()]\n"
        "open('seen.txt', 'w').write(repr((top, found)))\n"
    )
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}'", script)
    subprocess.run(["git", "init", "-q", "."], cwd=shell.folder, check=True)
    write_folder(shell.folder, **{"pyproject.toml": "", ".env": ""})
    # The scratch folder may lie in a repository, too.
    for environment in ({}, {"PIPELINE_QUEUE_SCRATCH": str(shell.folder / "scratch")}):
        shell.environment.update(environment)
        shell("run", "pipeline.yaml")
        (file,) = Path(shell.json("status", "last", "--json")["steps"][0]["outputs"]).iterdir()
        top, found = eval(file.read_text())  # a literal of the script above
        assert top == ""
        assert found == [] or environment


def test_no_variable_of_a_step_leads_to_the_project(tmp_path: Path) -> None:
    script = (
        "import os\n"
        "assert os.environ['PWD'] == os.getcwd() and 'OLDPWD' not in os.environ\n"
        "open('seen.txt', 'w').write(repr({k: v for k, v in os.environ.items() if v.startswith('PROJECT')}))\n"
    )
    step = "run: train.py, args: '${{ parameters.n }}'"
    shell = project(tmp_path, step, script.replace("PROJECT", str(tmp_path / "project")))
    shell.environment.update(PWD=str(shell.folder), OLDPWD=str(shell.folder))
    shell("run", "pipeline.yaml")
    (file,) = Path(shell.json("status", "last", "--json")["steps"][0]["outputs"]).iterdir()
    assert file.read_text() == "{}"


def test_what_a_step_writes_beside_its_folder_is_noted_and_shared_with_nobody(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "assert not os.path.exists('../results') and not os.path.exists('../../x'), 'of another run'\n"
        "os.makedirs('../results/deep')\n"
        "open('../results/deep/model.txt', 'w').write(sys.argv[1])\n"
        "open('../../x', 'w')\n"
    )
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}'", script)
    shell("sweep", "pipeline.yaml", "-p", "n=1,2,3", "--slots", "2")
    sweep = shell.json("status", "last", "--json")["sweep"]
    for index in range(3):
        said = shell("status", f"{sweep}.{index}").stdout
        assert "written outside the step's folder, and not published: ../results/deep/model.txt, ../../x" in said
    assert not list(Path(shell.environment["PIPELINE_QUEUE_SCRATCH"]).rglob("model.txt"))


def test_metrics_that_cannot_be_used_are_told_in_the_report(tmp_path: Path) -> None:
    script = "open('metrics.json', 'w').write('{\"loss\": NaN, \"acc\": 0.5}')\n"
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}'", script)
    done = shell("run", "pipeline.yaml")
    assert "acc=0.5" in done.stdout and "metrics.json: not read: loss (NaN)" in done.stdout
    (step,) = shell.json("status", "last", "--json")["steps"]
    assert step["notes"] == ["metrics.json: not read: loss (NaN)"]


FAILING = """\
import os, sys
os.mkdir("checkpoints")
for epoch in range(3):
    open(f"checkpoints/{epoch}.ckpt", "w").write("weights")
sys.exit("loss is NaN")
"""


def test_what_a_failed_step_left_is_kept_and_can_be_copied(tmp_path: Path) -> None:
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}', retries: 1", FAILING)
    done = shell("run", "pipeline.yaml", exit_code=1)
    assert "files left by train: " in done.stdout
    assert not shell("outputs", "last").stdout
    assert "3 files copied" in shell("outputs", "last", "got", "--failed").stdout
    assert sorted(path.name for path in (shell.folder / "got").rglob("*.ckpt")) == ["0.ckpt", "1.ckpt", "2.ckpt"]
    # Only those of the last attempt.
    assert len(list((shell.folder / "pipeline-queue-data").rglob("0.ckpt"))) == 1


def test_what_a_timed_out_step_left_is_kept_unless_it_says_never(tmp_path: Path) -> None:
    script = "import time\nopen('half.txt', 'w').write('x')\ntime.sleep(60)\n"
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}', timeout: 1s", script)
    shell("run", "pipeline.yaml", exit_code=1)
    assert "half.txt" in shell("outputs", "last", "--failed").stdout
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}', timeout: 1s, keep: never", script)
    shell("run", "pipeline.yaml", exit_code=1)
    assert not shell("outputs", "last", "--failed").stdout


def test_kept_files_are_bounded_and_the_newest_of_them_stay(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "for n in range(3):\n    open(f'{n}.bin', 'wb').write(b'x' * 4096)\n    os.utime(f'{n}.bin', (1000 + n, 1000 + n))\n"
        "sys.exit(1)\n"
    )
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}'", script)
    shell.environment["PIPELINE_QUEUE_KEEP_LIMIT_BYTES"] = "9000"
    done = shell("run", "pipeline.yaml", exit_code=1)
    assert "not kept of what it left: 1 file (they are more than 8.8 KiB or 10,000 files)" in done.stdout
    kept = shell("outputs", "last", "--failed").stdout.split()
    assert [Path(path).name for path in kept] == ["1.bin", "2.bin"]


def test_outputs_may_be_declared_by_patterns(tmp_path: Path) -> None:
    script = "import os, sys\nos.mkdir('sub')\nopen('model.pkl', 'w')\nopen('sub/log.csv', 'w')\n"
    step = "run: train.py, args: '${{ parameters.n }}', outputs: ['*.pkl', '**/*.csv', sub]"
    shell = project(tmp_path, step, script)
    shell("run", "pipeline.yaml")
    shell = project(tmp_path, step.replace("*.pkl", "*.onnx"), script)
    done = shell("run", "pipeline.yaml", exit_code=1)
    assert "did not write its declared outputs: *.onnx" in done.stderr
    assert "model.pkl" in shell("outputs", "last", "--failed").stdout


def test_rights_to_act_as_somebody_else_are_not_published(tmp_path: Path) -> None:
    script = "import os\nopen('tool', 'w').write('x')\nos.chmod('tool', 0o6755)\nos.mkdir('d')\nos.chmod('d', 0o3777)\n"
    shell = project(tmp_path, "run: train.py, args: '${{ parameters.n }}'", script)
    shell("run", "pipeline.yaml")
    folder = Path(shell.json("status", "last", "--json")["steps"][0]["outputs"])
    assert stat.S_IMODE((folder / "tool").stat().st_mode) == 0o755
    assert not (folder / "d").stat().st_mode & (stat.S_ISUID | stat.S_ISVTX)


TWO_STEPS = """\
pipeline:
  steps:
    - make: {run: train.py}
    - use: {run: [cat, data.txt], retries: 0}
"""


def test_a_huge_sparse_file_is_published_and_staged_at_once(tmp_path: Path) -> None:
    script = "open('data.txt', 'w').write('x')\nf = open('huge', 'wb')\nf.truncate(10**12)\n"
    shell = Shell(write_folder(tmp_path / "project", pipeline_yaml=TWO_STEPS, train_py=script))
    shell("run", "pipeline.yaml")
    (huge,) = (shell.folder / "pipeline-queue-data").rglob("huge")
    assert huge.stat().st_size == 10**12 and huge.stat().st_blocks < 1000
    shell("outputs", "last", "got")
    copied = shell.folder / "got" / "make" / "huge"
    assert copied.stat().st_size == 10**12 and copied.stat().st_blocks < 1000


def test_a_manifest_holds_checksums(tmp_path: Path) -> None:
    shell = Shell(
        write_folder(tmp_path / "project", pipeline_yaml=TWO_STEPS, train_py="open('data.txt', 'w').write('x')")
    )
    shell("run", "pipeline.yaml")
    (manifest,) = (shell.folder / "pipeline-queue-data").rglob("make/step.json")
    (file,) = json.loads(manifest.read_bytes())["outputs"]
    assert len(file["sha256"]) == 64 and (manifest.parent / "outputs" / "data.txt").stat().st_size == 1
