"""Names of sweeps and runs: made to be unique, taken apart strictly."""

from __future__ import annotations

import pytest

from pipeline_queue.contract.errors import NotFoundError
from pipeline_queue.contract.ids import RunId, is_sweep_id, named_sweep_id, new_sweep_id


@pytest.mark.parametrize("name", ["train", "_", "a-b-c", "A" * 64, "train-7k3m9q2x"])
def test_a_new_id_names_its_pipeline_and_is_an_id(name: str) -> None:
    sweep = new_sweep_id(name)
    assert sweep.startswith(f"{name}-") and is_sweep_id(sweep)
    assert RunId.parse(f"{sweep}.7") == RunId(sweep, 7)


def test_a_name_gives_one_id_to_all_who_use_it_and_another_to_each_pipeline() -> None:
    assert named_sweep_id("train", "nightly") == "train-7frej8q6" != named_sweep_id("train", "Nightly")
    names = ["nightly", "Nightly", "", "a b/../c", "ü" * 1000, "nightly\n"]
    ids = {named_sweep_id(pipeline, name) for name in names for pipeline in ("train", "fit")}
    assert len(ids) == 2 * len(names) and all(is_sweep_id(one) for one in ids)


def test_ids_do_not_repeat() -> None:
    assert len({new_sweep_id("train") for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize(
    "text",
    ["", "train", "-7k3m9q2x", "train-7k3m9q2", "train-7k3m9q2xx", "train-7K3M9Q2X", "tr/ain-7k3m9q2x", "..-7k3m9q2x",
     "train-7k3m9q2x\n", " train-7k3m9q2x", "tr ain-7k3m9q2x", "tr\0in-7k3m9q2x", f"{'A' * 65}-7k3m9q2x", "-rf-7k3m9q2x"],
    ids=ascii,
)  # fmt: skip
def test_what_is_no_id_is_seen(text: str) -> None:
    assert not is_sweep_id(text)
    with pytest.raises(NotFoundError):
        RunId.parse(f"{text}.0")


def test_the_text_of_a_run_reads_back() -> None:
    run = RunId("train-7k3m9q2x", 123_456_789)
    assert str(run) == "train-7k3m9q2x.123456789"
    assert RunId.parse(str(run)) == run
