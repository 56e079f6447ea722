"""Puts together the space of a sweep from the pipeline file's `sweep:` and what a caller asks for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipeline_queue.contract.errors import PipelineFileError, Place, ValuesError
from pipeline_queue.contract.wording import counted
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.sweep.corrections import excluded_patterns, included_points, without_members
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.loading.sweep.pipeline_file import SweepSources, read_sweep
from pipeline_queue.loading.sweep.request import Requested, SweepRequest, read_request
from pipeline_queue.loading.sweep.settings import MAX_RUNS
from pipeline_queue.model.pipeline import Value
from pipeline_queue.model.sweep_settings import SweepSettings
from pipeline_queue.space import Columns, Factor, Product, Random, Space, TooManyExclusionsError


@dataclass(frozen=True, slots=True)
class BuiltSpace:
    """A space that is right, how to work on it, and what a reader should know of what was put right."""

    space: Space
    settings: SweepSettings
    notes: tuple[str, ...] = ()


def build_space(loaded: LoadedPipeline, request: SweepRequest) -> BuiltSpace:
    """Raises ValuesError, or PipelineFileError when the file has problems too, with every problem of both.

    Nothing is written; the files of points that are named are read.
    """
    in_file, in_request = Findings(), Findings()
    sources = read_sweep(loaded, in_file)
    requested = read_request(loaded.pipeline, request, in_request)
    _check_all_given(loaded, sources, requested, in_request)
    _raise_problems(in_file, in_request)
    builder = _Builder(loaded, sources, requested, in_file, in_request)
    space = builder.space()
    _raise_problems(in_file, in_request)
    assert space is not None
    settings: dict[str, Any] = {
        name: value
        for name, value in {**sources.settings, **requested.numbers}.items()
        if name in SweepSettings.__dataclass_fields__
    }
    return BuiltSpace(space, SweepSettings(**settings), (*in_file.notes, *in_request.notes))


def check_sweep(loaded: LoadedPipeline) -> tuple[str, ...]:
    """The notes on the `sweep:` of a file, which is checked as for a sweep that gives no further values.

    Where a required parameter has no value yet, how its parts fit together is left to the sweep that gives one. Raises
    PipelineFileError with every problem.
    """
    findings = Findings()
    sources = read_sweep(loaded, findings)
    if loaded.sweep_node is not None and not findings.problems:
        requested = read_request(loaded.pipeline, SweepRequest(), findings)
        missing = Findings()
        _check_all_given(loaded, sources, requested, missing)
        builder = _Builder(loaded, sources, requested, findings, findings)
        if missing.problems:
            builder.check_used(name for factor in sources.factors for name in factor.varied)
        else:
            builder.space()
    if findings.problems:
        raise PipelineFileError(findings.problems.in_order_of_place())
    return tuple(findings.notes)


def _raise_problems(in_file: Findings, in_request: Findings) -> None:
    problems = (*in_file.problems.in_order_of_place(), *in_request.problems.as_added())
    if in_file.problems:
        raise PipelineFileError(problems)
    if problems:
        raise ValuesError(problems)


def _check_all_given(loaded: LoadedPipeline, sources: SweepSources, requested: Requested, in_request: Findings) -> None:
    """Whether every parameter has a value from somewhere, as far as what was written could be read."""
    only_included = sources.include and not (sources.names or requested.factors or requested.draws)
    if only_included or not (sources.names_are_all and requested.names_are_all):
        return
    for parameter in loaded.pipeline.parameters:
        if parameter.required and parameter.name not in sources.names | requested.names:
            place = loaded.places.get(parameter.name, Place(loaded.pipeline.name))
            message = f"the parameter {parameter.name!r} has no default and was given no value"
            in_request.problems.add(place, message, f"give values: -p {parameter.name}=…")


class _Builder:
    """Everything was read without problems; what can still be wrong is how it fits together."""

    def __init__(
        self,
        loaded: LoadedPipeline,
        sources: SweepSources,
        requested: Requested,
        in_file: Findings,
        in_request: Findings,
    ) -> None:
        self._loaded = loaded
        self._sources = sources
        self._requested = requested
        self._in_file = in_file
        self._in_request = in_request
        self._parameters = {parameter.name: parameter for parameter in loaded.pipeline.parameters}
        self._fixed: dict[str, Value] = {}

    def space(self) -> Product | None:
        """None with problems."""
        factors = self._factors()
        in_factors = {name for factor in factors for name in factor.names}
        defaults = {name: one.default for name, one in self._parameters.items() if one.default is not None}
        single = {**defaults, **self._requested.fixed}
        included = included_points(self._in_file, self._sources.include, self._parameters, single, self._requested)
        self._fixed = {name: value for name, value in single.items() if name not in in_factors}
        if included and not factors:
            # Points that are added to nothing are all there is.
            factors, included, self._fixed = (included,), None, {}
        if self._in_file.problems or self._in_request.problems:
            return None
        return self._product(factors, included)

    def check_used(self, varied: Iterable[str]) -> None:
        """Runs that differ only in what no step uses would be the same run."""
        allowed = {**self._sources.settings, **self._requested.numbers}.get("unused") == "allow"
        for name in () if allowed else varied:
            if name in self._loaded.unused:
                place = self._loaded.places.get(name, Place(self._loaded.pipeline.name))
                hint = f"{self._loaded.unused[name]}; `unused: allow` below `sweep:` or --unused allow runs it anyway"
                self._in_request.problems.add(place, f"the sweep varies {name!r}, which no step uses", hint)

    def _factors(self) -> tuple[Factor, ...]:
        """The file's, without what the request names; then the request's, random ones last."""
        file_random: Random | None = None
        factors: list[Factor] = []
        position: int | None = None
        for factor in self._sources.factors:
            if isinstance(factor, Random):
                file_random, position = factor, len(factors)
                continue
            left = factor.without(self._requested.names)
            if left is not None and len(left.names) < len(factor.names):
                before, left = left.count, left.distinct()
                place = Place(self._loaded.document.source.name)
                self._in_file.note_duplicates(place, before - left.count, "point", " and ".join(left.names))
            factors += [left] if left else []
        position = len(factors) + len(self._requested.factors) if position is None else position
        factors += self._requested.factors
        random = self._random(file_random)
        return (*factors[:position], *([random] if random else []), *factors[position:])

    def _random(self, of_file: Random | None) -> Random | None:
        numbers = self._requested.numbers
        problems = self._in_request.problems
        left = of_file.without(self._requested.names) if of_file else None
        draws = {**(left.draws if left else {}), **self._requested.draws}
        count, seed = numbers.get("random"), numbers.get("seed")
        if not draws:
            for option in (option for option in ("random", "seed") if option in numbers):
                hint = "for example -p learning_rate=loguniform(1e-4,1e-1)"
                problems.add(Place(f"--{option}"), "no parameter has a distribution", hint)
            return None
        if count is None and of_file is None:
            for name, place in self._requested.draw_places.items():
                hint = "add --random N, the number of points to draw"
                problems.add(place, f"parameter {name}: random values need a number of points", hint)
            return None
        count = of_file.count if count is None and of_file else count
        seed = of_file.seed if seed is None and of_file else seed or 0
        assert isinstance(count, int) and isinstance(seed, int)
        return Random(count, seed, draws)

    def _product(self, factors: tuple[Factor, ...], included: Columns | None) -> Product | None:
        """None with problems."""
        excluded = self._sources.exclude
        numbers: Mapping[str, Any] = {**self._sources.numbers, **self._requested.numbers}
        product = Product(
            names=tuple(self._parameters),
            fixed=self._fixed,
            factors=factors,
            excluded=excluded_patterns(self._in_file, excluded, factors, self._fixed),
            repeat=numbers.get("repeat", 1),
            max_runs=numbers.get("max_runs"),
        )
        if included:
            product = replace(product, included=without_members(self._in_file, included, product))
        try:
            size = product.size
        except TooManyExclusionsError as error:
            hint = "name fewer parameters in each, or write the points as a list"
            self._in_file.problems.add(excluded[0].place, f"too much is excluded: {error}", hint)
            return None
        self.check_used(product.varied)
        if size == 0:
            self._in_file.problems.add(excluded[0].place, "every point is excluded", "exclude less")
        if size > MAX_RUNS:
            node = self._loaded.sweep_node
            place = self._loaded.document.place(node) if node else Place(self._loaded.pipeline.name)
            message = f"the sweep has {counted(size, 'run')}; at most {MAX_RUNS:,} are possible"
            hint = "take fewer values, a random sample, or the first of them: --max-runs N"
            self._in_request.problems.add(place, message, hint)
        return product
