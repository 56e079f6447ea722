"""What names of a script stand for while it is followed: scopes, functions, classes, objects, calls, the unfollowed."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline_queue.scaffold import constants
from pipeline_queue.scaffold.constants import UNKNOWN, EnumMember, is_known

_ENUMS = ("enum.Enum", "enum.StrEnum", "enum.IntEnum")


@dataclass(eq=False)
class Scope:
    """Names and their values; those that are not here are looked up in `outer`."""

    outer: Scope | None = None
    names: dict[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return External(f"builtins.{name}") if hasattr(builtins, name) else UNKNOWN


@dataclass(frozen=True)
class External:
    """Something of a module that is not followed into, by its full name."""

    name: str


@dataclass(frozen=True)
class Made:
    """What a call of something external gave."""

    by: str


@dataclass(eq=False)
class Function:
    """A function of the script; `instance` is what it is a method of."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope
    instance: Any = None


@dataclass(eq=False)
class ScriptClass:
    """A class of the script with its bases and whatever its body assigned."""

    node: ast.ClassDef
    scope: Scope
    bases: list[Any]
    body: Scope

    def find(self, name: str) -> Any:
        if name in self.body.names:
            return self.body.names[name]
        found = (base.find(name) for base in self.bases if isinstance(base, ScriptClass))
        return next((one for one in found if one is not UNKNOWN), UNKNOWN)

    def externals(self) -> list[str]:
        """The full names of what it derives from."""
        names = [base.name for base in self.bases if isinstance(base, External)]
        return names + [name for base in self.bases if isinstance(base, ScriptClass) for name in base.externals()]

    @property
    def is_enum(self) -> bool:
        return any(name in _ENUMS for name in self.externals())

    def members(self) -> list[EnumMember]:
        """Of an enumeration, as far as their values are known."""
        named = self.body.names.items()
        return [EnumMember(name, value) for name, value in named if is_known(value) and name[0] != "_"]


@dataclass(eq=False)
class Instance:
    """An object of a class of the script."""

    of: ScriptClass
    names: dict[str, Any] = field(default_factory=dict)


def attribute_of(owner: Any, name: str) -> Any:
    """What `owner.name` stands for."""
    if isinstance(owner, External):
        value = constants.attribute(f"{owner.name}.{name}")
        return External(f"{owner.name}.{name}") if value is UNKNOWN else value
    if isinstance(owner, Scope):
        return owner.get(name)
    if isinstance(owner, ScriptClass):
        found = owner.find(name)
        return EnumMember(name, found) if owner.is_enum and is_known(found) else found
    if isinstance(owner, EnumMember):
        return {"value": owner.value, "name": owner.name}.get(name, UNKNOWN)
    if isinstance(owner, Instance):
        found = owner.names[name] if name in owner.names else owner.of.find(name)
        if isinstance(found, Function) and found.instance is None and name not in owner.names:
            return Function(found.node, found.scope, owner)
        return found
    return UNKNOWN


@dataclass(frozen=True)
class Call:
    """A call with its values; `complete` is false when there were `*args` or `**kwargs` that are not known."""

    node: ast.Call
    arguments: list[Any]
    keywords: dict[str, Any]
    complete: bool

    def source(self, keyword: str) -> str:
        """The text of a keyword argument, shortened."""
        for one in self.node.keywords:
            if one.arg == keyword:
                text = source_text(one.value)
                return text
        return ""


class Modelled(Protocol):
    """An object that a maker gave: it is told the calls of its methods."""

    def call_method(self, name: str, call: Call, uncertain: bool) -> Any: ...


def source_text(node: ast.expr) -> str:
    """The source of an expression in one line, shortened."""
    try:
        text = " ".join(ast.unparse(node).split())
    except RecursionError:
        return "..."
    return text if len(text) <= 60 else f"{text[:57]}..."


Maker = Callable[[Call], Any]
Modules = Callable[[str], ast.Module | None]
"""The tree of a module beside the script, by its dotted name; None for any other."""
