"""What a step may do and how it may end, through a real worker and a real storage."""

from __future__ import annotations

import io
import os
import re
import sys
from pathlib import Path

import pytest

from pipeline_queue.contract.records import RunRecord
from tests.conftest import GENEROUS_SECONDS, Cluster, wait_until, write_folder


def _run(cluster: Cluster, folder: Path, text: str, **values: object) -> RunRecord:
    (folder / "pipeline.yaml").write_text(text)
    client = cluster.client
    return client.wait(client.submit(client.load(folder / "pipeline.yaml"), values), GENEROUS_SECONDS)  # type: ignore[arg-type]


def _python(code: str) -> str:
    """A YAML list that runs a line of Python."""
    return f"[python, -c, {code!r}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "project")


def test_later_steps_find_what_earlier_ones_left_and_publish_only_what_is_new(cluster: Cluster, folder: Path) -> None:
    write_folder(
        folder,
        prepare_py="import os\nos.makedirs('data/raw')\nopen('data/raw/x.csv', 'w').write('1,2')\nopen('gone', 'w')",
        change_py="import os\nos.remove('gone')\nopen('data/raw/x.csv', 'a').write(',3')\nos.mkdir('empty')",
        train_py=(
            "import os\nassert not os.path.exists('gone')\nassert os.path.isdir('empty')\n"
            "open('model', 'w').write(open('data/raw/x.csv').read() + open('shared.txt').read())"
        ),
    )
    (folder / "shared.txt").write_text("!")
    cluster.start_worker()
    report = _run(
        cluster, folder, "pipeline:\n  steps:\n  - prepare: {run: prepare.py}\n  - change: {run: change.py}\n"
        "  - train: {run: train.py}\n"
    )  # fmt: skip
    assert report.state == "succeeded", report.message
    outputs = {name: path for name, path in cluster.client.outputs(report.run).items()}
    assert (outputs["train"] / "model").read_text() == "1,2,3!"
    found = {name: sorted(str(path.relative_to(root)) for path in root.rglob("*")) for name, root in outputs.items()}
    assert found == {
        "prepare": ["data", "data/raw", "data/raw/x.csv", "gone"],
        "change": ["data", "data/raw", "data/raw/x.csv", "empty"],
        "train": ["model"],
    }
    assert (outputs["prepare"] / "data/raw/x.csv").read_text() == "1,2"


def test_a_failed_step_ends_its_run_and_later_steps_are_skipped(cluster: Cluster, folder: Path) -> None:
    witness = folder.parent / "witness"
    cluster.start_worker()
    touch = _python(f"open({str(witness)!r}, 'a').write('ran')")
    report = _run(
        cluster, folder,
        f"pipeline:\n  steps:\n  - bad: {{run: {_python('print(1234); raise SystemExit(7)')}}}\n"
        f"  - after: {{run: {touch}}}\n",
    )  # fmt: skip
    assert report.state == "failed"
    assert [step.state for step in report.steps] == ["failed", "skipped"]
    assert report.steps[0].exit_code == 7
    assert report.message.startswith("step bad failed with exit code 7") and "  1234" in report.message
    assert Path(report.steps[0].log or "").read_text() == "1234\n"
    assert report.steps[0].outputs is None and report.steps[1].attempts == 0
    assert not witness.exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "was terminated by signal 11 (SIGSEGV)"),
        ("raise ValueError('so so')", "failed with exit code 1"),
        ("import os; os._exit(255)", "failed with exit code 255"),
        ("print('fine')", "did not write its declared outputs: model.pkl, sub/dir"),
    ],
)
def test_each_way_to_fail_has_its_own_words(cluster: Cluster, folder: Path, code: str, expected: str) -> None:
    cluster.start_worker()
    text = f"pipeline:\n  steps:\n  - one: {{run: {_python(code)}, outputs: [model.pkl, sub/dir]}}\n"
    report = _run(cluster, folder, text)
    assert report.state == "failed"
    assert expected in report.message
    if "so so" in code:
        assert "ValueError: so so" in report.message


