"""Every event and every figure that alto emits, with what a good value is: the contract that scripts rely on.

The tables are data (`event_table.py`, `metric_table.py`). The document EVENTS.md is made from them, a test holds every
log call of the source against them, and `validate` holds a written line against them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

ANY: Final = "*"
"""A field of this name in the table: further fields are allowed (the facts that an error brings along)."""


@dataclass(frozen=True)
class Event:
    """One event. `level` is one level or several as `warning|debug`; a field named `x?` is not always there."""

    name: str
    level: str
    meaning: str
    fields: Mapping[str, str]
    good: str

    @cached_property
    def levels(self) -> frozenset[str]:
        return frozenset(self.level.split("|"))

    @cached_property
    def required(self) -> frozenset[str]:
        return frozenset(name for name in self.fields if name != ANY and not name.endswith("?"))

    @cached_property
    def allowed(self) -> frozenset[str]:
        return frozenset(name.rstrip("?") for name in self.fields if name != ANY)

    @property
    def open(self) -> bool:
        return ANY in self.fields

    def field_problems(self, given: Iterable[str]) -> Iterator[str]:
        """What is wrong with a line that carries these fields."""
        names = frozenset(given)
        for name in sorted(self.required - names):
            yield f"{self.name}: field {name} is missing"
        if not self.open:
            for name in sorted(names - self.allowed):
                yield f"{self.name}: field {name} is not documented"


COUNTED: Final = frozenset({"samples", "blocks", "10 ms frames", "lines"})
"""Units of figures that only grow."""


@dataclass(frozen=True)
class Metric:
    """One figure of the event `metrics`, by its dotted path; `<id>` stands for a stream's id."""

    path: str
    unit: str
    meaning: str
    good: str
    counter: bool = False
    """Only grows, although its unit does not say so; see `counts`."""

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]

    @property
    def counts(self) -> bool:
        """Whether it only grows, until its session or process ends."""
        return self.counter or self.unit in COUNTED


HEAD_ORDER: Final = ("timestamp", "level", "event")
HEAD: Final = frozenset(HEAD_ORDER)
ALWAYS_ALLOWED: Final = frozenset({"traceback", "cut", "station"})
"""Any event may carry a traceback; a line that was too long is marked; every line tells whose it is: `station` is
this station's identity."""

OFFLINE: Final = frozenset({"network.state", "network.participants"})
"""What `network` says while there is no session."""

_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def events() -> Mapping[str, Event]:
    """The table of events by name."""
    from appliance.observe.event_table import EVENTS

    return {event.name: event for event in EVENTS}


def metrics() -> Mapping[str, Metric]:
    """The table of figures by path."""
    from appliance.observe.metric_table import METRICS

    return {metric.path: metric for metric in METRICS}


def validate(line: Mapping[str, object]) -> list[str]:
    """What is wrong with a parsed log line; nothing is an empty list."""
    problems = list(_head_problems(line))
    event = events().get(str(line.get("event")))
    if event is None:
        return [*problems, f"event {line.get('event')!r} is not documented"]
    if line.get("level") not in event.levels:
        problems.append(f"{event.name}: level {line.get('level')}, documented as {event.level}")
    more = HEAD | (ALWAYS_ALLOWED - event.allowed)
    body = {name: value for name, value in line.items() if name not in more}
    if "cut" not in line:
        problems += event.field_problems(body)
    if event.name == "metrics":
        problems += validate_metrics(body)
    return problems


def validate_metrics(body: Mapping[str, object]) -> list[str]:
    """What is wrong with the sections of a `metrics` line: undocumented, missing, or not a mapping."""
    wanted = {path.replace(".<id>.", ".*.") for path in metrics()}
    there: set[str] = set()
    problems: list[str] = []
    for section, fields in body.items():
        if not isinstance(fields, Mapping):
            problems.append(f"metrics: {section} is not an object")
            continue
        there |= set(_paths(section, fields))
    problems += [f"metrics: {path} is missing" for path in sorted(_complete(body, wanted) - there)]
    problems += [f"metrics: {path} is not documented" for path in sorted(there - wanted)]
    return problems


def _complete(body: Mapping[str, object], wanted: set[str]) -> set[str]:
    """The figures that the sections of this line must have; without a session, `network` has only OFFLINE."""
    sections = {name for name, fields in body.items() if isinstance(fields, Mapping)}
    network = body.get("network")
    offline = isinstance(network, Mapping) and network.get("state") == "offline"
    whole = sections - {"network"} if offline else sections
    found = {path for path in wanted if path.partition(".")[0] in whole and "*" not in path}
    return found | (OFFLINE if offline else set())


def _paths(section: str, fields: Mapping[str, object]) -> Iterator[str]:
    for name, value in fields.items():
        if name == "per_stream" and isinstance(value, Mapping):
            yield f"{section}.per_stream"
            for stream in value.values():
                if isinstance(stream, Mapping):
                    yield from (f"{section}.per_stream.*.{key}" for key in stream)
        else:
            yield f"{section}.{name}"


def _head_problems(line: Mapping[str, object]) -> Iterator[str]:
    if tuple(line)[:3] != HEAD_ORDER:
        yield f"the line starts with {', '.join(tuple(line)[:3])}, not with {', '.join(HEAD_ORDER)}"
    if not _TIMESTAMP.fullmatch(str(line.get("timestamp"))):
        yield f"timestamp {line.get('timestamp')!r} is not ISO 8601 in UTC with milliseconds and Z"
