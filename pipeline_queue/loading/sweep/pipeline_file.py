"""Reads the `sweep:` of a pipeline file.

    sweep:
      grid: {lr: {logspace: [1e-4, 1e-1, 7]}, epochs: {range: [10, 50, 10]}, optimizer: [sgd, adam]}
      zip: {width: [32, 64], depth: [4, 2]}
      list: [{dropout: 0.1, decay: 0}, {dropout: 0.5}]
      csv: points.csv                      # or jsonl; relative to the pipeline's folder
      random: {count: 50, seed: 7, parameters: {momentum: {uniform: [0.5, 0.99]}, batch: {choice: [32, 64]}}}
      include: [{lr: 1, optimizer: sgd}]   # further points; defaults fill in what they do not name
      exclude: [{optimizer: adam, epochs: 10}]   # every point with all of these values
      repeat: 3
      max_runs: 1000                       # the first so many
      max_parallel: 8
      priority: low                        # high, normal or low
      on_failure: stop                     # or continue
      max_failures: 5
      unused: allow                        # or refuse: a parameter varies that no step uses

An axis is a list, one value, or `range`, `linspace` or `logspace`; a random parameter `uniform`, `loguniform`, `int`,
`choice`, or a list to choose from. `random` without `seed` has seed 0. Several of grid, zip, list, csv, jsonl and
random make a product, in the order they are written; the last axis varies fastest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline_queue.contract.errors import Place
from pipeline_queue.loading.fields import Fields
from pipeline_queue.loading.loader import LoadedPipeline
from pipeline_queue.loading.nodes import Mapping as MappingNode
from pipeline_queue.loading.nodes import Node, kind_of
from pipeline_queue.loading.sweep.axes import AXIS_FORMS, read_axis
from pipeline_queue.loading.sweep.draws import DRAW_FORMS, read_draw
from pipeline_queue.loading.sweep.findings import Findings
from pipeline_queue.loading.sweep.nodes import PartialPoint, SweepNodes
from pipeline_queue.loading.sweep.points_file import read_points_file
from pipeline_queue.loading.sweep.rows import Rows
from pipeline_queue.loading.sweep.settings import COUNT, NUMBERS, SEED, SETTINGS
from pipeline_queue.model.pipeline import Value
from pipeline_queue.space import Axis, Columns, Draw, Factor, Random

_SOURCES = ("grid", "zip", "list", "csv", "jsonl", "random")
_KEYS = (*_SOURCES, "include", "exclude", *NUMBERS, *SETTINGS)


@dataclass(frozen=True)
class SweepSources:
    """What a `sweep:` says, as far as it is right; `settings` and `numbers` hold what is written only.

    `names` are all parameters its sources speak of, unless `names_are_all` says that some could not be read.
    """

    names: frozenset[str] = frozenset()
    names_are_all: bool = True
    factors: tuple[Factor, ...] = ()
    include: tuple[PartialPoint, ...] = ()
    exclude: tuple[PartialPoint, ...] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Value] = field(default_factory=dict)


def read_sweep(loaded: LoadedPipeline, findings: Findings) -> SweepSources:
    """What the file says, as far as it is right; nothing when it has no `sweep:`."""
    if loaded.sweep_node is None:
        return SweepSources()
    parameters = {parameter.name: parameter for parameter in loaded.pipeline.parameters}
    return _SweepReader(loaded, SweepNodes(loaded.document, findings, parameters)).read(loaded.sweep_node)


class _SweepReader:
    def __init__(self, loaded: LoadedPipeline, nodes: SweepNodes) -> None:
        self._loaded = loaded
        self._nodes = nodes
        self._reading = nodes.reading
        self._findings = nodes.findings
        self._claimed: dict[str, str] = {}

    def read(self, sweep: MappingNode) -> SweepSources:
        fields = Fields(self._reading, sweep, "the sweep", _KEYS)
        factors: list[Factor] = []
        names_are_all = True
        for key, node in sweep.entries:
            before = len(self._claimed)
            factors += self._factors(key.text, node)
            names_are_all &= key.text not in _SOURCES or len(self._claimed) > before
        points = {
            name: self._nodes.partial_points(written, name)
            for name in ("include", "exclude")
            if (written := fields.get(name))
        }
        read = {
            name: self._nodes.setting(parameter, written, "the sweep")
            for name, parameter in {**NUMBERS, **SETTINGS}.items()
            if (written := fields.get(name))
        }
        return SweepSources(
            names=frozenset(self._claimed),
            names_are_all=names_are_all,
            factors=tuple(factors),
            include=points.get("include", ()),
            exclude=points.get("exclude", ()),
            numbers={name: value for name, value in read.items() if name in NUMBERS and isinstance(value, int)},
            settings={name: value for name, value in read.items() if name in SETTINGS and value is not None},
        )

    def _factors(self, key: str, node: Node) -> list[Factor]:
        """The factors of one source; none for another key, and for a source that is wrong."""
        if key == "grid":
            return [Columns({name: axis}) for name, axis in self._axes(node, key).items()]
        read = {"zip": self._zip, "list": self._list, "random": self._random}.get(key)
        if key in ("csv", "jsonl"):
            factor: Factor | None = self._file(node, key)
        else:
            factor = read(node) if read else None
        return [factor] if factor else []

    def _axes(self, node: Node, source: str) -> dict[str, Axis]:
        axes: dict[str, Axis] = {}
        for parameter, key, value in self._nodes.members(node, f"{source} of the sweep", "{name: [values]}"):
            self._claim(parameter.name, source, self._nodes.place(key))
            written = self._nodes.written(parameter, value, AXIS_FORMS)
            axis = written and read_axis(self._findings, parameter, written, distinct=source != "zip")
            if axis:
                axes[parameter.name] = axis
        return axes

    def _zip(self, node: Node) -> Factor | None:
        axes = self._axes(node, "zip")
        return zipped(self._findings, self._nodes.place(node), axes) if axes else None

    def _list(self, node: Node) -> Factor | None:
        items = self._reading.items(node, "list of the sweep")
        places = [self._nodes.place(item) for item in items]
        rows = Rows(self._findings, self._nodes.parameters, self._nodes.place(node), places.__getitem__)
        for number, item in enumerate(items):
            rows.add(number, self._nodes.texts_of_point(item, "a point of list"))
        return self._claim_all(rows.columns(), "list", self._nodes.place(node))

    def _file(self, node: Node, key: str) -> Factor | None:
        name = self._reading.text(node, f"{key} of the sweep", "write the path of a file")
        if name is None:
            return None
        place = self._nodes.place(node)
        if not name.lower().endswith(f".{key}"):
            self._reading.add(node, f"a file of {key} must end in .{key}", "rename it, or use the other key")
            return None
        shown = str(self._loaded.path.parent / name)
        path = self._loaded.folder / name
        columns = read_points_file(self._findings, self._nodes.parameters, path, shown, place)
        return self._claim_all(columns, key, place)

    def _random(self, node: Node) -> Factor | None:
        if not isinstance(node, MappingNode):
            hint = "write {count: 50, seed: 7, parameters: {…}}"
            self._reading.add(node, f"random of the sweep must be a mapping, not {kind_of(node)}", hint)
            return None
        fields = Fields(self._reading, node, "random", ("count", "seed", "parameters"))
        numbers: dict[str, Value | None] = {"seed": 0}
        for parameter in (COUNT, SEED):
            if (value := fields.get(parameter.name)) is not None:
                numbers[parameter.name] = self._nodes.setting(parameter, value, "random")
            elif parameter is COUNT:
                self._reading.add(node, "random has no count", "add `count: 50`, the number of points to draw")
        draws = self._draws(node, fields.get("parameters"))
        count, seed = numbers.get("count"), numbers["seed"]
        if not draws or not isinstance(count, int) or not isinstance(seed, int):
            return None
        return Random(count, seed, draws)

    def _draws(self, random: Node, node: Node | None) -> dict[str, Draw]:
        if node is None:
            self._reading.add(random, "random has no parameters", "add `parameters: {name: {uniform: [0, 1]}}`")
            return {}
        draws: dict[str, Draw] = {}
        for parameter, key, value in self._nodes.members(node, "parameters of random", "{name: {uniform: [0, 1]}}"):
            self._claim(parameter.name, "random", self._nodes.place(key))
            written = self._nodes.written(parameter, value, DRAW_FORMS)
            draw = written and read_draw(self._findings, parameter, written)
            if draw:
                draws[parameter.name] = draw
        return draws

    def _claim(self, name: str, source: str, place: Place) -> None:
        """A parameter gets its values from one source."""
        first = self._claimed.setdefault(name, source)
        if first != source:
            self._findings.problems.add(place, f"{name!r} is in {first} and in {source}", "keep one of them")

    def _claim_all(self, columns: Columns | None, source: str, place: Place) -> Columns | None:
        for name in columns.names if columns else ():
            self._claim(name, source, place)
        return columns


def zipped(findings: Findings, place: Place, axes: Mapping[str, Axis]) -> Columns | None:
    """Axes of one length side by side, equal rows once; None with a problem when the lengths differ."""
    if len({axis.count for axis in axes.values()}) > 1:
        lengths = ", ".join(f"{name} has {axis.count:,}" for name, axis in axes.items())
        findings.problems.add(place, f"axes of a zip must have equal length, but {lengths}", "make them equally long")
        return None
    columns = Columns(axes)
    distinct = columns.distinct()
    findings.note_duplicates(place, columns.count - distinct.count, "point")
    return distinct