def test_a_program_that_is_not_there_fails_with_its_name(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    report = _run(cluster, folder, "pipeline:\n  steps:\n  - one: {run: no-such-program --x}\n")
    assert report.state == "failed"
    assert "could not be started" in report.message and "no-such-program" in report.message


def test_a_timeout_ends_the_step_and_says_so(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    code = 'print("begun", flush=True); import time; time.sleep(600)'
    report = _run(cluster, folder, f"pipeline:\n  steps:\n  - slow: {{run: {_python(code)}, timeout: 2s}}\n")
    assert report.state == "failed"
    assert "longer than its timeout of 2 s" in report.message and "begun" in report.message


def test_a_step_over_its_memory_limit_is_ended_and_says_so(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    code = 'import time; block = b"x" * 400_000_000; time.sleep(600)'
    report = _run(cluster, folder, f"pipeline:\n  steps:\n  - big: {{run: {_python(code)}, memory: 200MB}}\n")
    assert report.state == "failed"
    assert re.search(r"used \d+ MB of memory, its limit is 200 MB", report.message), report.message


def test_retries_run_a_failing_step_again_in_a_fresh_folder(cluster: Cluster, folder: Path) -> None:
    witness = folder.parent / "witness"
    code = (
        f"import os\nassert not os.path.exists('left')\nopen('left', 'w')\n"
        f"n = len(open({str(witness)!r}, 'a+').read()) if False else os.path.getsize({str(witness)!r})\n"
        f"open({str(witness)!r}, 'a').write('x')\nraise SystemExit(0 if n == 2 else 9)\n"
    )
    witness.write_text("")
    write_folder(folder, flaky_py=code)
    cluster.start_worker()
    report = _run(cluster, folder, "pipeline:\n  steps:\n  - flaky: {run: flaky.py, retries: 2}\n")
    assert report.state == "succeeded", report.message
    assert report.steps[0].attempts == 3 and witness.read_text() == "xxx"


def test_retries_run_out(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    report = _run(
        cluster, folder, f"pipeline:\n  steps:\n  - bad: {{run: {_python('raise SystemExit(3)')}, retries: 1}}\n"
    )
    assert (report.state, report.steps[0].attempts) == ("failed", 2)


def test_env_reaches_the_step_and_the_brokers_password_does_not(cluster: Cluster, folder: Path) -> None:
    write_folder(folder, show_py="import os, json\njson.dump(dict(os.environ), open('env.json', 'w'))")
    cluster.start_worker()
    report = _run(
        cluster, folder,
        "pipeline:\n  parameters:\n  - {name: threads, type: int}\n  steps:\n  - show:\n      run: show.py\n"
        "      env: {OMP_NUM_THREADS: '${{ parameters.threads }}', NOTE: on}\n",
        threads=3,
    )  # fmt: skip
    text = (cluster.client.outputs(report.run)["show"] / "env.json").read_text()
    import json

    env = json.loads(text)
    assert (env["OMP_NUM_THREADS"], env["NOTE"]) == ("3", "on")
    assert env["PIPELINE_QUEUE_RUN_ID"] == report.run
    assert "PIPELINE_QUEUE_BROKER_URL" not in env
    password = cluster.settings.broker_url.partition("@")[0].rpartition(":")[2]
    assert password and password not in text


def test_a_step_waits_for_a_worker_of_its_queue(cluster: Cluster, folder: Path) -> None:
    cluster.start_worker()
    text = "pipeline:\n  steps:\n  - one: {run: /bin/true}\n  - two: {run: /bin/true, queue: gpu}\n"
    (folder / "pipeline.yaml").write_text(text)
    client = cluster.client
    loaded = client.load(folder / "pipeline.yaml")
    assert client.unserved_queues(loaded) == {"two": "gpu"}
    warning = cluster.shell(folder)("run", "pipeline.yaml", "--detach").stderr
    assert "no running worker serves queue 'gpu' of step 'two'" in warning
    run = client.submit(loaded)
    wait_until(lambda: client.run(run).steps[0].state == "succeeded", "the first step is published")
    assert client.run(run).steps[1].state == "waiting"
    cluster.start_worker("--concurrency", "1", "--queues", "gpu", name="two")
    assert client.wait(run, GENEROUS_SECONDS).state == "succeeded"


def test_a_pipeline_edited_after_submission_changes_nothing_for_queued_runs(cluster: Cluster, folder: Path) -> None:
    write_folder(folder, train_py="open('out', 'w').write('as submitted')")
    (folder / "pipeline.yaml").write_text("pipeline:\n  steps:\n  - train: {run: train.py}\n")
    client = cluster.client
    run = client.submit(client.load(folder / "pipeline.yaml"))
    (folder / "train.py").write_text("raise SystemExit('edited')")
    (folder / "pipeline.yaml").write_text("nothing: here")
    cluster.start_worker()
    assert client.wait(run, GENEROUS_SECONDS).state == "succeeded"
    assert (client.outputs(run)["train"] / "out").read_text() == "as submitted"


def test_output_is_in_the_log_while_the_step_runs_and_byte_exact(cluster: Cluster, folder: Path) -> None:
    gate = folder.parent / "gate"
    code = (
        "import os, sys, time\nsys.stdout.buffer.write(bytes(range(256)))\nsys.stdout.flush()\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.02)\nsys.stderr.write('end')\n"
    )
    write_folder(folder, talk_py=code)
    (folder / "pipeline.yaml").write_text("pipeline:\n  steps:\n  - talk: {run: talk.py}\n")
    client = cluster.client
    cluster.start_worker()
    run = client.submit(client.load(folder / "pipeline.yaml"))

    def streamed() -> bool:
        log = client.logs(run, "talk")
        return log is not None and log.exists() and log.read_bytes() == bytes(range(256))

    wait_until(streamed, "the first output is in the log")
    follower = cluster.shell(folder).start("logs", run, "talk", "--follow")
    gate.touch()
    assert client.wait(run, GENEROUS_SECONDS).state == "succeeded"
    log = client.logs(run, "talk")
    assert log is not None and log.read_bytes() == bytes(range(256)) + b"end"
    assert isinstance(follower.stdout, io.TextIOWrapper)
    assert follower.stdout.buffer.read() == bytes(range(256)) + b"end"
    follower.communicate(timeout=GENEROUS_SECONDS)


def test_cancel_ends_a_running_step_and_the_rest_never_starts(cluster: Cluster, folder: Path) -> None:
    started = folder.parent / "started"
    witness = folder.parent / "witness"
    slow = _python(f"open({str(started)!r}, 'w'); import time; time.sleep(600)")
    after = _python(f"open({str(witness)!r}, 'w')")
    (folder / "pipeline.yaml").write_text(
        f"pipeline:\n  steps:\n  - slow: {{run: {slow}}}\n  - after: {{run: {after}}}\n"
    )
    client = cluster.client
    cluster.start_worker()
    run = client.submit(client.load(folder / "pipeline.yaml"))
    wait_until(started.exists, "the step runs")
    cluster.shell(folder)("cancel", run)
    report = client.wait(run, GENEROUS_SECONDS)
    assert report.state == "cancelled"
    assert [step.state for step in report.steps] == ["cancelled", "skipped"]
    assert not witness.exists()


def test_a_cancelled_run_that_was_only_queued_never_starts(cluster: Cluster, folder: Path) -> None:
    witness = folder.parent / "witness"
    (folder / "pipeline.yaml").write_text(
        f"pipeline:\n  steps:\n  - one: {{run: {_python(f'open({str(witness)!r}, chr(119))')}}}\n"
    )
    client = cluster.client
    run, other = (client.submit(client.load(folder / "pipeline.yaml")) for _ in range(2))
    assert client.cancel(run).state == "cancelled"
    witness.unlink(missing_ok=True)
    cluster.start_worker("--concurrency", "1")
    assert client.wait(other, GENEROUS_SECONDS).state == "succeeded"
    assert client.run(run).state == "cancelled" and client.run(run).steps[0].attempts == 0


def _alive_with(marker: str) -> list[int]:
    """The processes whose environment holds the marker: a witness that knows nothing of the product."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def test_kill_9_of_the_worker_leaves_nothing_of_the_step_and_another_takes_over(cluster: Cluster, folder: Path) -> None:
    marker = f"WITNESS={os.urandom(8).hex()}"
    name, _, value = marker.partition("=")
    tries = folder.parent / "tries"
    tries.write_text("")
    code = (
        "import os, subprocess, sys, time\n"
        f"first = not os.path.getsize({str(tries)!r})\n"
        f"open({str(tries)!r}, 'a').write('x')\n"
        "if first:\n"
        "    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
        "    time.sleep(600)\n"
    )
    write_folder(folder, train_py=code)
    (folder / "pipeline.yaml").write_text(
        f"pipeline:\n  steps:\n  - train: {{run: train.py, env: {{{name}: '{value}'}}}}\n"
    )
    client = cluster.client
    victim = cluster.start_worker()
    run = client.submit(client.load(folder / "pipeline.yaml"))
    wait_until(lambda: len(_alive_with(marker)) >= 2, "the step and its child run")
    victim.kill()
    wait_until(lambda: not _alive_with(marker), "nothing of the step lives")
    cluster.start_worker(name="two")
    report = client.wait(run, GENEROUS_SECONDS)
    assert report.state == "succeeded" and report.steps[0].attempts == 2
    assert tries.read_text() == "xx"


def test_a_python_script_runs_with_the_workers_python(cluster: Cluster, folder: Path) -> None:
    write_folder(folder, which_py="import sys\nopen('python', 'w').write(sys.executable)")
    cluster.start_worker()
    report = _run(cluster, folder, "pipeline:\n  steps:\n  - which: {run: which.py}\n")
    assert (cluster.client.outputs(report.run)["which"] / "python").read_text() == sys.executable
