"""Follows a script through its source the way Python would, computing what is constant and guessing nothing.

Functions of the script and of modules beside it are followed into; whatever only running would tell is UNKNOWN, and
both branches of an unknown condition are followed. Nothing of the script is ever executed. Libraries are known to this
module only as names: what a call of one of them makes is decided by the `makers` it is given.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pipeline_queue.scaffold import constants
from pipeline_queue.scaffold.constants import UNKNOWN, EnumMember, NotComputedError, is_known

_MAX_STEPS = 200_000
_MAX_DEPTH = 25
_ENUMS = ("enum.Enum", "enum.StrEnum", "enum.IntEnum")
_REGISTERING = ("add_argument", "add_option", "add_parser")

Node = ast.expr | ast.stmt


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


@dataclass(eq=False)
class Instance:
    """An object of a class of the script."""

    of: ScriptClass
    names: dict[str, Any] = field(default_factory=dict)


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
            self._bind(target, value, scope)

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        if node.value is not None:
            self._bind(node.target, self.evaluate(node.value, scope), scope)

    def _augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        value = self.evaluate(node.value, scope)
        old = self.evaluate(node.target, scope)
        try:
            new = constants.binary(type(node.op), old, value) if is_known([old, value]) else UNKNOWN
        except NotComputedError:
            new = UNKNOWN
        self._bind(node.target, new, scope)

    def _bind(self, target: ast.expr, value: Any, scope: Scope) -> None:
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
                self._bind(one, parts[number] if parts and one is part else UNKNOWN, scope)
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
        items = self._items(node.iter, scope)
        if items is not None and _registers(node.body):
            for item in items:
                self._bind(node.target, item, scope)
                self.run(node.body, scope)
        else:
            self._bind(node.target, UNKNOWN, scope)
            self._run_uncertainly(node.body, scope)
        self.run(node.orelse, scope)

    def _items(self, node: ast.expr, scope: Scope) -> list[Any] | None:
        value = self.evaluate(node, scope)
        if isinstance(value, ScriptClass) and value.is_enum:
            return _members(value)
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
                self._bind(item.optional_vars, UNKNOWN, scope)
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
        return self.attribute(self.evaluate(node.value, scope), node.attr)

    def attribute(self, owner: Any, name: str) -> Any:
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

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        call = self.read_call(node, scope)
        if isinstance(node.func, ast.Attribute):
            receiver = self._super(node.func.value, scope) or self.evaluate(node.func.value, scope)
            if hasattr(receiver, "call_method"):
                return receiver.call_method(node.func.attr, call, self._uncertain > 0)
            if not isinstance(receiver, (External, Scope, ScriptClass, Instance, Made)):
                return constants.method(receiver, node.func.attr, call.arguments, call.keywords)
            target = self.attribute(receiver, node.func.attr)
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

    def read_call(self, node: ast.Call, scope: Scope) -> Call:
        """The values that a call is given."""
        arguments: list[Any] = []
        keywords: dict[str, Any] = {}
        complete = True
        for one in node.args:
            value = self.evaluate(one.value if isinstance(one, ast.Starred) else one, scope)
            if not isinstance(one, ast.Starred):
                arguments.append(value)
            elif isinstance(value, (list, tuple)):
                arguments.extend(value)
            else:
                complete = False
        for keyword in node.keywords:
            value = self.evaluate(keyword.value, scope)
            if keyword.arg is not None:
                keywords[keyword.arg] = value
            elif isinstance(value, dict) and all(isinstance(key, str) for key in value):
                keywords.update(value)
            else:
                complete = False
        return Call(node, arguments, keywords, complete)

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
                return _members(call.arguments[0])
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
            return next((one for one in _members(of) if call.arguments and one.value == call.arguments[0]), UNKNOWN)
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
        self._bind_parameters(node.args, [*first, *arguments], keywords, function.scope, scope)
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

    def _bind_parameters(
        self, given: ast.arguments, arguments: list[Any], keywords: dict[str, Any], outer: Scope, scope: Scope
    ) -> None:
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
                scope.names[name] = UNKNOWN if default is None else self.evaluate(default, outer)
        if given.vararg:
            scope.names[given.vararg.arg] = tuple(arguments[len(positional) :])
        if given.kwarg:
            scope.names[given.kwarg.arg] = {key: value for key, value in keywords.items() if key not in defaults}

    def _constant(self, node: ast.Constant, scope: Scope) -> Any:
        return node.value if is_known(node.value) else UNKNOWN

    def _list(self, node: ast.List | ast.Tuple | ast.Set, scope: Scope) -> Any:
        items: list[Any] = []
        for one in node.elts:
            value = self.evaluate(one.value if isinstance(one, ast.Starred) else one, scope)
            items += constants.items_of(value) if isinstance(one, ast.Starred) else [value]
        if isinstance(node, ast.Set):
            return set(items) if all(isinstance(one, (str, int, float, bool)) for one in items) else UNKNOWN
        return items if isinstance(node, ast.List) else tuple(items)

    def _dict(self, node: ast.Dict, scope: Scope) -> Any:
        made: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            item = self.evaluate(value, scope)
            if key is None:
                made.update(item if isinstance(item, dict) else {UNKNOWN: UNKNOWN})
                continue
            name = self.evaluate(key, scope)
            made[name if isinstance(name, (str, int, float, bool, EnumMember)) else UNKNOWN] = item
        return made

    def _binary(self, node: ast.BinOp, scope: Scope) -> Any:
        left, right = self.evaluate(node.left, scope), self.evaluate(node.right, scope)
        return constants.binary(type(node.op), left, right) if is_known([left, right]) else UNKNOWN

    def _unary(self, node: ast.UnaryOp, scope: Scope) -> Any:
        value = self.evaluate(node.operand, scope)
        return constants.unary(type(node.op), value) if is_known(value) else UNKNOWN

    def _boolean(self, node: ast.BoolOp, scope: Scope) -> Any:
        values = [self.evaluate(one, scope) for one in node.values]
        for value in values[:-1]:
            if value is UNKNOWN or isinstance(value, (Made, External)):
                return UNKNOWN
            truth = bool(value) if is_known(value) else True
            if truth is isinstance(node.op, ast.Or):
                return value
        return values[-1]

    def _compare(self, node: ast.Compare, scope: Scope) -> Any:
        left = self.evaluate(node.left, scope)
        for operation, other in zip(node.ops, node.comparators, strict=True):
            right = self.evaluate(other, scope)
            if not is_known([left, right]):
                return UNKNOWN
            if not constants.compare(type(operation), left, right):
                return False
            left = right
        return True

    def _conditional(self, node: ast.IfExp, scope: Scope) -> Any:
        test = self.evaluate(node.test, scope)
        if is_known(test):
            return self.evaluate(node.body if test else node.orelse, scope)
        one, other = self.evaluate(node.body, scope), self.evaluate(node.orelse, scope)
        return one if is_known([one, other]) and one == other else UNKNOWN

    def _text(self, node: ast.JoinedStr, scope: Scope) -> Any:
        parts: list[str] = []
        for part in node.values:
            if not isinstance(part, ast.FormattedValue):
                parts.append(str(self.evaluate(part, scope)))
                continue
            value = self.evaluate(part.value, scope)
            spec = self.evaluate(part.format_spec, scope) if part.format_spec else ""
            if not is_known(value) or not isinstance(spec, str):
                return UNKNOWN
            parts.append(constants.formatted(value, part.conversion, spec))
        return "".join(parts)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Any:
        owner = self.evaluate(node.value, scope)
        if isinstance(node.slice, ast.Slice):
            bounds = [self.evaluate(one, scope) if one else None
                      for one in (node.slice.lower, node.slice.upper, node.slice.step)]  # fmt: skip
            fits = isinstance(owner, (list, tuple, str)) and all(one is None or type(one) is int for one in bounds)
            return owner[slice(*bounds)] if fits and bounds[2] != 0 else UNKNOWN
        key = self.evaluate(node.slice, scope)
        if isinstance(owner, ScriptClass) and owner.is_enum and isinstance(key, str):
            return self.attribute(owner, key)
        try:
            return owner[key] if isinstance(owner, (list, tuple, str, dict)) and is_known(key) else UNKNOWN
        except (IndexError, KeyError, TypeError):
            return UNKNOWN

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, scope: Scope) -> Any:
        first = node.generators[0]
        items = self._items(first.iter, scope)
        if items is None or len(node.generators) > 1:
            return UNKNOWN
        inner = Scope(scope)
        made: list[Any] = []
        for item in items:
            self._bind(first.target, item, inner)
            tests = [self.evaluate(test, inner) for test in first.ifs]
            if not is_known(tests):
                return UNKNOWN
            if all(tests):
                made.append(self.evaluate(node.elt, inner))
        return made

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Any:
        return Function(node, scope)

    def _walrus(self, node: ast.NamedExpr, scope: Scope) -> Any:
        value = self.evaluate(node.value, scope)
        self._bind(node.target, value, scope)
        return value


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
    ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute,
    ast.Call: Interpreter._call,
    ast.Constant: Interpreter._constant,
    ast.List: Interpreter._list,
    ast.Tuple: Interpreter._list,
    ast.Set: Interpreter._list,
    ast.Dict: Interpreter._dict,
    ast.BinOp: Interpreter._binary,
    ast.UnaryOp: Interpreter._unary,
    ast.BoolOp: Interpreter._boolean,
    ast.Compare: Interpreter._compare,
    ast.IfExp: Interpreter._conditional,
    ast.JoinedStr: Interpreter._text,
    ast.Subscript: Interpreter._subscript,
    ast.ListComp: Interpreter._comprehension,
    ast.SetComp: Interpreter._comprehension,
    ast.GeneratorExp: Interpreter._comprehension,
    ast.Lambda: Interpreter._lambda,
    ast.NamedExpr: Interpreter._walrus,
}


def _members(enum: ScriptClass) -> list[Any]:
    return [EnumMember(name, value) for name, value in enum.body.names.items() if is_known(value) and name[0] != "_"]


def _registers(body: list[ast.stmt]) -> bool:
    """Whether a loop adds arguments, or calls something that may; other loops are followed once."""
    called = [one.func for part in body for one in ast.walk(part) if isinstance(one, ast.Call)]
    names = [one.attr if isinstance(one, ast.Attribute) else getattr(one, "id", "") for one in called]
    return any(name in _REGISTERING or name.startswith("add") for name in names)
