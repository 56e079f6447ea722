"""Computes the expressions of a script that is followed; what would have to be run is UNKNOWN."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Protocol

from pipeline_queue.scaffold import constants
from pipeline_queue.scaffold.constants import UNKNOWN, EnumMember, is_known
from pipeline_queue.scaffold.script_values import Call, External, Function, Made, Scope, ScriptClass, attribute_of


class Evaluator(Protocol):
    """Whoever follows the script: evaluates the parts of an expression."""

    def evaluate(self, node: ast.expr | None, scope: Scope) -> Any: ...

    def bind(self, target: ast.expr, value: Any, scope: Scope) -> None: ...

    def items(self, node: ast.expr, scope: Scope) -> list[Any] | None: ...


def read_call(evaluator: Evaluator, node: ast.Call, scope: Scope) -> Call:
    """The values that a call is given."""
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    complete = True
    for one in node.args:
        value = evaluator.evaluate(one.value if isinstance(one, ast.Starred) else one, scope)
        if not isinstance(one, ast.Starred):
            arguments.append(value)
        elif isinstance(value, (list, tuple)):
            arguments.extend(value)
        else:
            complete = False
    for keyword in node.keywords:
        value = evaluator.evaluate(keyword.value, scope)
        if keyword.arg is not None:
            keywords[keyword.arg] = value
        elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
            keywords.update(value)
        else:
            complete = False
    return Call(node, arguments, keywords, complete)


def bind_parameters(
    evaluator: Evaluator, function: Function, arguments: list[Any], keywords: dict[str, Any], scope: Scope
) -> None:
    """Puts into the scope of a function's body what a call gives its parameters."""
    given = function.node.args
    positional = [*given.posonlyargs, *given.args]
    defaults: dict[str, ast.expr | None] = dict.fromkeys((one.arg for one in positional), None)
    defaults.update(zip([one.arg for one in positional][len(positional) - len(given.defaults) :], given.defaults,
                        strict=True))  # fmt: skip
    defaults.update({one.arg: default for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)})
    values = dict(zip((one.arg for one in positional), arguments, strict=False))
    for name, default in defaults.items():
        if name in keywords:
            scope.names[name] = keywords[name]
        elif name in values:
            scope.names[name] = values[name]
        else:
            scope.names[name] = UNKNOWN if default is None else evaluator.evaluate(default, function.scope)
    if given.vararg:
        scope.names[given.vararg.arg] = tuple(arguments[len(positional) :])
    if given.kwarg:
        scope.names[given.kwarg.arg] = {key: value for key, value in keywords.items() if key not in defaults}


def _constant(evaluator: Evaluator, node: ast.Constant, scope: Scope) -> Any:
    return node.value if is_known(node.value) else UNKNOWN


