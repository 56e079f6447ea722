"""Failures that are alike are one cause, and those that are not are told apart by what the log says last."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline_queue.cli.sweep_display import failure_lines
from pipeline_queue.contract.states import FailureGroup
from pipeline_queue.model.failure_causes import cause_of, grouped, masked, meaningful_line, reason_of

PYTHON = """\
Traceback (most recent call last):
  File "/tmp/x/train.py", line 3, in <module>
    main()
  File "/tmp/x/train.py", line 2, in main
    raise RuntimeError(f"CUDA out of memory. Tried to allocate {n} GiB")
RuntimeError: CUDA out of memory. Tried to allocate 2.50 GiB
"""

CHAINED = """\
Traceback (most recent call last):
  File "a.py", line 1, in <module>
KeyError: 'x'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "a.py", line 4, in <module>
ValueError: lr must be positive
and more of the message
"""

JAVA = """\
Exception in thread "main" java.lang.IllegalStateException: bad state 7
\tat com.example.ErrorHandler.main(ErrorHandler.java:5)
Caused by: java.io.IOException: disk failed
\tat com.example.Main.run(Main.java:9)
\t... 3 more
"""


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (PYTHON, "RuntimeError: CUDA out of memory. Tried to allocate 2.50 GiB"),
        (PYTHON + "sys:1: ResourceWarning: unclosed file\nbye\n", "RuntimeError: CUDA out of memory. Tried to allocate 2.50 GiB"),
        (CHAINED, "ValueError: lr must be positive"),
        (JAVA, "Caused by: java.io.IOException: disk failed"),
        ("Traceback (most recent call last):\n  File \"a\", line 1\nKeyboardInterrupt\n", "KeyboardInterrupt"),
        ("Traceback (most recent call last):\n  File \"a\", line 1\nmy.mod.Custom: oh\n", "my.mod.Custom: oh"),
        ("epoch 1\nepoch 2\nloss is NaN in epoch 9\n", "loss is NaN in epoch 9"),
        ("./train.sh: line 3: foo: command not found\ncleaning up\n", "./train.sh: line 3: foo: command not found"),
        ("terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\nAborted (core dumped)\n",
         "terminate called after throwing an instance of 'std::bad_alloc': std::bad_alloc"),
        ("terminate called after throwing an instance of 'std::runtime_error'\n  what():  shape mismatch\nAborted\n",
         "terminate called after throwing an instance of 'std::runtime_error': shape mismatch"),
        ("Error in f(x) : non-numeric argument\nCalls: f\nExecution halted\n", "Error in f(x) : non-numeric argument"),
        ("ERROR: LoadError: UndefVarError: x not defined\nStacktrace:\n [1] top-level scope\n", "ERROR: LoadError: UndefVarError: x not defined"),
        ("thread 'main' panicked at src/main.rs:4:5:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`\n",
         "thread 'main' panicked at src/main.rs:4:5: index out of bounds"),
        ("Traceback (most recent call last):\n  File \"a\", line 1\nValueError: \nno rows\n", "ValueError: no rows"),
        ('received ["fail"]\nbroken by what was asked\n', "broken by what was asked"),
        ("epoch 1 error 0.31\nvalidation error: 1.5e-3\nerror=3 0 failed, no errors\nstopped by the user\n", "stopped by the user"),
        ("it's a failure, isn't it\nbye\n", "it's a failure, isn't it"),
        ("CUDA error 700\ncleaning up\n", "CUDA error 700"), ("HTTP Error 404: gone\nbye\n", "HTTP Error 404: gone"),
        ("usage: train.py [-h] --lr LR\ntrain.py: error: unrecognized arguments: --x\n", "train.py: error: unrecognized arguments: --x"),
        (" 10%|█         | 1/10\r 20%|██        | 2/10\rloss exploded\n 30%|███       | 3/10\n", "loss exploded"),
        ("stopped early\n 30%|███       | 3/10 [00:01<00:02]\n", "stopped early"),
        ("\x1b[31mfatal: \x1b[0mno data\x07\n", "fatal: no data"),
        ("just words\n", "just words"), ("", ""), ("\n \n", ""),
    ],
)  # fmt: skip
def test_the_line_that_says_what_went_wrong(log: str, line: str) -> None:
    assert meaningful_line(log.split("\n")) == line


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Tried to allocate 2.50 GiB", "Tried to allocate N GiB"),
        ("[Errno 2] No such file or directory: 'data/train.csv'", "[Errno N] No such file or directory: '<path>'"),
        ("No such file: /mnt/a-b/c_1.txt", "No such file: <path>"),
        ("object at 0x7f12ab>", "object at <address>>"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id <id>"),
        ("commit 9fceb02d0ae5", "commit <id>"),
        ("GET http://host:8080/x?y=1 failed", "GET <url> failed"),
        ("at 2026-11-25 10:00:01,5 lost", "at NNN N lost"),
        ("loss=-1e-05 epoch=3", "loss=N epoch=N"),
        ("KeyError: 'learning_rate'", "KeyError: 'learning_rate'"),
        ("layer3 gpu0", "layerN gpuN"),
    ],
)
def test_what_differs_from_run_to_run_is_masked(text: str, wanted: str) -> None:
    assert masked(text) == wanted


def test_a_message_gives_its_cause() -> None:
    log = "\n".join(f"  {line}" for line in PYTHON.strip().split("\n"))
    message = f"step train failed with exit code 1; the log ends with:\n{log}"
    assert (
        cause_of(message)
        == "step train failed with exit code 1: RuntimeError: CUDA out of memory. Tried to allocate N GiB"
    )
    assert cause_of("step train failed with exit code 3; its log is empty") == "step train failed with exit code 3"
    assert cause_of("step a was killed: its processes used 2.1 GB of memory, its limit is 2 GB; its log is empty") == (
        "step a was killed: its processes used N of memory, its limit is 2 GB"
    )
    gone = "step a was given up: 3 attempts ended for no fault of its own, last on worker-7@host: that worker was lost"
    assert cause_of(gone) == cause_of(gone.replace("worker-7@host", "worker-9@other"))
    assert cause_of("") == ""
    assert len(cause_of("step a failed; the log ends with:\n  error " + "x" * 10_000)) == 300


def test_the_example_of_a_cause_is_told_in_its_own_words() -> None:
    log = "the log ends with:\n  epoch 1\n  ValueError: loss is nan after 7 steps in /tmp/x7"
    reason = reason_of(f"step train failed with exit code 1; {log}")
    assert reason == "step train failed with exit code 1: ValueError: loss is nan after 7 steps in /tmp/x7"
    text = "step train failed with exit code 1: ValueError: loss is nan after N steps in <path>"
    assert failure_lines([FailureGroup(text, 4, "a-7k3m9q2x.7", 0, reason)]) == [
        f"  4 x {text} (for example a-7k3m9q2x.7: loss is nan after 7 steps in /tmp/x7)"
    ]
    alike = FailureGroup("step train failed with exit code 3", 4, "a-7k3m9q2x.7")
    assert failure_lines([replace(alike, reason=alike.text)]) == failure_lines([alike])
    assert reason_of("step a failed; its log is empty") == "step a failed"


def test_failures_are_counted_with_an_example_that_was_executed() -> None:
    failures = [("a.0", "one", True), ("a.1", "one", False), ("a.2", "two", False), ("a.3", "one", True)]
    assert grouped(failures) == (FailureGroup("one", 3, "a.1", 2), FailureGroup("two", 1, "a.2", 0))
