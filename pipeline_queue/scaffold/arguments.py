"""What a script takes on its command line, as values: found by the readers, written out by `pipeline_text`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline_queue.model.pipeline import ParameterType, Value

Kind = Literal["value", "switch", "list"]

NO_DEFAULT = "optional, and the script gives it no default"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a script.

    `option` is what stands before its value, `--lr` or `-l`; empty for a positional. `separate` says that option and
    value must be two words. A switch has no value: `on` is the word for true and `off` the one for false, either empty
    when there is none. What is optional is left out when its text or list is empty. A list of `count` values (None:
    any) has each as a word of its own. `skipped` says why a person must look at it first: it is written as a comment.
    `notes` are comments beside what is written.
    """

    name: str
    option: str = ""
    kind: Kind = "value"
    type: ParameterType = "string"
    default: Value | None = None
    default_list: tuple[Value, ...] | None = None
    required: bool = False
    choices: tuple[Value, ...] = ()
    min: int | float | None = None
    max: int | float | None = None
    help: str = ""
    on: str = ""
    off: str = ""
    separate: bool = False
    is_optional: bool = False
    count: int | None = None
    skipped: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The arguments of a script in the order of its source.

    `words` come first, as subcommands do; those in `before` stand in front of them. `subcommands` are all there are.
    `end_of_options` says that `--` before positionals is understood. `notes` are for the head of the file.
    """

    library: str
    arguments: tuple[Argument, ...] = ()
    before: tuple[Argument, ...] = ()
    words: tuple[str, ...] = ()
    subcommands: tuple[str, ...] = ()
    end_of_options: bool = False
    notes: tuple[str, ...] = ()
