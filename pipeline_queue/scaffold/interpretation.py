"""Follows a script through its source the way Python would, computing what is constant and guessing nothing.

Functions of the script and of modules beside it are followed into; whatever only running would tell is UNKNOWN, and
both branches of an unknown condition are followed. Nothing of the script is ever executed. Libraries are known to this
module only as names: what a call of one of them makes is decided by the `makers` it is given.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any

from pipeline_queue.scaffold import constants
from pipeline_queue.scaffold.constants import UNKNOWN, NotComputedError, is_known
from pipeline_queue.scaffold.expressions import EXPRESSIONS, bind_parameters, read_call
from pipeline_queue.scaffold.script_values import (
    Call,
    External,
    Function,
    Instance,
    Made,
    Maker,
    Modules,
    Scope,
    ScriptClass,
    attribute_of,
)

_MAX_STEPS = 200_000
_MAX_DEPTH = 25
_REGISTERING = ("add_argument", "add_option", "add_parser")


class _ReturnError(Exception):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _TooLongError(Exception):
    pass


class Interpreter:
    """One script being followed. `functions` are all that were defined, `calls` those of external names."""

    def __init__(self, makers: Mapping[str, Maker], modules: Modules) -> None:
        self.functions: list[Function] = []
        self.calls: list[tuple[str, Call]] = []
        self.unfollowed: list[tuple[ast.Call, list[Any]]] = []
        self.called_at_top: set[str] = set()
        self._makers = makers
        self._read_module = modules
        self._modules: dict[str, Scope | None] = {}
        self._uncertain = 0
        self._depth = 0
        self._steps = 0
        self._follows = False
        self.globals = Scope(names={"__name__": "__main__", "__doc__": UNKNOWN})

    def follow(self, tree: ast.Module) -> None:
        self._begin()
        self._run_top(tree.body, self.globals)
        self._end()

    def _begin(self) -> None:
        self._steps, self._depth, self._uncertain, self._follows = 0, 0, 0, True

    def _end(self) -> None:
        """Values that are asked for afterwards have steps of their own, and are UNKNOWN when these are used up."""
        self._steps, self._follows = 0, False

    def follow_function(self, function: Function) -> None:
        """Follows a function that nothing was seen to call."""
        self._begin()
        try:
            self._call_function(function, [], {})
        except (_TooLongError, RecursionError):
            return
        finally:
            self._end()

    def _run_top(self, body: list[ast.stmt], scope: Scope) -> None:
        try:
            self.run(body, scope)
        except (_ReturnError, _TooLongError, RecursionError):
            return

    def run(self, body: list[ast.stmt], scope: Scope) -> None:
        for statement in body:
            self._step()
            handler = _STATEMENTS.get(type(statement))
            if handler is not None:
                handler(self, statement, scope)

    def evaluate(self, node: ast.expr | None, scope: Scope) -> Any:
        """The value of an expression, or UNKNOWN."""
        if node is None:
            return UNKNOWN
        try:
            self._step()
            handler = _EXPRESSIONS.get(type(node))
            return handler(self, node, scope) if handler is not None else self._other(node, scope)
        except (NotComputedError, RecursionError):
            return UNKNOWN
        except _TooLongError:
            if self._follows:
                raise
            return UNKNOWN

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise _TooLongError

    # Statements

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        made = Function(node, scope)
        self.functions.append(made)
        scope.names[node.name] = made

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        body = Scope(scope)
        made = ScriptClass(node, scope, [self.evaluate(base, scope) for base in node.bases], body)
        self.run(node.body, body)
        scope.names[node.name] = made

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        value = self.evaluate(node.value, scope)
        for target in node.targets:
            self.bind(target, value, scope)

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self.bind(node.target, self.evaluate(node.value, scope), scope)

    def _augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        value = self.evaluate(node.value, scope)
        old = self.evaluate(node.target, scope)
        try:
            new = constants.binary(type(node.op), old, value) if is_known([old, value]) else UNKNOWN
        except NotComputedError:
            new = UNKNOWN
        self.bind(node.target, new, scope)

    def bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            scope.names[target.id] = value
        elif isinstance(target, ast.Attribute):
            owner = self.evaluate(target.value, scope)
            if isinstance(owner, Instance):
                owner.names[target.attr] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            parts = list(value) if isinstance(value, (tuple, list)) and len(value) == len(target.elts) else None
            for number, part in enumerate(target.elts):
                one = part.value if isinstance(part, ast.Starred) else part
                self.bind(one, parts[number] if parts and one is part else UNKNOWN, scope)
        elif isinstance(target, ast.Subscript):
            owner = self.evaluate(target.value, scope)
            key = self.evaluate(target.slice, scope)
            if isinstance(owner, dict) and is_known(key):
                owner[key] = value

    def _if(self, node: ast.If, scope: Scope) -> None:
        test = self.evaluate(node.test, scope)
        if is_known(test):
            self.run(node.body if test else node.orelse, scope)
            return
        ended = 0
        for branch in (node.body, node.orelse):
            try:
                self._run_uncertainly(branch, scope)
            except _ReturnError:
                ended += 1
        if ended == 2:
            raise _ReturnError(UNKNOWN)

    def _run_uncertainly(self, body: list[ast.stmt], scope: Scope) -> None:
        """Follows what may or may not happen; the data it assigns is not known afterwards."""
        self._uncertain += 1
        try:
            self.run(body, scope)
        finally:
            self._uncertain -= 1
            stored = (one.id for part in body for one in ast.walk(part) if isinstance(one, ast.Name)
                      and isinstance(one.ctx, ast.Store))  # fmt: skip
            for name in stored:
                if is_known(scope.names.get(name)):
                    scope.names[name] = UNKNOWN

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        items = self.items(node.iter, scope)
        if items is not None and _registers(node.body):
            for item in items:
                self.bind(node.target, item, scope)
                self.run(node.body, scope)
        else:
            self.bind(node.target, UNKNOWN, scope)
            self._run_uncertainly(node.body, scope)
        self.run(node.orelse, scope)

    def items(self, node: ast.expr, scope: Scope) -> list[Any] | None:
        value = self.evaluate(node, scope)
        if isinstance(value, ScriptClass) and value.is_enum:
            return value.members()
        try:
            return constants.items_of(value)
        except NotComputedError:
            return None

    def _while(self, node: ast.While, scope: Scope) -> None:
        self.evaluate(node.test, scope)
        self._run_uncertainly([*node.body, *node.orelse], scope)

    def _with(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        for item in node.items:
            self.evaluate(item.context_expr, scope)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, UNKNOWN, scope)
        self.run(node.body, scope)

    def _try(self, node: ast.Try, scope: Scope) -> None:
        self.run([*node.body, *node.orelse], scope)
        self.run(node.finalbody, scope)

    def _match(self, node: ast.Match, scope: Scope) -> None:
        self.evaluate(node.subject, scope)
        for case in node.cases:
            self._run_uncertainly(case.body, scope)

    def _return(self, node: ast.Return, scope: Scope) -> None:
        raise _ReturnError(self.evaluate(node.value, scope) if node.value else None)

    def _raise(self, node: ast.Raise, scope: Scope) -> None:
        raise _ReturnError(UNKNOWN)

    def _expression(self, node: ast.Expr, scope: Scope) -> None:
        self.evaluate(node.value, scope)

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            top = alias.name if alias.asname else alias.name.split(".")[0]
            scope.names[alias.asname or top] = self._module(top) or External(top)

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        base = node.module or ""
        module = None if node.level else self._module(base)
        for alias in node.names:
            if alias.name == "*":
                scope.names.update(module.names if module else {})
                continue
            inner = self._module(f"{base}.{alias.name}") if not node.level and module is None else None
            value = module.get(alias.name) if module else inner or External(f"{base}.{alias.name}")
            scope.names[alias.asname or alias.name] = value

    def _module(self, name: str) -> Scope | None:
        """The names of a module beside the script; None for any other."""
        if name not in self._modules:
            self._modules[name] = None  # what imports itself in a circle finds nothing
            tree = self._read_module(name)
            if tree is not None:
                scope = Scope(names={"__name__": name})
                self._modules[name] = scope
                self._run_top(tree.body, scope)
        return self._modules[name]

    # Expressions

    def _other(self, node: ast.expr, scope: Scope) -> Any:
        """Follows what is inside of an expression that is not computed."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, scope)
        return UNKNOWN

    def _name(self, node: ast.Name, scope: Scope) -> Any:
        return scope.get(node.id)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        return attribute_of(self.evaluate(node.value, scope), node.attr)

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        call = read_call(self, node, scope)
        if isinstance(node.func, ast.Attribute):
            receiver = self._super(node.func.value, scope) or self.evaluate(node.func.value, scope)
            if hasattr(receiver, "call_method"):
                return receiver.call_method(node.func.attr, call, self._uncertain > 0)
            if not isinstance(receiver, (External, Scope, ScriptClass, Instance, Made)):
                return constants.method(receiver, node.func.attr, call.arguments, call.keywords)
            target = attribute_of(receiver, node.func.attr)
        else:
            target = self.evaluate(node.func, scope)
        return self._call_value(target, call)

    def _super(self, node: ast.expr, scope: Scope) -> Any:
        """What `super()` stands for in a method: the instance as its first base."""
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"):
            return None
        instance = scope.get("self")
        if not isinstance(instance, Instance):
            return None
        bases = [base for base in instance.of.bases if isinstance(base, ScriptClass)]
        return Instance(bases[0], instance.names) if bases else None

    def _call_value(self, target: Any, call: Call) -> Any:
        if isinstance(target, Function):
            if self._depth == 0:
                self.called_at_top.add(str(getattr(target.node, "name", "")))
            return self._call_function(target, call.arguments, call.keywords)
        if isinstance(target, ScriptClass):
            return self._make(target, call)
        if isinstance(target, External):
            if target.name in self._makers:
                return self._makers[target.name](call)
            if target.name == "builtins.list" and call.arguments and isinstance(call.arguments[0], ScriptClass):
                return call.arguments[0].members()
            self.calls.append((target.name, call))
            if is_known(call.arguments) and is_known(call.keywords) and call.complete:
                try:
                    return constants.call(target.name, call.arguments, call.keywords)
                except NotComputedError:
                    return Made(target.name)
        self.unfollowed.append((call.node, [*call.arguments, *call.keywords.values()]))
        return Made(target.name) if isinstance(target, External) else UNKNOWN

    def _make(self, of: ScriptClass, call: Call) -> Any:
        maker = next((self._makers[name] for name in of.externals() if name in self._makers), None)
        if maker is not None:
            return maker(call)
        if of.is_enum:
            return next((one for one in of.members() if call.arguments and one.value == call.arguments[0]), UNKNOWN)
        made = Instance(of)
        initializer = of.find("__init__")
        if isinstance(initializer, Function):
            self._call_function(Function(initializer.node, initializer.scope, made), call.arguments, call.keywords)
        return made

    def _call_function(self, function: Function, arguments: list[Any], keywords: dict[str, Any]) -> Any:
        if self._depth >= _MAX_DEPTH:
            return UNKNOWN
        node = function.node
        scope = Scope(function.scope)
        is_static = any(
            isinstance(one, ast.Name) and one.id == "staticmethod" for one in getattr(node, "decorator_list", ())
        )
        first = [function.instance] if function.instance is not None and not is_static else []
        bind_parameters(self, function, [*first, *arguments], keywords, scope)
        self._depth += 1
        try:
            if isinstance(node, ast.Lambda):
                return self.evaluate(node.body, scope)
            self.run(node.body, scope)
        except _ReturnError as end:
            return end.value
        finally:
            self._depth -= 1
        return None


