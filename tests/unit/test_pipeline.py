"""What comes before and after a step is asked of the pipeline."""

from __future__ import annotations

import pytest

from pipeline_queue.model.pipeline import Pipeline, Step


def _pipeline(*names: str) -> Pipeline:
    return Pipeline(name="train", steps=tuple(Step(name=name, argv=(("true",),)) for name in names))


THREE = _pipeline("one", "two", "three")


@pytest.mark.parametrize(
    ("step", "needs", "before", "after"),
    [
        ("one", (), (), ("two", "three")),
        ("two", ("one",), ("one",), ("three",)),
        ("three", ("two",), ("one", "two"), ()),
    ],
)
def test_a_step_has_others_before_and_after_it(
    step: str, needs: tuple[str, ...], before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    assert (THREE.needs(step), THREE.before(step), THREE.after(step)) == (needs, before, after)


def test_every_step_is_before_or_after_or_neither_of_any_other() -> None:
    """What holds for branches, too."""
    for one in THREE.steps:
        assert set(THREE.needs(one.name)) <= set(THREE.before(one.name))
        assert one.name not in (*THREE.before(one.name), *THREE.after(one.name))
        for other in THREE.steps:
            assert (other.name in THREE.before(one.name)) == (one.name in THREE.after(other.name))


@pytest.mark.parametrize(
    ("names", "published", "unpublished"),
    [
        (set(), (), ("one", "two", "three")),
        ({"one", "two.attempt-1-abc"}, ("one",), ("two", "three")),
        ({"two"}, ("two",), ("one", "three")),
        ({"one", "two", "cancel.requested"}, ("one", "two"), ("three",)),
        ({"three", "two", "one", "run.json"}, ("one", "two", "three"), ()),
    ],
    ids=lambda names: str(sorted(names)),
)
def test_a_run_is_complete_when_all_its_steps_are_published(
    names: set[str], published: tuple[str, ...], unpublished: tuple[str, ...]
) -> None:
    assert (THREE.published(names), THREE.unpublished(names)) == (published, unpublished)
    assert THREE.is_complete(names) == (not unpublished)


def test_only_its_own_steps_have_a_place_in_a_pipeline() -> None:
    assert THREE.has("two") and not THREE.has("four")
    for ask in (THREE.needs, THREE.before, THREE.after):
        with pytest.raises(ValueError, match="not in"):
            ask("four")
