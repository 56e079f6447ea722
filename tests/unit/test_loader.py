"""A pipeline file becomes a Pipeline, or every problem of it at once with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline_queue.contract.errors import PipelineFileError, ValuesError
from pipeline_queue.loading.loader import LoadedPipeline, load_pipeline, read_params_file
from pipeline_queue.loading.steps import MAX_STEPS
from pipeline_queue.model.parameters import resolve_values
from pipeline_queue.model.pipeline import Parameter, Pipeline, Reference, Step, Value

SEED = """\
pipeline:
  parameters:
    - name: learning_rate
      type: float
  steps:
    - train_model:
        run: train.py
        args: --lr ${{ parameters.learning_rate }}
"""

FULLER = """\
pipeline:
  name: train
  parameters:
    - {name: learning_rate, type: float, min: 0, help: step size}
    - {name: epochs, type: int, default: 10}
    - {name: optimizer, type: string, choices: [sgd, adam], default: sgd}
  steps:
    - prepare:
        run: prepare.py
    - train_model:
        run: train.py
        args: --lr ${{ parameters.learning_rate }} --epochs ${{ parameters.epochs }}
        timeout: 2h
        retries: 2
        queue: gpu
        outputs: [model.pkl, metrics.json]
  sweep:
    grid: {learning_rate: {logspace: [1e-4, 1e-1, 7]}, optimizer: [sgd, adam]}
"""

LR = Reference(scope="parameters", name="learning_rate")
HOSTILE = ["a b", "'", '"', "$HOME", ";", "a\nb", "\\", "a=b", "0", "0.0", "false", "", "-x", "null", "~"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("train.py", "prepare.py", "lib/tool.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def load(folder: Path, text: str) -> LoadedPipeline:
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    return load_pipeline(path)


def refusals(folder: Path, text: str) -> list[str]:
    """The problems without the folder's name."""
    with pytest.raises(PipelineFileError) as caught:
        load(folder, text)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def step(folder: Path, body: str) -> Step:
    return load(folder, f"pipeline: {{parameters: {{x: {{type: string}}}}, steps: {{a: {{{body}}}}}}}").pipeline.steps[
        0
    ]


def step_refusals(folder: Path, body: str) -> list[str]:
    return refusals(folder, f"pipeline: {{parameters: {{x: {{type: string}}}}, steps: {{a: {{{body}}}}}}}")


def parameter(folder: Path, body: str) -> Parameter:
    text = f"pipeline: {{parameters: {{x: {{{body}}}}}, steps: {{a: {{run: echo}}}}}}"
    return load(folder, text).pipeline.parameters[0]


def parameter_refusals(folder: Path, body: str) -> list[str]:
    return refusals(folder, f"pipeline: {{parameters: {{x: {{{body}}}}}, steps: {{a: {{run: echo}}}}}}")


def words(loaded: Step) -> list[str]:
    return ["".join(str(part) for part in template) for template in loaded.argv]


def test_the_seed_loads_as_it_is_printed(folder: Path) -> None:
    loaded = load(folder, SEED)
    assert loaded.pipeline == Pipeline(
        name="demo",
        parameters=(Parameter(name="learning_rate", type="float"),),
        steps=(Step(name="train_model", argv=(("train.py",), ("--lr",), (LR,)), python=True),),
    )
    assert loaded.folder == folder
    assert loaded.text == SEED
    assert str(loaded.places["learning_rate"]) == f"{folder}/demo.yaml:3:13"


def test_the_fuller_form_loads(folder: Path) -> None:
    loaded = load(folder, FULLER)
    learning_rate, epochs, optimizer = loaded.pipeline.parameters
    assert (learning_rate.min, learning_rate.required, learning_rate.help) == (0.0, True, "step size")
    assert epochs.default == 10
    assert (optimizer.choices, optimizer.default) == (("sgd", "adam"), "sgd")
    train = loaded.pipeline.steps[1]
    assert (train.timeout_seconds, train.retries, train.queue) == (7200.0, 2, "gpu")
    assert train.outputs == ("model.pkl", "metrics.json")
    assert loaded.sweep_node is not None
    assert loaded.document.place(loaded.sweep_node).line == 18


def test_a_missing_value_names_the_line_of_the_declaration(folder: Path) -> None:
    loaded = load(folder, SEED)
    with pytest.raises(ValuesError) as caught:
        resolve_values(loaded.pipeline, {}, loaded.places)
    assert str(caught.value).endswith(
        "demo.yaml:3:13: the parameter 'learning_rate' has no default and was given no value "
        "(give one: -p learning_rate=…)"
    )


