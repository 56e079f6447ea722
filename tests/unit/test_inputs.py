"""What a step sees of the pipeline's folder, and what of it makes the step another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.contract.ids import RunId
from pipeline_queue.loading.loader import load_pipeline
from pipeline_queue.model.pipeline import Parameter, Pipeline, Step
from pipeline_queue.planning.inputs import select_sources, sources_digest, unmatched, unmatched_patterns
from pipeline_queue.planning.step_key import own_because, shareable_steps, step_keys
from pipeline_queue.space import Points
from pipeline_queue.storage.snapshot import read_contents, take_snapshot
from pipeline_queue.storage.storage import Storage

NAMES = ("conf", "conf/a.yaml", "conf/deep", "conf/deep/b.yaml", "data.csv", "lib", "lib/data.csv", "prepare.py")


def _step(*sources: str, argv: tuple[str, ...] = ("prepare.py",)) -> Step:
    return Step(name="prepare", argv=tuple((word,) for word in argv), sources=sources)


@pytest.mark.parametrize(
    ("sources", "seen"),
    [
        ((), NAMES),
        (("data.csv",), ("data.csv", "prepare.py")),
        (("*.csv",), ("data.csv", "prepare.py")),
        (("**/*.csv",), ("data.csv", "lib", "lib/data.csv", "prepare.py")),
        (("conf",), ("conf", "conf/a.yaml", "conf/deep", "conf/deep/b.yaml", "prepare.py")),
        (("conf/deep/b.yaml",), ("conf", "conf/deep", "conf/deep/b.yaml", "prepare.py")),
        (("nothing",), ("prepare.py",)),
    ],
)
def test_a_step_sees_its_sources_its_program_and_the_folders_above(
    sources: tuple[str, ...], seen: tuple[str, ...]
) -> None:
    assert select_sources(_step(*sources), NAMES) == seen


def test_a_file_that_the_command_names_belongs_to_it() -> None:
    step = _step("lib", argv=("bash", "./prepare.py", "conf/a.yaml"))
    assert select_sources(step, NAMES) == ("conf", "conf/a.yaml", "lib", "lib/data.csv", "prepare.py")


def test_only_what_the_step_sees_changes_its_digest() -> None:
    contents = dict.fromkeys(NAMES, "old")
    step = _step("conf")
    before = sources_digest(step, contents)
    assert sources_digest(step, contents | {"data.csv": "new"}) == before
    assert sources_digest(step, contents | {"conf/a.yaml": "new"}) != before
    assert sources_digest(step, contents | {"prepare.py": "new"}) != before
    assert sources_digest(step, contents | {"conf/new": "old"}) != before


def test_patterns_without_a_match_are_named() -> None:
    assert unmatched(_step("conf", "*.txt", "lib/*.csv"), NAMES) == ["*.txt"]


def test_a_snapshot_read_back_has_the_same_contents(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    (folder / "lib").mkdir(parents=True)
    (folder / "lib" / "tool").write_text("tool")
    (folder / "lib" / "tool").chmod(0o755)
    (folder / "link").symlink_to("lib/tool")
    with take_snapshot(folder) as snapshot:
        storage = Storage.open(tmp_path / "storage")
        snapshot.store(storage)
        assert read_contents(storage, snapshot.digest) == snapshot.contents
    assert set(snapshot.contents) == {"lib", "lib/tool", "link"}
    (folder / "lib" / "tool").chmod(0o644)
    with take_snapshot(folder) as changed:
        assert {name for name in snapshot.contents if snapshot.contents[name] != changed.contents[name]} == {"lib/tool"}


def test_sources_are_read_and_a_wrong_one_has_its_place(tmp_path: Path) -> None:
    (tmp_path / "prepare.py").write_text("")
    file = tmp_path / "pipeline.yaml"
    text = "pipeline:\n  steps:\n    - prepare: {run: prepare.py, sources: [./prepare.py, '*.csv'], reuse: always}\n"
    file.write_text(text)
    step = load_pipeline(file).pipeline.steps[0]
    assert (step.sources, step.reuse) == (("prepare.py", "*.csv"), "always")


def test_a_wrong_way_of_reuse_and_sources_outside_are_told_at_their_places(tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text("pipeline:\n  steps:\n    - a: {run: ls, reuse: alway, sources: [../x, /etc, here]}\n")
    with pytest.raises(PipelineFileError) as refused:
        load_pipeline(file)
    assert [problem.message for problem in refused.value.problems] == [
        "'alway' is not a value for reuse",
        "sources of step 'a': there is no 'here' in the pipeline's folder",
        "'../x' cannot be a source",
        "'/etc' cannot be a source",
    ]


def _always(**fields: object) -> Pipeline:
    step = {"name": "prepare", "argv": (("prepare.py",),), "reuse": "always", **fields}
    return Pipeline(name="p", parameters=(Parameter(name="n", type="int"),), steps=(Step.model_validate(step),))


def test_a_step_that_is_always_reused_is_shareable_in_a_single_run_unless_it_asks_for_the_run() -> None:
    space = Points(({"n": 1},))
    assert shareable_steps(_always(), space) == {"prepare"}
    assert own_because(_always(reuse="sweep"), space, "prepare")
    own = _always(argv=(("prepare.py",), ({"scope": "run", "name": "id"},)))
    assert shareable_steps(own, space) == frozenset()
    assert "own id" in (own_because(own, space, "prepare") or "")


def test_the_identity_holds_the_declared_sources_instead_of_the_snapshot() -> None:
    def digest(snapshot: str, sources: dict[str, str]) -> str:
        every = dict(step_keys(_always(), RunId("p-7k3m9q2x", 0), Points(({"n": 1},)), snapshot, sources))
        return every["prepare"].digest

    assert digest("one", {"prepare": "s"}) == digest("two", {"prepare": "s"})
    assert digest("one", {}) != digest("two", {})


@pytest.mark.parametrize("pattern", ["[z-a]*", "a*\\"])
def test_what_is_no_pattern_is_said_and_matches_nothing(tmp_path: Path, pattern: str) -> None:
    assert unmatched_patterns([pattern, "*.csv"], NAMES) == [pattern]
    (tmp_path / "a.py").write_text("")
    (tmp_path / "p.yaml").write_text(
        f"pipeline:\n  steps:\n    - a:\n        run: a.py\n        sources: ['{pattern}']\n"
    )
    with pytest.raises(PipelineFileError, match="is not a pattern"):
        load_pipeline(tmp_path / "p.yaml")