def _list(evaluator: Evaluator, node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Any:
    items: list[Any] = []
    for one in node.elts:
        value = evaluator.evaluate(one.value if isinstance(one, ast.Starred) else one, scope)
        items += constants.items_of(value) if isinstance(one, ast.Starred) else [value]
    if isinstance(node, ast.Set):
        return set(items) if all(isinstance(one, (str, int, float, bool)) for one in items) else UNKNOWN
    return items if isinstance(node, ast.List) else tuple(items)


def _dict(evaluator: Evaluator, node: ast.Dict, scope: Scope) -> Any:
    made: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        item = evaluator.evaluate(value, scope)
        if key is None:
            made.update(item if isinstance(item, dict) else {UNKNOWN: UNKNOWN})
            continue
        name = evaluator.evaluate(key, scope)
        made[name if isinstance(name, (str, int, float, bool, EnumMember)) else UNKNOWN] = item
    return made


def _binary(evaluator: Evaluator, node: ast.BinOp, scope: Scope) -> Any:
    left, right = evaluator.evaluate(node.left, scope), evaluator.evaluate(node.right, scope)
    return constants.binary(type(node.op), left, right) if is_known([left, right]) else UNKNOWN


def _unary(evaluator: Evaluator, node: ast.UnaryOp, scope: Scope) -> Any:
    value = evaluator.evaluate(node.operand, scope)
    return constants.unary(type(node.op), value) if is_known(value) else UNKNOWN


def _boolean(evaluator: Evaluator, node: ast.BoolOp, scope: Scope) -> Any:
    values = [evaluator.evaluate(one, scope) for one in node.values]
    for value in values[:-1]:
        if value is UNKNOWN or isinstance(value, (Made, External)):
            return UNKNOWN
        truth = bool(value) if is_known(value) else True
        if truth is isinstance(node.op, ast.Or):
            return value
    return values[-1]


def _compare(evaluator: Evaluator, node: ast.Compare, scope: Scope) -> Any:
    left = evaluator.evaluate(node.left, scope)
    for operation, other in zip(node.ops, node.comparators, strict=True):
        right = evaluator.evaluate(other, scope)
        if not is_known([left, right]):
            return UNKNOWN
        if not constants.compare(type(operation), left, right):
            return False
        left = right
    return True


def _conditional(evaluator: Evaluator, node: ast.IfExp, scope: Scope) -> Any:
    test = evaluator.evaluate(node.test, scope)
    if is_known(test):
        return evaluator.evaluate(node.body if test else node.orelse, scope)
    one, other = evaluator.evaluate(node.body, scope), evaluator.evaluate(node.orelse, scope)
    return one if is_known([one, other]) and one == other else UNKNOWN


def _text(evaluator: Evaluator, node: ast.JoinedStr, scope: Scope) -> Any:
    parts: list[str] = []
    for part in node.values:
        if not isinstance(part, ast.FormattedValue):
            parts.append(str(evaluator.evaluate(part, scope)))
            continue
        value = evaluator.evaluate(part.value, scope)
        spec = evaluator.evaluate(part.format_spec, scope) if part.format_spec else ""
        if not is_known(value) or not isinstance(spec, str):
            return UNKNOWN
        parts.append(constants.formatted(value, part.conversion, spec))
    return "".join(parts)


def _subscript(evaluator: Evaluator, node: ast.Subscript, scope: Scope) -> Any:
    owner = evaluator.evaluate(node.value, scope)
    if isinstance(node.slice, ast.Slice):
        bounds = [evaluator.evaluate(one, scope) if one else None
                  for one in (node.slice.lower, node.slice.upper, node.slice.step)]  # fmt: skip
        fits = isinstance(owner, (list, tuple, str)) and all(one is None or type(one) is int for one in bounds)
        return owner[slice(*bounds)] if fits and bounds[2] != 0 else UNKNOWN
    key = evaluator.evaluate(node.slice, scope)
    if isinstance(owner, ScriptClass) and owner.is_enum and isinstance(key, str):
        return attribute_of(owner, key)
    try:
        return owner[key] if isinstance(owner, (list, tuple, str, dict)) and is_known(key) else UNKNOWN
    except (IndexError, KeyError, TypeError):
        return UNKNOWN


def _comprehension(evaluator: Evaluator, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Any:
    first = node.generators[0]
    items = evaluator.items(first.iter, scope)
    if items is None or len(node.generators) > 1:
        return UNKNOWN
    inner = Scope(scope)
    made: list[Any] = []
    for item in items:
        evaluator.bind(first.target, item, inner)
        tests = [evaluator.evaluate(test, inner) for test in first.ifs]
        if not is_known(tests):
            return UNKNOWN
        if all(tests):
            made.append(evaluator.evaluate(node.elt, inner))
    return made


def _lambda(evaluator: Evaluator, node: ast.Lambda, scope: Scope) -> Any:
    return Function(node, scope)


def _walrus(evaluator: Evaluator, node: ast.NamedExpr, scope: Scope) -> Any:
    value = evaluator.evaluate(node.value, scope)
    evaluator.bind(node.target, value, scope)
    return value


EXPRESSIONS: dict[type[ast.expr], Callable[[Evaluator, Any, Scope], Any]] = {
    ast.Constant: _constant,
    ast.List: _list,
    ast.Tuple: _list,
    ast.Set: _list,
    ast.Dict: _dict,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.JoinedStr: _text,
    ast.Subscript: _subscript,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.Lambda: _lambda,
    ast.NamedExpr: _walrus,
}
"""What computes each kind of expression; names, attributes and calls are left to whoever follows the script."""