def test_a_loaded_pipeline_survives_json_with_the_types_of_its_values(folder: Path) -> None:
    text = """\
pipeline:
  parameters:
    f: {type: float, default: 10, min: 0, max: 1e3}
    i: {type: int, default: 1, choices: [0, 1]}
    b: {type: bool, default: 1}
    s: {type: string, default: 1, choices: ["1", "true", 1.0]}
    e: {type: string, default: ''}
  steps: [{name: a, run: "echo '' ${{ parameters.s }}", env: {A: "${{ run.id }}"}}]
"""
    pipeline = load(folder, text).pipeline
    again = Pipeline.from_json(json.loads(json.dumps(pipeline.as_json())))
    assert again == pipeline
    assert [repr(one) for one in again.parameters] == [repr(one) for one in pipeline.parameters]
    assert [one.default for one in again.parameters] == [10.0, 1, True, "1", ""]


@pytest.mark.parametrize(
    "parameters",
    [
        "[{name: x, type: int}, {name: y, type: str}]",
        "[x: {type: int}, y: {type: str}]",
        "{x: {type: int}, y: {type: str}}",
    ],
)
@pytest.mark.parametrize(
    "steps",
    [
        "[{name: a, run: echo}, {name: b, run: echo}]",
        "[a: {run: echo}, b: {run: echo}]",
        "{a: {run: echo}, b: {run: echo}}",
    ],
)
def test_every_form_of_parameters_and_steps_means_the_same(folder: Path, parameters: str, steps: str) -> None:
    pipeline = load(folder, f"pipeline: {{parameters: {parameters}, steps: {steps}}}").pipeline
    assert [(one.name, one.type) for one in pipeline.parameters] == [("x", "int"), ("y", "string")]
    assert [(one.name, words(one)) for one in pipeline.steps] == [("a", ["echo"]), ("b", ["echo"])]


@pytest.mark.parametrize("name", ["name", "run", "type", "on", "no"])
def test_a_word_of_the_format_can_be_a_name(folder: Path, name: str) -> None:
    text = f"pipeline:\n  parameters:\n  - {name}: {{type: int}}\n  steps:\n  - {name}: {{run: echo}}\n"
    pipeline = load(folder, text).pipeline
    assert (pipeline.parameters[0].name, pipeline.steps[0].name) == (name, name)


