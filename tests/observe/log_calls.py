"""Every log call of a source tree held against the table of events, without running it.

Looks for `log.<level>("event", field=…)`, also as `self._log`, as `getattr(log, level)(…)` and through a name that was
bound to such a method. `**{"from": …}` counts as fields; any other `**` needs an event whose table allows more fields.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.observe.events import Event

LEVELS: Final = {"debug", "info", "warning", "error", "critical", "exception"}
_CONTROL: Final = {"exc_info", "stack_info"}


@dataclass(frozen=True)
class LogCall:
    """One log call in the source. `event` is None when it is not a constant."""

    where: str
    levels: frozenset[str]
    """The levels that the call may have, as far as the source tells."""
    event: str | None
    fields: frozenset[str]
    more: bool
    """Whether fields come from a mapping that the source does not spell out."""

    def problems(self, table: Mapping[str, Event]) -> Iterator[str]:
        """What disagrees with the table, as `file:line: sentence`."""
        if self.event is None:
            yield f"{self.where}: the event's name is not a constant; put what varies into a field"
            return
        event = table.get(self.event)
        if event is None:
            yield f"{self.where}: event {self.event} is not in observe/event_table.py"
            return
        for level in sorted(self.levels - event.levels):
            yield f"{self.where}: {self.event} logged as {level}, documented as {event.level}"
        if self.more and not event.open:
            yield f"{self.where}: {self.event} takes fields from a mapping; its table needs a field {'*'!r}"
        for problem in event.field_problems(self.fields):
            if not (self.more and problem.endswith("is missing")):
                yield f"{self.where}: {problem}"


def log_calls(root: Path) -> Iterator[LogCall]:
    """All log calls of the Python files under `root`, in file order."""
    for path in sorted(root.rglob("*.py")):
        yield from calls_in(path.read_text(encoding="utf-8"), str(path.relative_to(root.parent)))


def calls_in(source: str, name: str) -> Iterator[LogCall]:
    """All log calls of one file."""
    tree = ast.parse(source, name)
    bound = list(_bound_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            levels = _levels(node.func)
            if isinstance(node.func, ast.Name):
                before = [found for line, called, found in bound if called == node.func.id and line < node.lineno]
                levels = before[-1] if before else None
            if levels is not None:
                yield _call(node, levels, f"{name}:{node.lineno}")


def _bound_names(tree: ast.AST) -> Iterator[tuple[int, str, frozenset[str]]]:
    """(line, `say`, its levels) of each `say = log.warning if news else log.debug`, in file order."""
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        parts = [node.value.body, node.value.orelse] if isinstance(node.value, ast.IfExp) else [node.value]
        levels = [_levels(part) for part in parts]
        if isinstance(node.targets[0], ast.Name) and all(levels):
            yield node.lineno, node.targets[0].id, frozenset().union(*(found for found in levels if found))


def _levels(func: ast.expr) -> frozenset[str] | None:
    """The levels that calling `func` logs at; empty: not known; None: it is no log call."""
    if isinstance(func, ast.Attribute) and func.attr in LEVELS and _is_logger(func.value):
        return frozenset({"error" if func.attr == "exception" else func.attr})
    if isinstance(func, ast.Call) and isinstance(func.func, ast.Name) and func.func.id == "getattr":
        return frozenset() if _is_logger(func.args[0]) else None
    return None


def _is_logger(node: ast.expr) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.strip("_") in {"log", "logger"}


def _call(node: ast.Call, levels: frozenset[str], where: str) -> LogCall:
    first = node.args[0] if len(node.args) == 1 else None
    constant = isinstance(first, ast.Constant) and isinstance(first.value, str)
    fields, more = _fields(node)
    return LogCall(
        where=where,
        levels=levels,
        event=str(first.value) if constant and isinstance(first, ast.Constant) else None,
        fields=frozenset(fields - _CONTROL - {"traceback", "cut"}),
        more=more,
    )


def _fields(node: ast.Call) -> tuple[set[str], bool]:
    fields: set[str] = set()
    more = False
    for keyword in node.keywords:
        if keyword.arg is not None:
            fields.add(keyword.arg)
        elif isinstance(keyword.value, ast.Dict):
            for key in keyword.value.keys:
                if isinstance(key, ast.Constant):
                    fields.add(str(key.value))
                else:
                    more = True
        else:
            more = True
    return fields, more
