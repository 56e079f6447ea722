"""What others build on: the names of the Python API and the tree of errors."""

from __future__ import annotations

import inspect
import json
import pickle

import pytest

from pipeline_queue import client
from pipeline_queue.contract import errors
from pipeline_queue.contract.errors import PipelineQueueError, Place, Problem

TREE = {
    "PipelineQueueError": ("Exception", 1),
    "InputError": ("PipelineQueueError", 2),
    "PipelineFileError": ("InputError", 2),
    "ValuesError": ("InputError", 2),
    "SnapshotError": ("InputError", 2),
    "SettingsError": ("InputError", 2),
    "NotFoundError": ("InputError", 2),
    "UnreachableError": ("PipelineQueueError", 3),
    "BrokerError": ("UnreachableError", 3),
    "StorageError": ("UnreachableError", 3),
    "StorageAwayError": ("StorageError", 3),
    "RunFailedError": ("PipelineQueueError", 1),
    "StepFailedError": ("PipelineQueueError", 1),
    "MessageError": ("PipelineQueueError", 1),
    "SupervisorError": ("PipelineQueueError", 1),
}


def _errors() -> dict[str, type[PipelineQueueError]]:
    found = inspect.getmembers(errors, inspect.isclass)
    return {name: one for name, one in found if issubclass(one, PipelineQueueError) and not name.startswith("_")}


def test_the_error_tree_is_the_documented_one() -> None:
    found = _errors()
    assert found.keys() == TREE.keys()
    for name, (base, exit_code) in TREE.items():
        assert base in {one.__name__ for one in found[name].__mro__[1:]}, name
        assert found[name].exit_code == exit_code
        assert name in (errors.__doc__ or "")


@pytest.mark.parametrize("name", sorted(TREE))
def test_every_error_survives_pickling_and_a_serializer_that_keeps_args(name: str) -> None:
    kind = _errors()[name]
    problems = (Problem(Place("a b.yaml", 3, 4), "it's \n wrong", "do `x`"),)
    argument = problems if hasattr(kind, "problems") or "Problems" in kind.__mro__[1].__name__ else "what, where, next"
    error = kind(argument)
    for again in (pickle.loads(pickle.dumps(error)), kind(*error.args)):
        assert type(again) is kind
        assert again.args == error.args == (argument,)
        assert str(again) == str(error)


def test_problems_are_told_with_place_and_hint() -> None:
    error = errors.ValuesError((Problem(Place("p.yaml", 3, 4), "bad", "do x"), Problem(Place("-p a=1"), "worse")))
    assert str(error) == "p.yaml:3:4: bad (do x)\n-p a=1: worse"


def test_the_public_names_of_the_client_stay() -> None:
    assert sorted(client.__all__) == ["Client", "Event", "PipelineQueueError", "RunRecord"]
    methods = {name for name, _ in inspect.getmembers(client.Client, inspect.isroutine) if not name.startswith("_")}
    assert methods >= {
        "cancel", "close", "connect", "events", "explain", "forget", "forget_reused", "load", "local", "logs", "metrics", "outputs", "prepare", "resolve", "retry",
        "run", "runs", "submit", "traced", "unfinished", "unserved_queues", "wait", "workers",
    }  # fmt: skip
    assert all(inspect.getdoc(getattr(client.Client, name)) for name in methods - {"close"})


def test_events_are_plain_values() -> None:
    event = client.Event("train-00000000.0", None, "running")
    fields = (event.run, event.step, event.state, event.attempts, event.seconds, event.message)
    assert json.dumps(fields) == '["train-00000000.0", null, "running", 0, null, ""]'