_STATEMENTS: dict[type[ast.stmt], Callable[[Interpreter, Any, Scope], None]] = {
    ast.FunctionDef: Interpreter._function,
    ast.AsyncFunctionDef: Interpreter._function,
    ast.ClassDef: Interpreter._class,
    ast.Assign: Interpreter._assign,
    ast.AnnAssign: Interpreter._annotated,
    ast.AugAssign: Interpreter._augmented,
    ast.If: Interpreter._if,
    ast.For: Interpreter._for,
    ast.AsyncFor: Interpreter._for,
    ast.While: Interpreter._while,
    ast.With: Interpreter._with,
    ast.AsyncWith: Interpreter._with,
    ast.Try: Interpreter._try,
    ast.Match: Interpreter._match,
    ast.Return: Interpreter._return,
    ast.Raise: Interpreter._raise,
    ast.Expr: Interpreter._expression,
    ast.Import: Interpreter._import,
    ast.ImportFrom: Interpreter._import_from,
}
_EXPRESSIONS: dict[type[ast.expr], Callable[[Interpreter, Any, Scope], Any]] = {
    **EXPRESSIONS,
    ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute,
    ast.Call: Interpreter._call,
}


def _registers(body: list[ast.stmt]) -> bool:
    """Whether a loop adds arguments, or calls something that may; other loops are followed once."""
    called = [one.func for part in body for one in ast.walk(part) if isinstance(one, ast.Call)]
    names = [one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called]
    return any(name in _REGISTERING or name.startswith("add") for name in names)
