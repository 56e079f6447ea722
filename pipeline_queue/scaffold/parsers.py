"""Models argparse's and optparse's parsers: they note what a script that is followed does to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline_queue.scaffold.constants import UNKNOWN
from pipeline_queue.scaffold.script_values import Call, Maker

_MODULES = ("argparse", "configargparse", "argparse_dataclass")
_PARSERS = ("ArgumentParser", "ArgParser", "argparse.ArgumentParser")


@dataclass(eq=False)
class Exclusive:
    """A group of which at most one argument may be given."""

    required: bool
    chosen: bool = False


@dataclass(frozen=True)
class Registration:
    """One `add_argument`, and where it was called."""

    call: Call
    uncertain: bool
    exclusive: Exclusive | None


@dataclass(eq=False)
class Parser:
    """A parser: its registrations in order, its subcommands, and what `set_defaults` gave."""

    library: str = "argparse"
    registrations: list[Registration] = field(default_factory=list)
    subcommands: dict[str, Parser] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    incomplete: bool = False
    parses: bool = False
    ignores_command_line: bool = False

    def call_method(self, name: str, call: Call, uncertain: bool) -> Any:
        return self.call_in_group(name, call, uncertain, None)

    def call_in_group(self, name: str, call: Call, uncertain: bool, exclusive: Exclusive | None) -> Any:
        if name in ("add_argument", "add_option", "add", "add_arg"):
            self.registrations.append(Registration(call, uncertain, exclusive))
        elif name in ("add_argument_group", "add_option_group"):
            return Group(self, exclusive)
        elif name == "add_mutually_exclusive_group":
            return Group(self, Exclusive(call.keywords.get("required") is True))
        elif name == "add_subparsers":
            return Subparsers(self)
        elif name == "set_defaults":
            self.defaults.update(call.keywords)
            self.incomplete |= not call.complete
        elif name.startswith("parse_"):
            self.parses = True
            given = call.arguments[0] if call.arguments else call.keywords.get("args")
            self.ignores_command_line |= isinstance(given, (list, tuple))
        return UNKNOWN

    def with_parents(self, call: Call) -> Parser:
        """Takes over what the parsers of `parents=[…]` have."""
        parents = call.keywords.get("parents")
        for parent in parents if isinstance(parents, (list, tuple)) else ():
            if isinstance(parent, Parser):
                self.registrations += parent.registrations
                self.defaults.update(parent.defaults)
            else:
                self.incomplete = True
        return self


@dataclass(eq=False)
class Group:
    """A part of a parser."""

    parser: Parser
    exclusive: Exclusive | None

    def call_method(self, name: str, call: Call, uncertain: bool) -> Any:
        return self.parser.call_in_group(name, call, uncertain, self.exclusive)


@dataclass(eq=False)
class Subparsers:
    """What `add_subparsers` gives."""

    parser: Parser

    def call_method(self, name: str, call: Call, uncertain: bool) -> Any:
        command = call.arguments[0] if call.arguments else UNKNOWN
        if name != "add_parser" or not isinstance(command, str):
            return UNKNOWN
        made = Parser(self.parser.library).with_parents(call)
        self.parser.subcommands[command] = made
        return made


@dataclass
class Parsers:
    """All parsers that a script makes, in order."""

    made: list[Parser] = field(default_factory=list)

    def makers(self) -> dict[str, Maker]:
        names = [f"{module}.{name}" for module in _MODULES for name in _PARSERS]
        argparse: dict[str, Maker] = dict.fromkeys(names, lambda call: self._make("argparse", call))
        # An option group of optparse is made of a parser and added to it.
        return argparse | {
            "optparse.OptionParser": lambda call: self._make("optparse", call),
            "optparse.OptionGroup": lambda call: call.arguments[0] if call.arguments else UNKNOWN,
        }

    def _make(self, library: str, call: Call) -> Parser:
        parser = Parser(library).with_parents(call)
        self.made.append(parser)
        return parser

    def used(self) -> list[Parser]:
        """Those that parse; all when none is seen to. Parsers that only lend their arguments are left out."""
        lenders = [one for one in self.made if not one.parses]
        parsing = [one for one in self.made if one.parses and (one.registrations or one.subcommands)]
        return parsing or [one for one in lenders if one.registrations or one.subcommands][:1]
