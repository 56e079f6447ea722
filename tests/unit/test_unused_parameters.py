"""A parameter that no step uses is said, with the placeholder of another tool that was meant to use it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline_queue.contract.errors import PipelineFileError, ValuesError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline
from pipeline_queue.loading.sweep import BuiltSpace, SweepRequest, build_space, check_sweep


def load(folder: Path, step: str, sweep: str = "", names: str = "lr") -> LoadedPipeline:
    (folder / "train.py").touch()
    parameters = "".join(f"    - {{name: {name}, type: float, default: 0.5}}\n" for name in names.split())
    written = f"  sweep: {sweep}\n" if sweep else ""
    path = folder / "demo.yaml"
    path.write_text(f"pipeline:\n  parameters:\n{parameters}  steps:\n    - train: {{{step}}}\n{written}")
    return load_pipeline(path)


def said(folder: Path, step: str, **more: Any) -> list[str]:
    return [str(one).replace(f"{folder}/", "") for one in load(folder, step, **more).warnings]


def test_an_unused_parameter_is_warned_of_where_it_is_declared(tmp_path: Path) -> None:
    (warning,) = said(tmp_path, "run: train.py")
    assert warning.startswith("demo.yaml:3:14: no step uses the parameter 'lr' (write ${{ parameters.lr }} in ")


@pytest.mark.parametrize("step", ["run: train.py, args: '${{ parameters.lr }}'", "run: [echo, 'a${{parameters.lr}}']",
                                  "run: train.py, env: {LR: '${{ parameters.lr }}'}", "shell: 'echo $PARAM_LR'"])  # fmt: skip
def test_a_parameter_may_be_used_in_the_command_the_environment_or_a_script(tmp_path: Path, step: str) -> None:
    assert said(tmp_path, step) == []
    assert load(tmp_path, step).unused == {}


@pytest.mark.parametrize(
    "placeholder",
    ["{{ lr }}", "{{lr}}", "{{ parameters.lr }}", "{{ inputs.parameters.lr }}", "{{ lr | default(1) }}", "{{ params['lr'] }}",
     "${lr}", "${parameters.lr}", "${params.lr}", "${lr:-1}", "$(lr)", "$(params.lr)", "$lr", "$LR", "{lr}", "{params.lr}", "{lr:.3f}",
     "%(lr)s", "%lr%", "@lr@", "<lr>", "parameters.lr"],
)  # fmt: skip
def test_a_placeholder_of_another_tool_is_named(tmp_path: Path, placeholder: str) -> None:
    for step in (f"run: train.py, args: {json.dumps('--lr ' + placeholder)}",
                 f"run: [python, train.py, {json.dumps('--lr=' + placeholder)}]",
                 f"run: train.py, env: {{RATE: {json.dumps(placeholder)}}}"):  # fmt: skip
        loaded = load(tmp_path, step)
        assert list(loaded.unused) == ["lr"], step
        assert placeholder in loaded.unused["lr"] and "${{ parameters.lr }}" in loaded.unused["lr"]
        assert any("no step uses the parameter 'lr'" in str(one) for one in loaded.warnings)


def test_a_placeholder_of_a_parameter_that_is_used_elsewhere_is_warned_of_too(tmp_path: Path) -> None:
    (warning,) = said(tmp_path, "run: train.py, args: '--lr ${{ parameters.lr }} --name run-{{ lr }}'")
    assert "'{{ lr }}' in args of step 'train' is not replaced by the value of 'lr'" in warning


@pytest.mark.parametrize(
    "args",
    ["'{\"lr\": 1}'", "lr", "--lr=1", "{}", "'{other}'", "'$${{ parameters.lr }}'", "'x{{ other }}'", "a.lr", "lr.txt"],
)
def test_what_only_looks_like_one_is_left_alone(tmp_path: Path, args: str) -> None:
    step = f"run: [train.py, '${{{{ parameters.lr }}}}', {json.dumps(args.strip(chr(39)))}]"
    assert said(tmp_path, step) == []


def test_a_variable_of_the_step_is_no_placeholder(tmp_path: Path) -> None:
    step = "run: [sh, -c, 'echo $lr ${lr}'], env: {lr: '${{ parameters.lr }}'}"
    assert said(tmp_path, step) == []


def built(folder: Path, step: str, sweep: str = "", **asked: Any) -> BuiltSpace:
    return build_space(load(folder, step, sweep, "lr epochs"), SweepRequest(**asked))


USED = "run: train.py, args: '${{ parameters.epochs }} {{ lr }}'"


@pytest.mark.parametrize("sweep", ["{grid: {lr: [1, 2]}}", "{list: [{lr: 1}, {lr: 2}]}", "{zip: {lr: [1, 2], epochs: [3, 4]}}",
                                   "{random: {count: 3, parameters: {lr: {uniform: [0, 1]}}}}", "{include: [{lr: 1}, {lr: 2}]}"])  # fmt: skip
def test_a_sweep_over_an_unused_parameter_is_refused(tmp_path: Path, sweep: str) -> None:
    with pytest.raises(ValuesError) as caught:
        built(tmp_path, USED, sweep)
    (problem,) = map(str, caught.value.problems)
    assert (
        "the sweep varies 'lr', which no step uses" in problem and "{{ lr }}" in problem and "unused: allow" in problem
    )


def test_a_sweep_from_the_command_line_over_an_unused_parameter_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValuesError, match="the sweep varies 'lr'"):
        built(tmp_path, USED, texts=("lr=1,2",))


def test_a_sweep_may_be_allowed_to_vary_what_no_step_uses(tmp_path: Path) -> None:
    assert len(built(tmp_path, USED, "{grid: {lr: [1, 2]}, unused: allow}").space) == 2
    assert len(built(tmp_path, USED, texts=("lr=1,2",), unused="allow").space) == 2
    with pytest.raises(ValuesError, match="varies 'lr'"):
        built(tmp_path, USED, "{grid: {lr: [1, 2]}, unused: allow}", unused="refuse")


def test_one_value_of_an_unused_parameter_is_no_reason_to_refuse(tmp_path: Path) -> None:
    assert len(built(tmp_path, USED, texts=("lr=1", "epochs=1,2")).space) == 2


@pytest.mark.parametrize("text", ["$lr", "${lr}", "${inputs.lr}", "$PARAM_LR", "$(params.lr)"])
@pytest.mark.parametrize(
    "step", ["run: train.py, args: '%s'", 'run: [train.py, "%s"]', 'run: train.py, env: {A: "%s"}']
)
def test_what_names_a_parameter_is_not_taken_for_a_variable_too(tmp_path: Path, step: str, text: str) -> None:
    (warning,) = said(tmp_path, step % text)
    assert "no step uses the parameter 'lr'" in warning and repr(text) in warning


def test_a_variable_that_only_reads_like_a_parameter_keeps_its_own_hint(tmp_path: Path) -> None:
    warnings = said(tmp_path, 'run: train.py, env: {PATH: "/x:$PATH"}', names="path")
    assert any("${{ worker.env.PATH }}" in one for one in warnings)
    (_, dotted) = said(tmp_path, "run: train.py, args: '${a.b}'")
    assert "worker.env" not in dotted


@pytest.mark.parametrize("sweep", ["{grid: {lr: [1, 2]}}", "{grid: {lr: [1, 2], epochs: [1]}, exclude: [{lr: 1}]}"])
def test_validate_refuses_what_the_sweep_of_the_file_would_be_refused_for(tmp_path: Path, sweep: str) -> None:
    with pytest.raises(PipelineFileError, match="the sweep varies 'lr', which no step uses"):
        check_sweep(load(tmp_path, USED, sweep, "lr epochs"))


def test_validate_refuses_it_too_where_a_value_is_still_to_be_given(tmp_path: Path) -> None:
    path = load(tmp_path, USED, "{grid: {lr: [1, 2]}}", "lr epochs").path
    path.write_text(path.read_text().replace("epochs, type: float, default: 0.5", "epochs, type: float"))
    with pytest.raises(PipelineFileError, match="the sweep varies 'lr', which no step uses"):
        check_sweep(load_pipeline(path))
    path.write_text(path.read_text().replace("lr: [1, 2]", "epochs: [1, 2]"))
    assert check_sweep(load_pipeline(path)) == ()
