"""What may stand between `${{` and `}}`: the grammar of references."""

from __future__ import annotations

import re
from collections.abc import Collection

from pipeline_queue.model.pipeline import Reference
from pipeline_queue.model.problems import near, quoted, shown, suggestion

_HINT = "use ${{ parameters.NAME }}, ${{ run.id }}, ${{ run.index }} or ${{ sweep.id }}; $${{ is a literal ${{"
_NAME = "[A-Za-z_][A-Za-z0-9_-]*"
_WORKER = re.compile(rf"""worker\s*\.\s*env\s*(?:\.\s*({_NAME})|\[\s*(?:'({_NAME})'|"({_NAME})")\s*\])""")
_FIXED = {"run": ("id", "index"), "sweep": ("id",)}
_LIKELY_PARAMETERS = ("params", "param", "inputs", "args", "env")
_REFERENCE = re.compile(
    rf"""(?P<scope>{_NAME})\s*(?:\.\s*(?P<name>{_NAME})|\[\s*(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)")\s*\])"""
)


def read_reference(content: str, declared: Collection[str] | None) -> Reference | tuple[str, str]:
    """The reference this expression is, or what is wrong with it and what to do."""
    expression = quoted(content)
    if of_worker := _WORKER.fullmatch(content):
        return Reference(scope="worker", name="".join(name for name in of_worker.groups() if name))
    found = _REFERENCE.fullmatch(content)
    if found is None:
        return _not_a_reference(content, declared)
    scope = found["scope"]
    name = found["name"] or found["single"] or found["double"] or ""
    if scope == "parameters":
        if declared is not None and name not in declared:
            hint = suggestion(name, declared, "declared parameters")
            return f"unknown parameter {quoted(name)}", hint
        if not name:
            return f"{expression} names no parameter", _HINT
        return Reference(scope="parameters", name=name)
    if scope in _FIXED and found["name"] in _FIXED[scope]:
        return Reference(scope="run" if scope == "run" else "sweep", name=name)
    if scope in _FIXED:
        return f"{expression} is unknown: {scope} has {' and '.join(_FIXED[scope])} only", _HINT
    likely = "parameters" if scope in _LIKELY_PARAMETERS else near(scope, ("parameters", *_FIXED))
    if likely == "parameters" and declared is not None and name not in declared:
        likely, name = ("worker.env", name) if scope == "env" else (likely, near(name, declared) or "")
    meant = f"did you mean {likely}.{shown(name)}? " if likely and name else ""
    return f"{quoted(scope)} is unknown in an expression", meant + _HINT


def _not_a_reference(content: str, declared: Collection[str] | None) -> tuple[str, str]:
    if not content:
        return "this expression is empty", _HINT
    if re.fullmatch(_NAME, content):
        known = content if declared is None or content in declared else near(content, declared)
        meant = f"did you mean parameters.{known}? " if known and len(known) <= 64 else ""
        return f"{quoted(content)} is not an expression", meant + _HINT
    return f"{quoted(content)} is not an expression: there are no operators or functions", _HINT