@pytest.mark.parametrize(
    ("file", "name"),
    [("my pipe.v2.yaml", "my_pipe_v2"), ("1st.yaml", "_1st"), ("é.yaml", "_"), (f"{'x' * 80}.yml", "x" * 64)],
)
def test_the_name_comes_from_the_file_when_it_is_not_written(folder: Path, file: str, name: str) -> None:
    (folder / file).write_text(SEED)
    assert load_pipeline(folder / file).pipeline.name == name


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("type: float, default: 1e-3", 0.001),
        ("type: number, default: 10", 10.0),
        ("type: integer, default: '7'", 7),
        ("type: boolean, default: on", True),
        ("type: bool, default: 0", False),
        ("type: string, default: on", "on"),
        ("type: str, default: 1.10", "1.10"),
        ("type: string, default: 2024-01-01", "2024-01-01"),
        ("type: string, default: ''", ""),
        ("type: string, default: 'null'", "null"),
        ("type: string, default: '$${{ x }}'", "${{ x }}"),
    ],
)
def test_the_declared_type_reads_the_source_text_of_a_default(folder: Path, body: str, value: Value) -> None:
    default = parameter(folder, body).default
    assert default == value
    assert type(default) is type(value)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("default: 1", "parameter 'x' has no type (add `type: float`, int, bool or string)"),
        ("type: ‸flaot", "'flaot' is not a type (did you mean 'float'?"),
        (
            "type: int, default: ‸1_000",
            "default of parameter 'x': '1_000' is not a whole number (write 1000",
        ),
        (
            "type: int, default: ‸0777",
            "default of parameter 'x': '0777' is not a whole number (write 777",
        ),
        ("type: float, default: ‸.nan", "default of parameter 'x': '.nan' is not a number (NaN"),
        ("type: string, default: ‸", "default of parameter 'x' has no value (write ''"),
        (
            "type: string, default: ‸null",
            "default of parameter 'x' is null, which means no value (write ''",
        ),
        ("type: string, default: ‸[a]", "default of parameter 'x' must be a single value, not a list"),
        (
            "type: string, default: '‸${{ run.id }}'",
            "an expression is not allowed in default of parameter 'x'",
        ),
        ("type: string, min: ‸1", "min of parameter 'x' makes no sense for a string"),
        ("type: int, min: ‸0.5", "min of parameter 'x': '0.5' is not a whole number"),
        ("type: int, min: 2, max: ‸1", "the maximum 1 is below the minimum 2"),
        ("type: int, default: ‸0, min: 1", "default of parameter 'x': 0 is below the minimum"),
        ("type: int, default: ‸3, max: 1", "default of parameter 'x': 3 is above the maximum"),
        ("type: int, choices: ‸[]", "choices of parameter 'x' is empty"),
        ("type: int, choices: ‸1", "choices of parameter 'x' must be a list"),
        ("type: float, choices: [1, ‸1e0]", "duplicate value '1.0' in choices of parameter 'x'"),
        ("type: int, max: 1, choices: [1, ‸2]", "choices of parameter 'x': 2 is above the maximum"),
        (
            "type: string, choices: [a], default: ‸b",
            "default of parameter 'x': 'b' is not one of the choices",
        ),
        ("type: int, ‸defualt: 1", "unknown key 'defualt' in parameter 'x' (did you mean 'default'?"),
    ],
)
def test_a_wrong_parameter_is_refused_at_its_place(folder: Path, body: str, problem: str) -> None:
    """The place is where `‸` stands, or else at the parameter's name."""
    before = f"pipeline: {{parameters: {{x: {{{body}"
    column = before.find("‸") + 1 or before.index("x:") + 1
    (refusal,) = parameter_refusals(folder, body.replace("‸", ""))
    assert refusal.startswith(f"demo.yaml:1:{column}: {problem}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("run: train.py --a 'b c'", ["train.py", "--a", "b c"]),
        ("run: [train.py, --a, 'b c']", ["train.py", "--a", "b c"]),
        ("run: ./lib/../train.py", ["train.py"]),
        ("run: lib/tool.py", ["lib/tool.py"]),
        ("run: python train.py", ["python", "train.py"]),
        ("run: [python, gen.py], args: [a b, '', '$HOME']", ["python", "gen.py", "a b", "", "$HOME"]),
        ("run: echo, args: a \\$HOME ''", ["echo", "a", "$HOME", ""]),
        ("run: echo, args: ", ["echo"]),
        ("run: echo, args: []", ["echo"]),
        ("run: /bin/true", ["/bin/true"]),
    ],
)
def test_a_command_is_split_into_words(folder: Path, body: str, expected: list[str]) -> None:
    loaded = step(folder, body)
    assert words(loaded) == expected
    assert loaded.python == expected[0].endswith(".py")


@pytest.mark.parametrize("word", HOSTILE)
def test_a_word_in_a_list_arrives_as_it_is(folder: Path, word: str) -> None:
    assert words(step(folder, f"run: [echo, {json.dumps(word)}]")) == ["echo", word]


@pytest.mark.parametrize("value", HOSTILE)
def test_an_environment_value_is_one_template_and_never_split(folder: Path, value: str) -> None:
    written = json.dumps(f"{value} ${{{{ parameters['x'] }}}}")
    env = step(folder, f"run: echo, env: {{A: {written}}}").env
    assert env == {"A": (f"{value} ", Reference(scope="parameters", name="x"))}


def test_an_executable_of_the_folder_needs_no_path(folder: Path) -> None:
    (folder / "tool").touch(mode=0o755)
    (folder / "data").touch(mode=0o644)
    assert words(step(folder, "run: tool x")) == ["./tool", "x"]
    assert words(step(folder, "run: data")) == ["data"]
    assert words(step(folder, "run: lib")) == ["lib"]


def test_a_script_that_is_not_there_is_refused_with_the_nearest(folder: Path) -> None:
    (problem,) = step_refusals(folder, "run: trian.py")
    assert problem.startswith(
        "demo.yaml:1:62: there is no script 'trian.py' in the pipeline's folder (did you mean 'train.py'?"
    )
    assert "`run: [python, gen.py]`" in problem


