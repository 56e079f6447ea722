"""The data of a run's page, of runs that real workers executed: tries, files, neighbours, and the command line."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline_queue.cli.run import _given
from pipeline_queue.contract.errors import InputError, NotFoundError, Place
from pipeline_queue.contract.records import OutputFile, RunRecord, StepSummary, SweepEnd, SweepRecord
from pipeline_queue.contract.states import RunState
from pipeline_queue.index.run_index import RunIndex
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline
from pipeline_queue.model.parameters import Given, resolve_values
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.planning.sweep import Sweep
from pipeline_queue.reporting.log_part import open_log, read_log
from pipeline_queue.reporting.names import find_run
from pipeline_queue.reporting.output_files import open_output
from pipeline_queue.reporting.run_detail import command_of, run_detail
from pipeline_queue.space import Point, Points
from pipeline_queue.storage.storage import Storage
from pipeline_queue.submitting.submission import prepare_run
from tests.conftest import Cluster, wait_until, write_folder
from tests.integration.attempt_site import Attempting, Site, SubmittedRun

CONTRACT = {
    *("run", "sweep", "sweep_name", "index", "state", "message", "parameters", "changed", "metrics", "created_at"),
    *("started_at", "ended_at", "previous_failed", "next_failed", "steps", "trace", "explain", "command"),
}
STEP = {
    *("name", "state", "attempts", "exit_code", "seconds", "message", "worker", "queued_at", "started_at", "ended_at"),
    *("has_log", "notes", "outputs", "kept", "tries", "argv"),
}
TRY = {
    *("name", "attempt", "state", "cause", "message", "worker", "started_at", "ended_at", "seconds", "exit_code"),
    "has_log",
}


def one_step(code: str, more: str = "") -> str:
    return f"pipeline:\n  steps:\n  - one: {{run: [python, -c, {json.dumps(code)}]{more}}}\n"


def detail_of(run: SubmittedRun, with_broker: bool = True) -> dict[str, Any]:
    """With what every answer must hold."""
    found = run_detail(run.site.storage, run.site.run_index if with_broker else None, run.sweep, run.id)
    json.dumps(found, allow_nan=False).encode()
    assert found.keys() == CONTRACT
    for step in found["steps"]:
        assert step.keys() == STEP
        assert all(one.keys() == TRY for one in step["tries"])
    return found


def log_of(run: SubmittedRun, attempt: str | None = None, step: str = "one") -> str:
    return read_log(run.site.storage, run.sweep, run.id, step, attempt, None).text


def output_of(run: SubmittedRun, path: str, step: str = "one") -> tuple[bytes, int, str]:
    file, size, name = open_output(run.site.storage, run.sweep, run.id, step, path)
    with file:
        return file.read(), size, name


def test_a_retried_step_shows_both_attempts_with_their_logs(site: Site, tmp_path: Path) -> None:
    flag = str(tmp_path / "flag")
    code = (
        f"import os, sys\nfirst = not os.path.exists({flag!r})\nopen({flag!r}, 'w')\n"
        "print('first' if first else 'second')\nif first: open('left', 'w'); sys.exit(3)\nopen('made.txt', 'w').write('made')"
    )
    run, worker = site.submit(one_step(code, ", retries: 1")), site.worker()
    assert run.attempt(worker, "one").kind == "retry"
    waiting = detail_of(run)
    assert waiting["state"] == "running" and waiting["ended_at"] is None
    (only,) = waiting["steps"][0]["tries"]
    assert (only["attempt"], only["state"], only["cause"], only["exit_code"]) == (1, "retrying", "exit_code", 3)
    wait_until(site.run_index.due, "it is tried again")
    assert run.attempt(worker, "one").kind == "go_on"
    found = detail_of(run)
    (step,) = found["steps"]
    first, second = step["tries"]
    assert found["state"] == step["state"] == "succeeded" and step["attempts"] == 2
    assert (first["attempt"], first["state"], first["cause"]) == (1, "failed", "exit_code")
    assert (second["attempt"], second["state"], second["name"], second["cause"]) == (2, "succeeded", "one", None)
    assert first["worker"] == second["worker"] == step["worker"] == "one@test"
    assert first["ended_at"] <= second["started_at"] <= second["ended_at"] == step["ended_at"]
    assert [log_of(run, one["name"]) for one in step["tries"]] == ["first\n", "second\n"] and log_of(run) == "second\n"
    assert first["has_log"] and second["has_log"] and step["has_log"]
    assert step["outputs"] == [{"path": "made.txt", "size": 4}] and step["kept"] == []
    assert step["argv"][1:] == ["-c", code]
    assert output_of(run, "made.txt") == (b"made", 4, "made.txt")
    assert detail_of(run, with_broker=False) == found


def test_a_failed_run_shows_why_and_what_it_left(site: Site) -> None:
    code = "import sys, os\nos.mkdir('a')\nopen('a/left.txt', 'w').write('left')\nsys.exit('no é')"
    run = site.submit(one_step(code))
    assert run.attempt(site.worker(), "one").kind == "failed"
    found = detail_of(run)
    (step,) = found["steps"]
    assert found["state"] == step["state"] == "failed" and "exit code 1" in found["message"]
    assert (step["exit_code"], step["outputs"]) == (1, []) and step["ended_at"] == found["ended_at"]
    assert {"path": "a/left.txt", "size": 4} in step["kept"]
    assert output_of(run, "a/left.txt") == (b"left", 4, "left.txt")
    assert [one["state"] for one in step["tries"]] == ["failed"] and log_of(run) == "no é\n"
    run.site.storage.remove_kept_above(0)
    assert detail_of(run)["steps"][0]["kept"] == []
    with pytest.raises(NotFoundError):
        output_of(run, "a/left.txt")


def test_a_run_that_has_not_begun_and_a_silent_one(site: Site) -> None:
    run = site.submit(one_step("pass") + "  - two: {run: /bin/true}\n")
    found = detail_of(run)
    assert (found["state"], found["started_at"], found["changed"]) == ("queued", None, [])
    assert [(step["state"], step["tries"], step["has_log"]) for step in found["steps"]] == [("waiting", [], False)] * 2
    worker = site.worker()
    for step in ("one", "two"):
        run.attempt(worker, step)
    ended = detail_of(run)
    assert [step["tries"][0]["has_log"] for step in ended["steps"]] == [False, False]
    assert read_log(site.storage, run.sweep, run.id, "one", None, None).is_over
    assert ended["trace"]["table"][0].keys() == {"step", "action", "parameter", "value_passed", "effect"}


def test_a_running_step_has_a_live_log_that_grows(site: Site, tmp_path: Path) -> None:
    gates = [tmp_path / "gate-0", tmp_path / "gate-1"]
    code = "import os, time\n" + "".join(
        f"os.write(1, {part!r})\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        for part, gate in zip([b"begun \xe2\x82", b"\xac\n"], gates, strict=True)
    )
    run, worker = site.submit(one_step(code)), site.worker()
    doing = Attempting(run, worker, "one")

    def read(offset: int, attempt: str | None = None) -> Any:
        return read_log(site.storage, run.sweep, run.id, "one", attempt, offset)

    wait_until(lambda: read(0).size == 8, "the first part is printed")
    part = read(0)
    assert (part.text, part.next, part.is_over) == ("begun ", 6, False)
    found = detail_of(run)
    (step,) = found["steps"]
    (one,) = step["tries"]
    assert found["state"] == step["state"] == one["state"] == "running"
    assert one["worker"] == step["worker"] == "one@test" and one["started_at"] == step["started_at"] > 0
    assert (one["ended_at"], one["cause"], one["has_log"], step["outputs"]) == (None, None, True, [])
    assert detail_of(run, with_broker=False)["steps"][0]["tries"][0]["state"] == "running"
    gates[0].touch()
    wait_until(lambda: read(6, one["name"]).next == 10, "the rest of the character is printed")
    assert read(6).text == "€\n" and not read(6).is_over
    gates[1].touch()
    assert doing.outcome().kind == "go_on"
    assert read(10, one["name"]).is_over and read(0, one["name"]).text == "begun €\n"
    file, size = open_log(site.storage, run.sweep, run.id, "one", one["name"])
    with file:
        assert (file.read(), size) == ("begun €\n".encode(), 10)


def test_an_attempt_that_its_worker_lost_does_not_run_any_more(site: Site) -> None:
    run = site.submit(one_step("print('done')"))
    paths = run.sweep.paths(site.storage, run.id)
    slot = paths.begin_attempt("one", 1, "ab")
    slot.make()
    slot.append_to_log(b"lost\n")
    assert [one["state"] for one in detail_of(run)["steps"][0]["tries"]] == ["running"]
    paths.fence_off("one", 1)
    assert [one["state"] for one in detail_of(run)["steps"][0]["tries"]] == ["failed"]
    assert run.attempt(site.worker(), "one").kind == "go_on"
    lost, done = detail_of(run)["steps"][0]["tries"]
    assert (lost["name"], lost["state"], lost["cause"]) == ("one.attempt-1-ab.lost", "failed", "lost")
    assert "lost the lease" in lost["message"] and log_of(run, lost["name"]) == "lost\n"
    assert done["state"] == "succeeded"


def test_a_damaged_manifest_of_an_earlier_attempt_hides_nothing_else(site: Site) -> None:
    run = site.submit(one_step("print('done')"))
    assert run.attempt(site.worker(), "one").kind == "go_on"
    slot = run.sweep.paths(site.storage, run.id).begin_attempt("one", 1, "ab")
    slot.make()
    (Path(slot.where()) / "step.json").write_text("{")
    damaged, done = detail_of(run)["steps"][0]["tries"]
    assert damaged["state"] == "failed" and "damaged" in damaged["message"] and done["state"] == "succeeded"


LINKS = """\
import os
os.mkdir('data')
open('data/a b é.txt', 'w').write('inside')
os.symlink('data/a b é.txt', 'inner')
os.symlink('data', 'folder')
open('image.png', 'wb').write(bytes(range(256)))
"""


@pytest.fixture
def published(site: Site) -> SubmittedRun:
    """A run with outputs of every kind."""
    run = site.submit(one_step(LINKS))
    assert run.attempt(site.worker(), "one").kind == "go_on"
    return run


def test_every_listed_file_can_be_opened(published: SubmittedRun) -> None:
    listed = {file["path"]: file["size"] for file in detail_of(published)["steps"][0]["outputs"]}
    assert listed["data/a b é.txt"] == 6 and listed["inner"] is None
    assert output_of(published, "data/a b é.txt") == (b"inside", 6, "a b é.txt")
    assert output_of(published, "inner") == (b"inside", 6, "inner")
    assert output_of(published, "image.png") == (bytes(range(256)), 256, "image.png")
    with pytest.raises(InputError, match="does not lead to a file"):
        output_of(published, "folder")


NAMES = [
    *(
        "",
        ".",
        "..",
        "/",
        "data",
        "data/",
        "../one/outputs/image.png",
        "data/../image.png",
        "./image.png",
        "/etc/passwd",
    ),
    *("image.png/", "image.png\0", "\0", "step.json", "../step.json", "../log", "a//b", "x" * 100_000, "Image.png"),
    *("outputs/image.png", "folder/a b é.txt"),
]


@pytest.mark.parametrize("path", NAMES)
def test_a_path_that_is_not_listed_is_not_found(published: SubmittedRun, path: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        output_of(published, path)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("step", ["two", "../one", "a/b", "one\0", "", ".", "x" * 100_000, "run.json", "one/outputs"])
def test_a_step_that_does_not_exist_is_not_found(published: SubmittedRun, step: str) -> None:
    with pytest.raises(NotFoundError):
        output_of(published, "image.png", step)


def _link(target: str) -> Callable[[Path], None]:
    def change(file: Path) -> None:
        file.unlink()
        file.symlink_to(target)

    return change


@pytest.mark.parametrize("target", ["/etc/passwd", "../../run.json", "../../../../sweep.json", "inner", "nothing"])
def test_a_link_out_of_the_steps_folder_or_to_nothing_is_refused(published: SubmittedRun, target: str) -> None:
    _link(target)(published.paths.step("one") / "outputs" / "inner")
    with pytest.raises(InputError, match="does not lead to a file of step one") as caught:
        output_of(published, "inner")
    assert not isinstance(caught.value, NotFoundError)


def test_a_folder_on_the_way_that_became_a_link_leads_nowhere(published: SubmittedRun, tmp_path: Path) -> None:
    outputs, outside = published.paths.step("one") / "outputs", write_folder(tmp_path / "outside")
    (outside / "a b é.txt").write_text("secret")
    (outputs / "data").rename(outputs / "was-data")
    (outputs / "data").symlink_to(outside)
    with pytest.raises(NotFoundError):
        output_of(published, "data/a b é.txt")


@pytest.mark.parametrize("path", ["../../run.json", "../step.json", "data/../image.png", "a\0b"])
def test_a_manifest_that_was_altered_leads_nowhere(published: SubmittedRun, path: str) -> None:
    paths = published.sweep.paths(published.site.storage, published.id)
    record = paths.attempt_record("one")
    assert record is not None
    altered = record.model_copy(update={"outputs": (OutputFile(path=path, size=1),)})
    (published.paths.step("one") / "step.json").write_text(altered.model_dump_json())
    with pytest.raises(InputError, match="leads outside"):
        output_of(published, path)


FAIL = "import sys\nsys.exit(int(sys.argv[1] in '14' and sys.argv[2] == '0.5'))\n"
SWEPT = """\
pipeline:
  parameters:
    seed: {type: int, default: 0}
    lr: {type: float, default: 0.5}
  steps:
  - prepare: {run: [python, -c, "print(1)"]}
  - train: {run: fail.py, args: "${{ parameters.seed }} ${{ parameters.lr }}"}
  sweep: {grid: {seed: [0, 1, 2, 3, 4], lr: [0.5, 0.25]}}
