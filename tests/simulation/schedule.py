"""A seed → one life: what the station is like, and which faults it meets when."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, Final

from tests.simulation.faults import CATALOGUE, Fault

HOUR_S: Final = 3600.0
SPAN_S: Final = (2 * HOUR_S, 36 * HOUR_S)  # shortest and longest life: with the last fault most of it is over
TROUBLE_S: Final = 90.0  # the faults of one trouble begin within this: long enough apart to find it half recovered
AT_BOOT: Final = 0.2  # share of lives that begin in trouble
STOPPED_AMID: Final = 0.3  # share of lives that end in the middle of something


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault of a life, from `begins_s` to `ends_s` of it."""

    fault: Fault
    begins_s: float
    ends_s: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """Nothing but the seed decides what is in it."""

    seed: int
    station: dict[str, Any]
    entries: tuple[Entry, ...]
    stops_at_s: float | None
    """When it is told to stop, whatever goes on; None: when it is well again after the last fault."""
    watches_file: bool = field(default=False)

    @property
    def ends_s(self) -> float:
        return max((entry.ends_s for entry in self.entries), default=0.0)


def make(seed: int) -> Schedule:
    """The life of that number."""
    rng = random.Random(seed)
    span_s = rng.uniform(*SPAN_S)
    starts = [0.0] if rng.random() < AT_BOOT else []
    starts += [rng.uniform(5.0, span_s) for _ in range(rng.randint(1, 3))]
    entries = [entry for start_s in starts for entry in _trouble(rng, start_s)]
    entries.sort(key=lambda entry: (entry.begins_s, entry.fault.name))
    return Schedule(
        seed=seed,
        station=_station(rng),
        entries=tuple(entries),
        stops_at_s=rng.uniform(0.0, _last_end_s(entries) + 5.0) if rng.random() < STOPPED_AMID else None,
        watches_file=any(entry.fault.config for entry in entries),
    )


def _last_end_s(entries: list[Entry]) -> float:
    return max(entry.ends_s for entry in entries)


def _trouble(rng: random.Random, start_s: float) -> list[Entry]:
    """One to four faults, each kind once, that begin near each other."""
    entries = []
    for fault in set_of(rng, rng.choice((1, 1, 2, 2, 3, 4))):
        begins_s = start_s + rng.choice((0.0, rng.uniform(0.0, 3.0), rng.uniform(0.0, TROUBLE_S)))
        entries.append(Entry(fault, begins_s, begins_s + (0.0 if fault.brief else _length_s(rng, fault.longest_s))))
    return entries


def set_of(rng: random.Random, count: int) -> list[Fault]:
    """Different kinds of faults, the likelier ones more often."""
    chosen: list[Fault] = []
    while len(chosen) < count:
        fault = rng.choices(CATALOGUE, [fault.weight for fault in CATALOGUE])[0]
        if fault not in chosen:
            chosen.append(fault)
    return chosen


def _length_s(rng: random.Random, longest_s: float) -> float:
    """A hiccup, a restart, or a long one."""
    kind = rng.random()
    if kind < 0.5:
        return rng.uniform(0.05, 5.0)
    if kind < 0.85:
        return rng.uniform(5.0, 60.0)
    return rng.uniform(60.0, longest_s)


def _station(rng: random.Random) -> dict[str, Any]:
    return {
        "input_enabled": rng.random() < 0.75,
        "input_device": "Device",
        "output_device": "Device",
        "retry_max_s": rng.choice((5.0, 5.0, 5.0, 2.0)),
        "recovery_patience_s": rng.choice((25.0, 25.0, 8.0, 60.0)),
        "room": "home",
        "block_ms": 10,
        "output_volume": 1.0,
        "bob": 1.0,
    }