@pytest.mark.parametrize("script", ["/etc/x.py", "../x.py", "lib/../../x.py", "link/x.py"])
def test_a_script_outside_the_folder_is_refused(folder: Path, script: str) -> None:
    (folder / "link").symlink_to("/")
    (problem,) = step_refusals(folder, f"run: {script}")
    assert "is outside the pipeline's folder" in problem


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        ("1e1", 10),
        ("90s", 90),
        ("15m", 900),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1d", 86400),
        ("500ms", 0.5),
        ("1m500ms", 60.5),
        ("30d", 30 * 86400),
    ],
)
def test_a_timeout_is_seconds_or_a_duration(folder: Path, text: str, seconds: float) -> None:
    assert step(folder, f"run: echo, timeout: {text}").timeout_seconds == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2 GB", 2 * 10**9),
        ("2g", 2 * 10**9),
        ("1.5GB", 1_500_000_000),
        ("512MB", 512_000_000),
        ("2GiB", 2 * 1024**3),
        ("2Gi", 2 * 1024**3),
        ("512mib", 512 * 1024**2),
        ("1TB", 10**12),
        ("1000000", 10**6),
        ("4000kB", 4_000_000),
    ],
)
def test_a_memory_limit_is_an_amount_with_its_unit(folder: Path, text: str, size: int) -> None:
    assert step(folder, f"run: echo, memory: {text}").memory_bytes == size


def test_without_a_memory_limit_there_is_none(folder: Path) -> None:
    assert step(folder, "run: echo").memory_bytes is None


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("args: x", "step 'a' has no run"),
        ("run: echo, memory: 2", "memory of step 'a' must be at least 1 MB and at most 1000 TB (write it as 512MB"),
        ("run: echo, memory: 0GB", "memory of step 'a' must be at least 1 MB"),
        ("run: echo, memory: 9999TB", "at most 1000 TB"),
        ("run: echo, memory: -1GB", "'-1GB' is not an amount of memory (write it as 512MB"),
        ("run: echo, memory: lots", "'lots' is not an amount of memory"),
        ("run: echo, memory: 2iB", "'2iB' is not an amount of memory"),
        ("run: echo, memory: 2PB", "'2PB' is not an amount of memory"),
        ("run: echo, memory: 1e3MB", "'1e3MB' is not an amount of memory"),
        ("run: echo, memory: [2GB]", "memory of step 'a' must be a single value, not a list"),
        ("run: echo, memory: ", "memory of step 'a' has no value"),
        ("run: echo, memory: '${{ parameters.x }}'", "an expression is not allowed in memory of step 'a'"),
        ("run: ", "run of step 'a' has no value"),
        ("run: []", "run of step 'a' names no program"),
        ("run: ''", "run of step 'a' names no program"),
        ('run: [""]', "run of step 'a' names no program"),
        ("run: {a: b}", "run of step 'a' must be a text or a list of words"),
        ("run: [[a]]", "a word in run of step 'a' must be a single value, not a list"),
        ("run: '${{ parameters.x }} y'", "the program itself cannot hold an expression"),
        ("run: ['a${{ parameters.x }}']", "the program itself cannot hold an expression"),
        (
            "run: echo, args: ['${{ parameters.y }}']",
            "unknown parameter 'y' (declared parameters: x)",
        ),
        ('run: echo, args: "\'"', "this single quote is never closed"),
        ("run: echo, env: {A: '${{ x }}'}", "'x' is not an expression (did you mean parameters.x?"),
        ("run: echo, env: [A]", "env of step 'a' must be a mapping"),
        ("run: echo, env: {A-B: x}", "'A-B' cannot be the name of an environment variable"),
        (
            "run: echo, env: {A: }",
            "'A' in env of step 'a' has no value (write '' for an empty value)",
        ),
        (
            "run: echo, env: {PIPELINE_QUEUE_RUN: x}",
            "'PIPELINE_QUEUE_RUN' is reserved for pipeline_queue",
        ),
        ("run: echo, timeout: 0", "timeout of step 'a' must be more than 0"),
        ("run: echo, timeout: 31d", "timeout of step 'a' must be more than 0 and at most 30 days"),
        ("run: echo, timeout: 1:30", "'1:30' is not a duration"),
        ("run: echo, timeout: soon", "'soon' is not a duration"),
        ("run: echo, timeout: 1..5s", "'1..5s' is not a duration"),
        (
            "run: echo, timeout: '${{ parameters.x }}'",
            "an expression is not allowed in timeout of step 'a' (expressions are",
        ),
        ("run: echo, retries: 1.0", "retries of step 'a': '1.0' is not a whole number (write 1)"),
        ("run: echo, retries: 101", "retries of step 'a': 101 is above the maximum"),
        ("run: echo, queue: a b", "'a b' is not a valid queue name"),
        ("run: echo, queue: '${{ parameters.x }}'", "an expression is not allowed in queue of step 'a'"),
        ("run: echo, outputs: [/x]", "'/x' cannot be an output"),
        ("run: echo, outputs: a/../../x", "'a/../../x' cannot be an output"),
        ("run: echo, outputs: ['']", "'' cannot be an output"),
        ("run: echo, outputs: [.]", "'.' cannot be an output"),
        ("run: echo, outputs: [a, ./a/]", "'./a/' is listed twice in outputs of step 'a'"),
        ("run: echo, outputs: ['${{ run.id }}']", "an expression is not allowed in a path in outputs"),
        ("run: echo, outpus: a", "unknown key 'outpus' in step 'a' (did you mean 'outputs'?"),
    ],
)
def test_a_wrong_step_is_refused_once(folder: Path, body: str, problem: str) -> None:
    (refusal,) = step_refusals(folder, body)
    assert problem in refusal


