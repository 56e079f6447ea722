"""What a caller asks of a sweep beside the pipeline file, and reads it into factors, draws and fixed values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.sweep.axes import VALUES, Written, read_axis
from pipeline_queue.loading.sweep.draws import DRAW_FORMS, read_draw
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.loading.sweep.pipeline_file import zipped
from pipeline_queue.loading.sweep.points_file import read_points_file
from pipeline_queue.loading.sweep.settings import NUMBERS, SEED, SETTINGS
from pipeline_queue.loading.sweep.texts import notes_on, written_text
from pipeline_queue.model.parameters import BadValueError, Given, given_on_command_line, read_given
from pipeline_queue.model.pipeline import Parameter, Pipeline, Value
from pipeline_queue.model.problems import quoted, shown
from pipeline_queue.space import Axis, Columns, Draw, Values


@dataclass(frozen=True)
class SweepRequest:
    """The command line's options, or a Python caller's arguments; None is what was not asked for.

    `texts` are the `NAME=TEXT` of `-p`. `given` are values taken as they are, as from a file of parameters or from
    Python; a list, tuple or range of them is an axis, a list of lists for a parameter that is a list. `texts` win over
    `given`, and both over the file's `sweep:`.
    """

    texts: tuple[str, ...] = ()
    given: Mapping[str, Given] = field(default_factory=dict)
    zips: tuple[str, ...] = ()
    points: Path | None = None
    random: int | None = None
    seed: int | None = None
    repeat: int | None = None
    max_runs: int | None = None
    max_parallel: int | None = None
    priority: str | None = None
    on_failure: str | None = None
    max_failures: int | None = None
    unused: str | None = None


@dataclass(frozen=True)
class Requested:
    """A request, checked as far as it is right.

    `names` are all parameters it speaks of, right or wrong, unless `names_are_all` says that some could not be read.
    """

    names: frozenset[str]
    names_are_all: bool
    fixed: Mapping[str, Value]
    factors: tuple[Columns, ...]
    draws: Mapping[str, Draw]
    draw_places: Mapping[str, Place]
    numbers: Mapping[str, Value]


def read_request(pipeline: Pipeline, request: SweepRequest, findings: Findings) -> Requested:
    """Adds every problem of the request to the findings."""
    return _RequestReader(pipeline, request, findings).read()


class _RequestReader:
    def __init__(self, pipeline: Pipeline, request: SweepRequest, findings: Findings) -> None:
        self._parameters = {parameter.name: parameter for parameter in pipeline.parameters}
        self._request = request
        self._findings = findings
        self._fixed: dict[str, Value] = {}
        self._axes: dict[str, Axis] = {}
        self._draws: dict[str, Draw] = {}
        self._draw_places: dict[str, Place] = {}

    def read(self) -> Requested:
        given = {name: (one, False) for name, one in self._request.given.items()}
        given |= {name: (one, True) for name, one in self._texts().items()}
        groups = self._zip_groups(given)
        zipped_names = {name for group, _ in groups for name in group}
        for name, (one, is_text) in given.items():
            parameter = self._findings.declared(one.place, name, self._parameters)
            if parameter:
                self._read_one(parameter, one, is_text, name in zipped_names)
        points = self._points(given)
        return Requested(
            names=frozenset([*given, *(points.names if points else ())]),
            names_are_all=points is not None or self._request.points is None,
            fixed=self._fixed,
            factors=(*([points] if points else []), *self._factors(groups)),
            draws=self._draws,
            draw_places=self._draw_places,
            numbers=self._numbers(),
        )

    def _texts(self) -> dict[str, Given]:
        given: dict[str, Given] = {}
        for text in self._request.texts:
            name, equals, value = text.partition("=")
            one = given_on_command_line(name, value)
            if not equals or not name:
                place = Place(f"-p {quoted(text)}")
                self._findings.problems.add(place, "expected NAME=VALUE", "for example -p learning_rate=0.01,0.1")
                continue
            if name in given:
                self._findings.problems.add(one.place, f"{quoted(name)} is given twice", "write all its values at once")
            given[name] = one
        return given

    def _zip_groups(self, given: Collection[str]) -> list[tuple[tuple[str, ...], Place]]:
        """The groups of `--zip`, each with its place; names that no value is given for are problems."""
        groups: list[tuple[tuple[str, ...], Place]] = []
        seen: set[str] = set()
        for text in self._request.zips:
            place = Place(f"--zip {shown(text)}")
            names = tuple(name.strip() for name in text.split(","))
            for name in names:
                if name not in given:
                    what = "axes of -p"
                    self._findings.problems.add_unknown(place, f"unknown axis {quoted(name)}", name, given, what)
                elif name in seen:
                    self._findings.problems.add(place, f"{quoted(name)} is zipped twice", "name it once")
                seen.add(name)
            groups.append((names, place))
        return groups

    def _read_one(self, parameter: Parameter, one: Given, is_text: bool, is_zipped: bool) -> None:
        """Puts a parameter among the fixed values, the axes or the draws."""
        try:
            written = self._written(parameter, one, is_text)
        except BadValueError as error:
            self._findings.refuse(one.place, parameter.name, error)
            return
        if is_text and isinstance(one.value, str) and written.kind == VALUES:
            for note in notes_on(parameter, one.value, written):
                self._findings.notes.append(f"{one.place}: {note}")
        if written.kind in DRAW_FORMS:
            draw = read_draw(self._findings, parameter, written)
            self._draw_places[parameter.name] = one.place
            if is_zipped:
                self._findings.problems.add(one.place, "random values cannot be zipped", "list the values")
            if draw:
                self._draws[parameter.name] = draw
            return
        axis = read_axis(self._findings, parameter, written, distinct=not is_zipped)
        if axis is None:
            return
        if isinstance(axis, Values) and len(written.args) == 1 and not is_zipped:
            self._fixed[parameter.name] = axis.values[0]
        else:
            self._axes[parameter.name] = axis

    def _written(self, parameter: Parameter, one: Given, is_text: bool) -> Written:
        if is_text and isinstance(one.value, str):
            return written_text(parameter, one.value, one)
        several = one.value if isinstance(one.value, list | tuple | range) else (one.value,)
        if parameter.is_list and not any(isinstance(value, list | tuple) for value in several):
            several = (one.value,)
        return Written(VALUES, tuple(Given(value, one.place) for value in several), one.place)

    def _factors(self, groups: list[tuple[tuple[str, ...], Place]]) -> list[Columns]:
        """The axes in the order given; those of a zip stand where the first of them does."""
        group_of = {name: group for group in groups for name in group[0]}
        factors: list[Columns] = []
        done: set[str] = set()
        for name, axis in self._axes.items():
            if name in done:
                continue
            names, place = group_of.get(name, ((name,), Place(name)))
            axes = {other: self._axes[other] for other in names if other in self._axes}
            columns = zipped(self._findings, place, axes) if name in group_of else Columns({name: axis})
            done.update(names)
            factors += [columns] if columns else []
        return factors

    def _points(self, given: Collection[str]) -> Columns | None:
        path = self._request.points
        if path is None:
            return None
        columns = read_points_file(self._findings, self._parameters, path, str(path))
        for name in columns.names if columns else ():
            if name in given:
                message = f"{name!r} is both in the file and on the command line"
                self._findings.problems.add(Place(str(path)), message, "keep one of the two")
        return columns

    def _numbers(self) -> dict[str, Value]:
        """The numbers and words of the request that were given, checked."""
        numbers: dict[str, Value] = {}
        random = NUMBERS["repeat"].model_copy(update={"name": "random"})
        for parameter in (random, SEED, *NUMBERS.values(), *SETTINGS.values()):
            value = getattr(self._request, parameter.name)
            if value is None:
                continue
            place = Place("--" + parameter.name.replace("_", "-"))
            try:
                numbers[parameter.name] = read_given(parameter, Given(value, place))
            except BadValueError as error:
                self._findings.problems.add(place, error.message, error.hint)
        return numbers