"""


def test_a_sweeps_runs_name_the_failed_ones_beside_them_and_why_steps_were_shared(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = write_folder(tmp_path / "project", pipeline_yaml=SWEPT, fail_py=FAIL)
    cluster.start_worker("--concurrency", "4")
    swept = cluster.shell(folder).json("sweep", "pipeline.yaml", "--json", exit_code=1)["sweep"]
    storage = Storage.open(cluster.settings.storage)
    run_index = RunIndex.of(cluster.settings)
    with closing(run_index):
        details = [run_detail(storage, run_index, *find_run(storage, f"{swept}.{index}")) for index in range(10)]
    failed = [one["index"] for one in details if one["state"] == "failed"]
    assert len(failed) == 2
    for one in details:
        assert one["changed"] == ["seed", "lr"] and one["sweep_name"] == swept
        before = [index for index in failed if index < one["index"]]
        after = [index for index in failed if index > one["index"]]
        assert one["previous_failed"] == (f"{swept}.{before[-1]}" if before else None)
        assert one["next_failed"] == (f"{swept}.{after[0]}" if after else None)
        assert one["explain"].keys() == {"prepare"}
        assert one["explain"]["prepare"][1].endswith("has the same identity")
    assert Counter(one["explain"]["prepare"][0].split(":")[0] for one in details) == {"executed": 1, "reused": 9}
    executed = next(one["run"] for one in details if one["explain"]["prepare"][0].startswith("executed"))
    reused = next(one for one in details if one["run"] != executed)
    assert executed in reused["explain"]["prepare"][0]
    prepare = reused["steps"][0]
    assert prepare["tries"][0]["name"] == "prepare" and prepare["tries"][0]["state"] == "succeeded"
    assert read_log(storage, *find_run(storage, reused["run"]), "prepare", "prepare", 0).text == "1\n"


def points(folder: Path, total: int) -> tuple[Storage, Sweep]:
    """A sweep of so many runs on a storage, none of which has begun."""
    (folder / "pipeline.yaml").write_text(
        "pipeline:\n  parameters:\n  - {name: x, type: int}\n  steps:\n  - one: {run: /bin/true}\n"
    )
    storage, loaded = Storage.open(folder / "storage"), load_pipeline(folder / "pipeline.yaml")
    submission = prepare_run(loaded, {"x": Given(0, Place("x"))}, storage.root)
    with submission.snapshot:
        sweep = submission.commit(storage)
    return storage, replace(sweep, space=Points(tuple({"x": number} for number in range(total))))


def end(storage: Storage, sweep: Sweep, index: int, state: RunState) -> None:
    run = sweep.run_id(index)
    record = RunRecord(
        sweep=run.sweep,
        run=str(run),
        index=index,
        state=state,
        parameters=sweep.parameters(run),
        steps=(StepSummary(name="one", state="failed" if state == "failed" else "skipped"),),
        metrics={"loss": 0.5},
    )
    sweep.paths(storage, run).write_end(record)


def test_neighbours_that_failed_are_looked_for_among_the_nearest_two_thousand(tmp_path: Path) -> None:
    storage, sweep = points(tmp_path, 5_000)

    def beside(index: int) -> tuple[str | None, str | None]:
        found = run_detail(storage, None, sweep, sweep.run_id(index))
        return found["previous_failed"], found["next_failed"]

    assert beside(2_500) == (None, None)
    end(storage, sweep, 499, "failed")
    end(storage, sweep, 4_501, "failed")
    end(storage, sweep, 2_499, "cancelled")
    assert beside(2_500) == (None, None)
    end(storage, sweep, 500, "failed")
    end(storage, sweep, 4_500, "failed")
    assert beside(2_500) == (str(sweep.run_id(500)), str(sweep.run_id(4_500)))
    end(storage, sweep, 2_501, "failed")
    (Path(sweep.paths(storage, sweep.run_id(2_501)).where()) / "run.json").write_text("{")
    assert beside(2_500) == (str(sweep.run_id(500)), str(sweep.run_id(4_500)))
    assert beside(0) == (None, str(sweep.run_id(499)))
    assert beside(4_999) == (str(sweep.run_id(4_501)), None)
    storage.end_sweep(
        SweepEnd(sweep=sweep.record.id, state="failed", total=5_000, counts={"failed": 0}, created_at=1.0, ended_at=2.0)
    )
    assert beside(2_500) == (None, None)


KINDS = ("int", "float", "bool", "string", "list of string")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(10**99), 10**99),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "string": st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
    | st.sampled_from(
        ["[1, 2]", '["a"]', "it's", '"', "$(rm -rf /)", "a=b", "", " ", "-p", "a\nb", "`x`", "\\", "true"]
    ),
    "list of string": st.lists(st.sampled_from(["a", "it's", '"', "$x", "é", "", "1"]), max_size=4),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.fixed_dictionaries(VALUES))
def test_the_command_line_gives_the_very_values_again(values: dict[str, Any], read_pipeline: LoadedPipeline) -> None:
    pipeline = read_pipeline.pipeline
    names = dict(zip(VALUES, "vwxyz", strict=True))
    given_values = {names[kind]: Given(value, Place("test")) for kind, value in values.items()}
    point = resolve_values(pipeline, given_values, {})
    words = command_words(read_pipeline, point)
    assert words[:3] == ["pipeline-queue", "run", "pipeline.yaml"] and words[3::2] == ["-p"] * 5
    again = resolve_values(pipeline, _given(tuple(words[4::2]), None), {})
    assert again == point and list(map(type, again.values())) == list(map(type, point.values()))
    assert list(map(repr, again.values())) == list(map(repr, point.values()))


@pytest.fixture(scope="module")
def read_pipeline(tmp_path_factory: pytest.TempPathFactory) -> LoadedPipeline:
    """A pipeline with a parameter of each type, called v to z."""
    lines = "".join(f"  - {{name: {name}, type: {kind}}}\n" for name, kind in zip("vwxyz", KINDS, strict=True))
    path = tmp_path_factory.mktemp("typed") / "pipeline.yaml"
    path.write_text(f"pipeline:\n  parameters:\n{lines}  steps:\n  - one: {{run: /bin/true}}\n")
    return load_pipeline(path)


def command_words(loaded: LoadedPipeline, point: Point, source: str = "pipeline.yaml") -> list[str]:
    """The words a shell makes of the command line for a run at this point."""
    space = Points((point,))
    record = SweepRecord(
        id="p-7k3m9q2x", pipeline={}, snapshot="0" * 64, space={}, total=1, created_at=1.0, source=source
    )
    sweep = Sweep(record, loaded.pipeline, space, SweepSettings())
    report = RunRecord(sweep=record.id, run=f"{record.id}.0", index=0, state="succeeded", parameters=point, steps=())
    return shlex.split(command_of(sweep, report))


@pytest.mark.parametrize(
    ("source", "word"), [("a b'.yaml", "a b'.yaml"), ("-x.yaml", "./-x.yaml"), ("", "pipeline.yaml")]
)
def test_the_command_line_names_any_file(read_pipeline: LoadedPipeline, source: str, word: str) -> None:
    assert command_words(read_pipeline, {}, source) == ["pipeline-queue", "run", word]


def test_a_shell_reads_the_command_line_as_this_test_does(read_pipeline: LoadedPipeline) -> None:
    point: Point = {"y": 'it\'s "$HOME" `x`\n[1, 2] é'}
    words = command_words(read_pipeline, point)
    printed = subprocess.run(["sh", "-c", f"printf '%s\\0' {shlex.join(words)}"], capture_output=True, check=True)
    assert printed.stdout.decode().split("\0")[:-1] == words