@pytest.mark.parametrize(("written", "outputs"), [("a", ("a",)), ("[./a/, b//c]", ("a", "b/c")), ("", ())])
def test_outputs_are_normalised(folder: Path, written: str, outputs: tuple[str, ...]) -> None:
    assert step(folder, f"run: echo, outputs: {written}").outputs == outputs


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "steps:\n- a: {run: x}\n",
            "1:1: the outer key `pipeline` is missing (put `pipeline:` in the first line",
        ),
        ("pipline: {steps: {a: {run: x}}}", "1:1: the outer key `pipeline` is missing"),
        ("[a]", "1:1: a pipeline file must be a mapping, not a list"),
        ("pipeline:\n", "1:10: pipeline is empty"),
        ("pipeline: x", "1:11: pipeline must be a mapping, not a single value"),
        ("pipeline: {name: p}", "1:11: the pipeline has no steps"),
        ("pipeline: {steps: []}", "1:19: steps is empty"),
        ("pipeline: {steps: x}", "1:19: steps must be a list or a mapping of names"),
        ("pipeline: {steps: [x]}", "1:20: the step 'x' must be a mapping"),
        ("pipeline: {steps: [{run: x}]}", "1:20: a step has no name"),
        (
            "pipeline: {steps: [a: b]}",
            "1:23: the step 'a' must be a mapping, not a single value (write `a: {run: …}`)",
        ),
        (
            "pipeline:\n  steps:\n    - a:\n      run: x\n",
            "3:7: the step 'a' has its keys beside it, not below it",
        ),
        ("pipeline: {steps: {'a b': {run: x}}}", "1:20: 'a b' cannot be the name of a step"),
        (
            "pipeline: {name: '${{ run.id }}', steps: {a: {run: x}}}",
            "1:19: an expression is not allowed in the name",
        ),
        (
            "pipeline: {nam: p, steps: {a: {run: x}}}",
            "1:12: unknown key 'nam' in the pipeline (did you mean 'name'?",
        ),
        ("pipeline: {steps: {a: {run: x}}, sweep: 3}", "1:41: sweep must be a mapping"),
        (
            "pipeline: {steps: [a: {run: x}, a: {run: y}]}",
            "1:33: duplicate step 'a'; the first is at demo.yaml:1:20",
        ),
        ("pipeline: {help: a, description: b, steps: {a: {run: x}}}", "1:34: the pipeline has both help and"),
    ],
)
def test_a_wrong_outline_is_refused_at_its_place(folder: Path, text: str, problem: str) -> None:
    assert refusals(folder, text)[0].startswith(f"demo.yaml:{problem}")


def test_an_expression_in_a_flow_list_without_quotes_says_what_to_do(folder: Path) -> None:
    (problem,) = refusals(folder, "pipeline:\n  steps:\n  - a: {run: x, args: [--lr, ${{ run.id }}]}\n")
    assert "put a text with ${{ … }} in quotes" in problem


@pytest.mark.parametrize(("count", "kind"), [(MAX_STEPS + 1, "steps"), (201, "parameters")])
def test_too_many_members_are_refused(folder: Path, count: int, kind: str) -> None:
    body = ", ".join(f"m{number}: {{{'run: x' if kind == 'steps' else 'type: int'}}}" for number in range(count))
    steps = "" if kind == "steps" else ", steps: {a: {run: x}}"
    (problem,) = refusals(folder, f"pipeline: {{{kind}: {{{body}}}{steps}}}")
    assert f"there are {count} {kind}" in problem


