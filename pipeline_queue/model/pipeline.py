"""A validated pipeline as frozen values: what the YAML says, with nothing left to guess."""

from __future__ import annotations

from collections.abc import Container
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str
ScalarType = Literal["float", "int", "bool", "string"]
ParameterType = ScalarType | Literal["list of float", "list of int", "list of bool", "list of string"]
"""A list is a text, that of `list_values.list_text`."""

Reuse = Literal["sweep", "always", "never"]
"""Which runs that need the same step share one execution of it: those of one sweep, those of all, or none."""

Keep = Literal["on_failure", "never"]
"""Whether what a failed or timed-out attempt left is kept for people to look at."""

DEFAULT_QUEUE = "default"


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Reference(Frozen):
    """One `${{ scope.name }}`: scope `parameters` with a declared name, `run` with `id` or `index`, `sweep` with `id`,
    or in the environment alone `worker` with the name of a variable of the worker's."""

    scope: Literal["parameters", "run", "sweep", "worker"]
    name: str
    spread: bool = False
    """A list alone in a word of a command: a word for each of its values."""


Template = tuple[str | Reference, ...]
"""One argv element or environment value: literal text and references, joined without separators."""


class OptionalWords(Frozen):
    """Words that are there when the condition (`optional_words.py`) holds, and those that are there otherwise.

    `asks` are the parameters of the condition, `lists` those of them that hold lists.
    """

    condition: str
    asks: tuple[str, ...]
    lists: tuple[str, ...] = ()
    then: tuple[Template, ...] = ()
    otherwise: tuple[Template, ...] = ()


class Parameter(Frozen):
    """A declared parameter; `default`, `min`, `max` and `choices` are typed values already.

    The bounds and choices of a list are those of each of its values.
    """

    name: str
    type: ParameterType
    default: Value | None = None
    min: int | float | None = None
    max: int | float | None = None
    choices: tuple[Value, ...] = ()
    help: str = ""

    @property
    def required(self) -> bool:
        return self.default is None

    @property
    def is_list(self) -> bool:
        return self.type.startswith("list of ")

    @property
    def member(self) -> Parameter:
        """What each value of a list must be."""
        return self.model_copy(update={"type": self.type.removeprefix("list of "), "default": None})


class Step(Frozen):
    """One command of a pipeline.

    `argv` is the program, which is a template, and its words and then `args`, split before any value is put in.
    `python` says that the first word is a `.py` file of the pipeline's folder, run by the
    worker's Python; `preload` are modules that such a script finds imported already. `sources` are patterns of what
    the step sees of that folder; empty: all of it.
    """

    name: str
    argv: tuple[Template | OptionalWords, ...]
    python: bool = False
    env: dict[str, Template] = {}
    timeout_seconds: float | None = None
    memory_bytes: int | None = None
    retries: int = 0
    queue: str = DEFAULT_QUEUE
    outputs: tuple[str, ...] = ()
    reuse: Reuse = "sweep"
    preload: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    keep: Keep = "on_failure"
    help: str = ""

    def words(self) -> tuple[Template, ...]:
        """Every word of the command, also those that are there under a condition."""
        words: list[Template] = []
        for word in self.argv:
            words += [*word.then, *word.otherwise] if isinstance(word, OptionalWords) else [word]
        return tuple(words)

    def references(self) -> tuple[Reference, ...]:
        """What is put into the command, then into the environment, in the order it was written."""
        templates = (*self.words(), *self.env.values())
        return tuple(part for template in templates for part in template if isinstance(part, Reference))

    def parameters(self) -> tuple[str, ...]:
        """The parameters whose values the step is given, each once."""
        asked = [name for word in self.argv if isinstance(word, OptionalWords) for name in word.asks]
        return tuple(dict.fromkeys([*(one.name for one in self.references() if one.scope == "parameters"), *asked]))


class Pipeline(Frozen):
    """The validated YAML. `links`: name -> absolute target of each link that every step finds in its folder."""

    name: str
    parameters: tuple[Parameter, ...] = ()
    steps: tuple[Step, ...]
    help: str = ""
    links: dict[str, str] = {}

    def parameter(self, name: str) -> Parameter:
        return next(parameter for parameter in self.parameters if parameter.name == name)

    def has(self, step: str) -> bool:
        return step in self._names()

    def needs(self, step: str) -> tuple[str, ...]:
        """The steps that this one follows directly: the one before it, for pipelines have no branches."""
        return self.before(step)[-1:]

    def before(self, step: str) -> tuple[str, ...]:
        """The steps that must be published before this one is executed, in order; it finds what they left."""
        return self._names()[: self._names().index(step)]

    def after(self, step: str) -> tuple[str, ...]:
        """The steps that cannot be executed before this one is published, in order."""
        return self._names()[self._names().index(step) + 1 :]

    def published(self, names: Container[str]) -> tuple[str, ...]:
        """Of these names, of what lies in a run's folder, the steps, in order."""
        return tuple(name for name in self._names() if name in names)

    def unpublished(self, published: Container[str]) -> tuple[str, ...]:
        """The steps that a run has yet to publish, in the order in which it executes them."""
        return tuple(name for name in self._names() if name not in published)

    def is_complete(self, published: Container[str]) -> bool:
        """Whether a run that has published these steps is done."""
        return not self.unpublished(published)

    def _names(self) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Pipeline:
        return cls.model_validate(data, strict=False)
