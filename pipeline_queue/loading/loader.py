"""Loads a pipeline file, or a file of parameter values, and reports all its problems at once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_queue.contract.errors import PipelineFileError, Place, Problem, ValuesError
from pipeline_queue.loading.declarations import Declared, read_parameters
from pipeline_queue.loading.document import Document, read_document
from pipeline_queue.loading.fields import HELP_KEYS, Fields, Reading
from pipeline_queue.loading.links import read_links
from pipeline_queue.loading.nodes import Mapping, Node, Scalar, Sequence, kind_of
from pipeline_queue.loading.preloads import read_preload
from pipeline_queue.loading.programs import Programs
from pipeline_queue.loading.steps import read_steps
from pipeline_queue.loading.usage import Texts, warn_of_unused
from pipeline_queue.model.parameters import Given
from pipeline_queue.model.pipeline import Pipeline
from pipeline_queue.model.problems import Problems

_KEYS = ("name", *HELP_KEYS, "parameters", "preload", "links", "steps", "sweep")
_OUTER_HINT = "put `pipeline:` in the first line and everything else below it, indented"


@dataclass(frozen=True)
class LoadedPipeline:
    """A valid pipeline, with what later stages need to report on its file.

    `places` says where each parameter is declared; `sweep_node` is the unread `sweep:` mapping. `warnings` are what a
    person should see before anything starts, in the order of the file; `unused` the parameters that no step uses, each
    with what to do about it.
    """

    path: Path
    folder: Path
    pipeline: Pipeline
    places: dict[str, Place]
    document: Document
    sweep_node: Mapping | None = None
    warnings: tuple[Problem, ...] = ()
    unused: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.document.text


def load_pipeline(path: Path) -> LoadedPipeline:
    """Raises `PipelineFileError` with every problem, in the order of the file."""
    document = read_document(path)
    problems = Problems(document.problems)
    reading = Reading(document, problems)
    folder = path.absolute().parent
    body = _outer_mapping(reading, document.root) if document.root is not None else None
    loaded = _read_pipeline(reading, body, path, folder) if body is not None else None
    if loaded is None:
        raise PipelineFileError(problems.in_order_of_place())
    return loaded


def read_params_file(path: Path) -> dict[str, Given]:
    """The values of a YAML or JSON file of `name: value`, unread; raises `ValuesError` with every problem."""
    document = read_document(path)
    problems = Problems(document.problems)
    reading = Reading(document, problems)
    given: dict[str, Given] = {}
    if isinstance(document.root, Mapping):
        for key, value in document.root.entries:
            what = f"the value of {key.text!r}" if len(key.text) <= 64 else "this value"
            hint = "write '' for an empty string, quotes around the word null, or remove the line"
            if isinstance(value, Sequence):
                text = reading.list_text(value, what)
                if text is not None:
                    given[key.text] = Given(text, document.place(value))
                continue
            scalar = reading.scalar(value, what, hint if isinstance(value, Scalar) else "")
            if scalar is not None:
                given[key.text] = Given(scalar.text, document.place(scalar))
    elif document.root is not None:
        message = f"a file of parameter values must be a mapping, not {kind_of(document.root)}"
        reading.add(document.root, message, "write lines of `name: value`")
    if problems:
        raise ValuesError(problems.in_order_of_place())
    return given


def _outer_mapping(reading: Reading, root: Node) -> Mapping | None:
    """What stands below `pipeline:`."""
    if not isinstance(root, Mapping):
        reading.add(root, f"a pipeline file must be a mapping, not {kind_of(root)}", _OUTER_HINT)
        return None
    body = root.get("pipeline")
    if body is None:
        known = {key.text for key, _ in root.entries} & set(_KEYS)
        hint = _OUTER_HINT if known else "a pipeline file begins with `pipeline:`"
        reading.add(root, "the outer key `pipeline` is missing", hint)
        if not known:
            Fields(reading, root, "the file", ("pipeline",))
        return None
    Fields(reading, root, "the file", ("pipeline",))
    if isinstance(body, Mapping):
        return body
    if isinstance(body, Scalar) and body.is_null:
        reading.add(body, "pipeline is empty", "indent parameters and steps below it")
    else:
        reading.add(body, f"pipeline must be a mapping, not {kind_of(body)}", "write its keys below it")
    return None


def _read_pipeline(reading: Reading, body: Mapping, path: Path, folder: Path) -> LoadedPipeline | None:
    """The loaded pipeline, or None when there are problems."""
    fields = Fields(reading, body, "the pipeline", _KEYS)
    place = reading.document.place(body)
    name_node = fields.get("name")
    name = _name_of_file(path) if name_node is None else reading.name(name_node, "the name of a pipeline")
    help_text = fields.help()
    declared = read_parameters(reading, fields.get("parameters"))
    texts = Texts()
    preload, programs, parameters = read_preload(fields), Programs(folder), declared.parameters
    steps = read_steps(reading, fields.get("steps"), place, programs, declared.names, preload, texts, parameters)
    _warn_of_paths_in_defaults(reading, declared, programs)
    links = read_links(fields, folder)
    sweep = fields.get("sweep")
    if sweep is not None and not isinstance(sweep, Mapping):
        reading.add(sweep, f"sweep must be a mapping, not {kind_of(sweep)}", "write its keys below it, or remove it")
    if reading.problems or name is None:
        return None
    pipeline = Pipeline(name=name, parameters=declared.parameters, steps=steps, help=help_text, links=links)
    sweep_node = sweep if isinstance(sweep, Mapping) else None
    unused = warn_of_unused(reading, steps, declared.places, texts)
    warnings = reading.warnings.in_order_of_place()
    return LoadedPipeline(path, folder, pipeline, declared.places, reading.document, sweep_node, warnings, unused)


def _warn_of_paths_in_defaults(reading: Reading, declared: Declared, programs: Programs) -> None:
    for parameter in declared.parameters:
        found = programs.find_project_path(parameter.default) if isinstance(parameter.default, str) else None
        if found and parameter.name in declared.places:
            reading.warnings.add(declared.places[parameter.name], f"parameter {parameter.name}: {found[0]}", found[1])


def _name_of_file(path: Path) -> str:
    """The file's name without its ending, made to follow the rule for names."""
    cleaned = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)
    return (cleaned if re.match("[A-Za-z_]", cleaned) else f"_{cleaned}")[:64]
