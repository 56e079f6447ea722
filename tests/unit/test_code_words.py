"""A value that becomes part of a script in one word of a command is warned of, with the way to give it whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.loading.loader import load_pipeline

HEAD = """pipeline:
  parameters:
    - {name: title, type: string, default: a}
    - {name: lr, type: float, default: 0.1}
    - {name: opt, type: string, choices: [sgd, adam], default: sgd}
  steps:
    - use:
        run: [echo, '${{ parameters.title }}', '${{ parameters.lr }}', '${{ parameters.opt }}']
    - train:
"""


def warned(folder: Path, step: str) -> list[str]:
    path = folder / "demo.yaml"
    path.write_text(HEAD + "".join(f"        {line}\n" for line in step.splitlines()))
    return [str(one) for one in load_pipeline(path).warnings]


@pytest.mark.parametrize(
    ("command", "program"),
    [
        ('bash -c "echo ${{ parameters.title }}"', "bash"),
        ('/bin/sh -lc "echo ${{ parameters.title }}"', "sh"),
        ('bash -eu -o pipefail -c "echo ${{ parameters.title }}"', "bash"),
        ('nice -n 4 bash -c "echo ${{ parameters.title }}"', "bash"),
        ("python -c \"print('${{ parameters.title }}')\"", "python"),
        ("perl -ne 'print ${{ parameters.title }}'", "perl"),
        ("ssh host sh -c ${{ parameters.title }}", "sh"),
    ],
)
def test_a_text_that_becomes_part_of_a_script_is_warned_of(tmp_path: Path, command: str, program: str) -> None:
    (warning,) = warned(tmp_path, f"run: {json.dumps(command)}")
    assert f"the value of 'title' becomes part of a script that {program} reads" in warning
    assert warning.startswith(f"{tmp_path}/demo.yaml:10:")
    assert ("$PARAM_TITLE" in warning) == (program in ("bash", "sh"))


def test_the_word_of_a_list_is_named(tmp_path: Path) -> None:
    (warning,) = warned(tmp_path, "run: [bash]\nargs:\n  - -c\n  - echo ${{ parameters.title }}")
    assert warning.startswith(f"{tmp_path}/demo.yaml:13:18: the value of 'title'")


@pytest.mark.parametrize(
    "command",
    [
        'bash -c "echo ${{ parameters.lr }} ${{ parameters.opt }} ${{ run.id }}"',
        "bash -c 'echo \"$1\"' bash ${{ parameters.title }}",
        "python -c 'import sys' ${{ parameters.title }}",
        "python train.py -c ${{ parameters.title }}",
        "python -m tool -c ${{ parameters.title }}",
        "grep -c ${{ parameters.title }} x",
    ],
)
def test_values_that_are_words_of_their_own_or_mean_nothing_to_a_shell_are_left_alone(
    tmp_path: Path, command: str
) -> None:
    assert warned(tmp_path, f"run: {json.dumps(command)}") == []
