"""Reads the annotation of a function's parameter or of a dataclass's field: type, choices, whether it is a list."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

from pipeline_queue.model.pipeline import ParameterType
from pipeline_queue.scaffold.constants import is_known
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.script_values import External, Scope, ScriptClass
from pipeline_queue.scaffold.values import type_of

_TYPES: dict[str, ParameterType] = {"int": "int", "float": "float", "bool": "bool", "str": "string"}
_LISTS = ("list", "List", "Sequence", "tuple", "Tuple", "Iterable")


@dataclass(frozen=True)
class Annotated:
    """What an annotation says; `choices` is None when it says nothing of them, `extras` are those of Annotated[…]."""

    type: ParameterType = "string"
    choices: tuple[Any, ...] | None = None
    is_list: bool = False
    extras: tuple[ast.expr, ...] = ()


def read_annotation(node: ast.expr | None, interpreter: Interpreter, scope: Scope) -> Annotated:
    """Text for what is not known."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            node = ast.parse(node.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return Annotated()
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return read_annotation(_not_none([node.left, node.right]), interpreter, scope)
    if isinstance(node, ast.Subscript):
        return _read_subscript(node, interpreter, scope)
    value = interpreter.evaluate(node, scope)
    if isinstance(value, ScriptClass) and value.is_enum:
        return Annotated(choices=tuple(one for one in value.body.names.values() if is_known(one)))
    if isinstance(value, External):
        name = _last(value.name)
        return Annotated(_TYPES.get(name, "string"), is_list=name in _LISTS)
    return Annotated()


def _read_subscript(node: ast.Subscript, interpreter: Interpreter, scope: Scope) -> Annotated:
    outer = interpreter.evaluate(node.value, scope)
    name = _last(outer.name) if isinstance(outer, External) else ""
    parts = list(node.slice.elts) if isinstance(node.slice, ast.Tuple) else [node.slice]
    if not parts:
        return Annotated()
    if name in ("Optional", "Union"):
        return read_annotation(_not_none(parts), interpreter, scope)
    if name == "Literal":
        values = tuple(interpreter.evaluate(part, scope) for part in parts)
        return Annotated(type_of(values[0]) or "string", values if is_known(values) else None)
    inner = read_annotation(parts[0], interpreter, scope)
    if name == "Annotated":
        return Annotated(inner.type, inner.choices, inner.is_list, tuple(parts[1:]))
    return Annotated(inner.type, inner.choices, is_list=name in _LISTS)


def _not_none(parts: list[ast.expr]) -> ast.expr | None:
    return next((one for one in parts if not (isinstance(one, ast.Constant) and one.value is None)), None)


def _last(name: str) -> str:
    return name.rpartition(".")[2]