def test_every_problem_is_reported_at_once_in_the_order_of_the_file(folder: Path) -> None:
    text = FULLER.replace("type: int", "type: it").replace("prepare.py", "prepar.py")
    text = text.replace("parameters.epochs", "parameters.epoch").replace(
        "retries: 2", "retries: many\n        retries: 3"
    )
    places = [problem.split(": ")[0] for problem in refusals(folder, text)]
    assert places == [
        "demo.yaml:5:28",
        "demo.yaml:9:14",
        "demo.yaml:12:61",
        "demo.yaml:14:18",
        "demo.yaml:15:9",
    ]


def test_a_hundred_problems_are_enough(folder: Path) -> None:
    problems = refusals(folder, "pipeline:\n" + "".join(f"  k{number}: 1\n" for number in range(5_000)))
    assert len(problems) == 101
    assert "more problems" in problems[-1]


def test_a_reference_to_a_parameter_that_is_itself_wrong_is_no_second_problem(folder: Path) -> None:
    text = SEED.replace("type: float", "type: flaot")
    assert len(refusals(folder, text)) == 1
    assert (
        len(refusals(folder, SEED.replace("- name: learning_rate\n      type: float", "- learning_rate: float"))) == 1
    )


def test_defaults_can_be_shared_with_an_anchor(folder: Path) -> None:
    text = """\
pipeline:
  steps:
    - a: &common {run: echo, retries: 3, queue: gpu}
    - b: {<<: *common, retries: 1}
"""
    first, second = load(folder, text).pipeline.steps
    assert (second.argv, second.retries, second.queue) == (first.argv, 1, "gpu")


def test_a_pipeline_can_be_written_as_json(folder: Path) -> None:
    text = json.dumps({"pipeline": {"steps": [{"a": {"run": ["echo", "😀\u2028", "a\tb"]}}]}}, indent="\t")
    assert words(load(folder, text).pipeline.steps[0]) == ["echo", "😀\u2028", "a\tb"]


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(PipelineFileError, match="no such file"):
        load_pipeline(folder / "missing.yaml")


@pytest.mark.parametrize(
    ("name", "dump"),
    [("v.yaml", "lr: 1e-3\nopt: on\nv: 1.10\n"), ("v.json", '{"lr": 1e-3, "opt": "on", "v": "1.10"}')],
)
def test_a_file_of_values_gives_their_source_text_and_place(folder: Path, name: str, dump: str) -> None:
    (folder / name).write_text(dump)
    given = read_params_file(folder / name)
    assert {key: one.value for key, one in given.items()} == {"lr": "1e-3", "opt": "on", "v": "1.10"}
    assert given["lr"].place.source.endswith(name)
    assert given["lr"].place.line == 1


@pytest.mark.parametrize("value", [*HOSTILE, "${{ x }}", "😀\u2028\x85", "é" * 50_000])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_json_file_of_values_is_byte_exact(folder: Path, value: str, ascii_only: bool) -> None:
    (folder / "v.json").write_text(json.dumps({"x": value}, ensure_ascii=ascii_only), encoding="utf-8")
    assert read_params_file(folder / "v.json")["x"].value == value


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("x: [[1]]", "v.yaml:1:5: a value in the value of 'x' must be a single value, not a list"),
        ("x: [{a: 1}]", "v.yaml:1:5: a value in the value of 'x' must be a single value, not a mapping"),
        ("x: {a: 1}", "v.yaml:1:4: the value of 'x' must be a single value, not a mapping"),
        ("x:\ny: 1", "v.yaml:1:3: the value of 'x' has no value (write '' for an empty string"),
        ('{"x": null}', "v.yaml:1:7: the value of 'x' is null, which means no value"),
        ("- x", "v.yaml:1:1: a file of parameter values must be a mapping, not a list"),
        ("x: 1\nx: 2", "v.yaml:2:1: duplicate key 'x'"),
        ("", "v.yaml:1:1: the file is empty"),
        ('{"x": "\\ud83d"}', "v.yaml:1:"),
    ],
)
def test_a_wrong_file_of_values_is_refused_at_its_place(folder: Path, text: str, problem: str) -> None:
    (folder / "v.yaml").write_text(text)
    with pytest.raises(ValuesError) as caught:
        read_params_file(folder / "v.yaml")
    assert str(caught.value).replace(f"{folder}/", "").startswith(problem)


def test_an_empty_mapping_of_values_is_fine(folder: Path) -> None:
    (folder / "v.json").write_text("{}")
    assert read_params_file(folder / "v.json") == {}
