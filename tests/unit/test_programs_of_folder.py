"""Scripts of the folder that the system could not start are said when the file is read, not run for run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline


def script(folder: Path, name: str, data: bytes, mode: int = 0o755) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    (folder / name).chmod(mode)


def load(folder: Path, run: str, before: str = "") -> LoadedPipeline:
    path = folder / "demo.yaml"
    first = f"    - first: {{run: {before}}}\n" if before else ""
    path.write_text(f"pipeline:\n  steps:\n{first}    - train: {{run: {run}}}\n")
    return load_pipeline(path)


def refused(folder: Path, run: str) -> str:
    with pytest.raises(PipelineFileError) as caught:
        load(folder, run)
    return str(caught.value)


def warned(folder: Path, run: str, before: str = "") -> str:
    return "\n".join(map(str, load(folder, run, before).warnings))


@pytest.mark.parametrize("run", ["train.sh", "./train.sh", "sub/train.sh", "sub/tool"])
def test_a_script_without_the_execute_bit_is_refused_with_the_remedy(tmp_path: Path, run: str) -> None:
    script(tmp_path, run, b"#!/bin/sh\n", 0o644)
    said = refused(tmp_path, run)
    assert "is not executable" in said and f"`chmod +x {run}`, or write `run: sh {run}`" in said


def test_a_script_with_windows_line_ends_is_refused(tmp_path: Path) -> None:
    script(tmp_path, "train.sh", b"#!/bin/bash\r\necho 1\r\n")
    assert "has Windows line ends" in refused(tmp_path, "train.sh")
    assert "has Windows line ends, which bash cannot read" in warned(tmp_path, "bash train.sh")
    script(tmp_path, "train.sh", b"#!/bin/bash\necho 1\n")
    assert warned(tmp_path, "bash train.sh") == warned(tmp_path, "train.sh") == ""


def test_an_interpreter_that_is_not_here_is_warned_of(tmp_path: Path) -> None:
    script(tmp_path, "one", b"#!/usr/bin/env no-such-shell\n")
    script(tmp_path, "two", b"#!/no/such/interpreter -x\n")
    assert "needs the interpreter 'no-such-shell'" in warned(tmp_path, "one")
    assert "needs the interpreter '/no/such/interpreter'" in warned(tmp_path, "./two")


def test_a_script_without_an_interpreter_line_is_warned_of(tmp_path: Path) -> None:
    script(tmp_path, "train.sh", b"echo 1\n")
    script(tmp_path, "program", b"\x7fELF\x02\x01")
    assert "does not begin with `#!`" in warned(tmp_path, "train.sh")
    assert warned(tmp_path, "./program") == ""


def test_a_program_of_the_system_is_not_hindered_by_a_file_of_its_name(tmp_path: Path) -> None:
    script(tmp_path, "sh", b"data", 0o644)
    assert warned(tmp_path, "sh -c true") == ""


def test_a_path_that_is_not_there_is_warned_of_unless_an_earlier_step_may_make_it(tmp_path: Path) -> None:
    assert "there is no 'bin/tool' in the pipeline's folder" in warned(tmp_path, "bin/tool")
    assert warned(tmp_path, "bin/tool", before="make") == ""


@pytest.mark.parametrize(
    "run", ["sh -c ./train.sh", "[bash, -ec, 'set -x; ./train.sh && echo']", "bash -e lines.sh", "bash ./lines.sh"]
)
def test_what_a_shell_is_given_is_looked_at_too(tmp_path: Path, run: str) -> None:
    script(tmp_path, "train.sh", b"#!/bin/sh\n", 0o644)
    script(tmp_path, "lines.sh", b"echo 1\r\n")
    said = warned(tmp_path, run)
    assert "is not executable (`chmod +x ./train.sh`, or write `sh ./train.sh`)" in said or "Windows line ends" in said


def test_a_shell_step_that_starts_a_script_without_the_execute_bit_is_warned_of_at_its_line(tmp_path: Path) -> None:
    script(tmp_path, "train.sh", b"#!/bin/sh\n", 0o644)
    path = tmp_path / "demo.yaml"
    text = "pipeline:\n  steps:\n    - train:\n        shell: |\n          echo hi\n          x=$(./train.sh)\n"
    path.write_text(text)
    (warning,) = map(str, load_pipeline(path).warnings)
    assert ":6:15: './train.sh' of the pipeline's folder is not executable" in warning
    path.write_text(text.replace("echo hi", "chmod +x train.sh"))
    assert load_pipeline(path).warnings == ()


@pytest.mark.parametrize("run", ["train.sh", "sh train.sh", "python3 -u train.py", "bash -e sub/train.sh"])
def test_a_script_that_is_not_there_is_warned_of_unless_an_earlier_step_may_make_it(tmp_path: Path, run: str) -> None:
    assert "there is no " in warned(tmp_path, run)
    assert warned(tmp_path, run, before="make all") == ""


@pytest.mark.parametrize(
    "run", ["sh -s", "python -m train.py", "python -c ./train.sh", '[sh, "${{ run.id }}.sh"]', "bash"]
)
def test_what_names_no_script_of_the_folder_is_left_alone(tmp_path: Path, run: str) -> None:
    script(tmp_path, "train.sh", b"#!/bin/sh\n", 0o644)
    assert warned(tmp_path, run) == ""


def test_the_remedy_names_the_interpreter_that_fits(tmp_path: Path) -> None:
    script(tmp_path, "tool", b"#!/usr/bin/env -S python3 -u\n", 0o644)
    script(tmp_path, "fit.R", b"print(1)\n", 0o644)
    assert "write `run: python3 tool`" in refused(tmp_path, "tool")
    assert "write `run: Rscript fit.R`" in refused(tmp_path, "fit.R")


def test_a_byte_order_mark_before_the_interpreter_is_refused_with_the_remedy(tmp_path: Path) -> None:
    script(tmp_path, "train.sh", b"\xef\xbb\xbf#!/bin/sh\necho hi\n")
    said = refused(tmp_path, "train.sh")
    assert "begins with a byte order mark" in said and r"sed -i '1s/^\xef\xbb\xbf//' ./train.sh" in said


@pytest.mark.parametrize(
    ("run", "hint"),
    [
        ("train", "did you mean 'train.py'?"),
        ("package", "`run: python -m package`"),
        ("no-such-tool", "on the workers"),
    ],
)
def test_a_program_that_this_machine_does_not_have_is_said(tmp_path: Path, run: str, hint: str) -> None:
    script(tmp_path, "train.py", b"")
    script(tmp_path, "package/__main__.py", b"")
    said = warned(tmp_path, run)
    assert f"program '{run}' not found on this machine" in said and hint in said
    assert warned(tmp_path, f"{run}, env: {{PATH: /opt/x}}") == ""


@pytest.mark.parametrize("run", ["ls", "python", "/opt/absent/tool", "pytest"])
def test_a_program_of_the_system_or_beside_python_is_left_alone(tmp_path: Path, run: str) -> None:
    assert warned(tmp_path, run) == ""
