"""From the places where a script uses `sys.argv[1]` and its like to positional arguments."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline_queue.model.pipeline import ParameterType
from pipeline_queue.scaffold.arguments import Argument, CommandLine
from pipeline_queue.scaffold.interpretation import Interpreter
from pipeline_queue.scaffold.script_values import External, Function
from pipeline_queue.scaffold.values import with_default

MAX_ARGUMENTS = 100
_TYPES: dict[str, ParameterType] = {"float": "float", "int": "int", "str": "string", "bool": "string"}
_ARGV = External("sys.argv")


@dataclass(frozen=True)
class Use:
    """One use of the argument at `position`, from 1; `default` is what stands for it where it is not given."""

    position: int
    name: str = ""
    type: ParameterType = "string"
    default: ast.expr | None = None


def command_line(interpreter: Interpreter, tree: ast.Module) -> CommandLine | None:
    """None when the script does not use `sys.argv`."""
    finder = _Finder(interpreter)
    finder.visit(tree)
    if not finder.uses and not finder.takes_all:
        return None
    last = max((use.position for use in finder.uses), default=0)
    arguments: list[Argument] = []
    optional = True
    for position in range(last, 0, -1):
        argument = _argument(interpreter, position, [use for use in finder.uses if use.position == position])
        # A position can be left out only when all after it are left out too.
        if argument.skipped and (not optional or not finder.counts):
            argument = replace(argument, skipped="", required=True)
        optional = optional and bool(argument.skipped)
        arguments.append(argument)
    notes = ("the script takes any number of words: more can be added to args",) if finder.takes_all else ()
    return CommandLine("sys.argv", tuple(_distinct(reversed(arguments))), notes=notes)


def _argument(interpreter: Interpreter, position: int, uses: list[Use]) -> Argument:
    name = next((use.name for use in uses if use.name), f"argument_{position}")
    kinds: list[ParameterType] = [use.type for use in uses if use.type != "string"]
    kind = kinds[0] if kinds else "string"
    default = next((use.default for use in uses if use.default is not None), None)
    argument = Argument(name, type=kind, required=default is None)
    if default is None:
        return argument
    return with_default(argument, interpreter.evaluate(default, interpreter.globals), ast.unparse(default), True)


def _distinct(arguments: Iterator[Argument]) -> Iterator[Argument]:
    seen: set[str] = set()
    for number, argument in enumerate(arguments, 1):
        name = argument.name if argument.name not in seen else f"{argument.name}_{number}"
        seen.add(name)
        yield replace(argument, name=name)


class _Finder(ast.NodeVisitor):
    def __init__(self, interpreter: Interpreter) -> None:
        self.uses: list[Use] = []
        self.takes_all = False
        self.counts = False
        self._scope = interpreter.globals
        self._interpreter = interpreter
        self._plain: dict[str, ast.expr] = {}

    def visit_Assign(self, node: ast.Assign) -> None:
        self._assigned(node.targets[0], node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assigned(node.target, node.value)

    def visit_If(self, node: ast.If) -> None:
        """`if len(sys.argv) > 1: lr = float(sys.argv[1])`, with the default in `else` or assigned before."""
        counts = self._counts_arguments(node.test)
        before, plain = len(self.uses), dict(self._plain)
        self.generic_visit(node)
        if not counts:
            return
        self.counts = True
        others = {part.targets[0].id: part.value for part in node.orelse
                  if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name)}  # fmt: skip
        for index in range(before, len(self.uses)):
            use = self.uses[index]
            if use.default is None and use.name:
                self.uses[index] = replace(use, default=others.get(use.name) or plain.get(use.name))

    def _assigned(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Name) and not any(self._is_argv(one) for one in ast.walk(value)):
            self._plain[target.id] = value
            return
        if isinstance(target, (ast.Tuple, ast.List)) and self._unpacked(target, value):
            return
        use = self._use(value)
        if use is None:
            self.visit(value)
            return
        self.uses.append(replace(use, name=target.id if isinstance(target, ast.Name) else ""))

    def _unpacked(self, target: ast.Tuple | ast.List, value: ast.expr) -> bool:
        """`_, data, lr = sys.argv`, `data, lr = sys.argv[1:3]`, and a pair of single uses."""
        if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
            for one, part in zip(target.elts, value.elts, strict=True):
                self._assigned(one, part)
            return True
        first = 0 if self._is_argv(value) else self._slice_start(value)
        if first is None:
            return False
        for position, one in enumerate(target.elts, first):
            if isinstance(one, ast.Starred):
                self.takes_all = True
                return True
            if position > 0 and isinstance(one, ast.Name):
                self.uses.append(Use(position, one.id))
        return True

    def visit_Call(self, node: ast.Call) -> None:
        use = self._use(node)
        if use is not None:
            self.uses.append(use)
            return
        self.visit(node.func)
        names = self._parameter_names(node.func)
        for number, one in enumerate(node.args):
            self._given(one, names[number] if number < len(names) else "")
        for keyword in node.keywords:
            self._given(keyword.value, keyword.arg or "")

    def _given(self, value: ast.expr, name: str) -> None:
        """A value given to a parameter of a function: `train(float(sys.argv[1]))`."""
        use = self._use(value)
        if use is None:
            self.visit(value)
        else:
            self.uses.append(replace(use, name=name))

    def _parameter_names(self, function: ast.expr) -> list[str]:
        found = self._interpreter.evaluate(function, self._scope) if isinstance(function, ast.Name) else None
        return [one.arg for one in found.node.args.args] if isinstance(found, Function) else []

    def visit_Subscript(self, node: ast.Subscript) -> None:
        use = self._use(node)
        if use is not None:
            self.uses.append(use)
        elif self._is_argv(node.value) and self._slice_start(node) is not None:
            self.takes_all = True
        else:
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        use = self._use(node)
        if use is not None:
            self.uses.append(use)
            return
        self.generic_visit(node)

    def _use(self, node: ast.expr) -> Use | None:
        """`sys.argv[1]`, a conversion of it, or either with a default."""
        if isinstance(node, ast.IfExp) and self._counts_arguments(node.test):
            given = self._use(node.body)
            if given is not None:
                self.counts = True
                return replace(given, default=node.orelse)
            given = self._use(node.orelse)
            self.counts |= given is not None
            return replace(given, default=node.body) if given is not None else None
        if isinstance(node, ast.Call) and len(node.args) == 1 and not node.keywords:
            given = self._use(node.args[0])
            name = node.func.id if isinstance(node.func, ast.Name) else ""
            return replace(given, type=_TYPES.get(name, "string")) if given is not None else None
        if isinstance(node, ast.Subscript) and self._is_argv(node.value):
            index = self._interpreter.evaluate(node.slice, self._scope)
            if type(index) is int and 1 <= index <= MAX_ARGUMENTS:
                return Use(index)
        return None

    def _slice_start(self, node: ast.expr) -> int | None:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice) and self._is_argv(node.value):
            start = self._interpreter.evaluate(node.slice.lower, self._scope) if node.slice.lower else 0
            return start if type(start) is int and 0 <= start <= MAX_ARGUMENTS else None
        return None

    def _counts_arguments(self, node: ast.expr) -> bool:
        return any(isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id == "len"
                   and one.args and self._is_argv(one.args[0]) for one in ast.walk(node))  # fmt: skip

    def _is_argv(self, node: ast.AST) -> bool:
        if not isinstance(node, (ast.Name, ast.Attribute)):
            return False
        return bool(self._interpreter.evaluate(node, self._scope) == _ARGV)
