"""What a soak comes to: shares of sound, growth of the processes, verdicts; as a table, as JSON, and as a picture."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.faults.judge import Judge, Way
from tests.faults.rows import Verdict
from tests.harness import reports

SHARE_AT_LEAST: Final = 0.99
"""Of the time in which the server can be reached and no row still has its time to return."""
SLOPE_MB_PER_H: Final = 1.0
LEAK_MB_PER_JOIN: Final = 0.6
"""The SDK leaks about half a megabyte a join (measured); what a life grows by beyond that is ours."""
WARM_UP_S: Final = 600.0
"""Caches and pools fill with the first fault of each kind."""
LIFE_S: Final = 1500.0
"""A life is judged from this length on after its warm-up: less, and a line through it says nothing."""
MORE_THREADS: Final = 3
MORE_FDS: Final = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a station's process."""

    at_s: float
    station: str
    pid: int
    rss_mb: float
    threads: int
    fds: int
    joins: int
    """How many times the station joined a room before."""


@dataclass(frozen=True, slots=True)
class Growth:
    """What one process grew by between its warm-up and its end, from lines fitted through its readings."""

    station: str
    pid: int
    hours: float
    joins: int
    rss_mb_per_h: float
    rss_mb_last: float
    threads: float
    fds: float

    @property
    def allowed_mb_per_h(self) -> float:
        return SLOPE_MB_PER_H + LEAK_MB_PER_JOIN * self.joins / self.hours

    def problems(self) -> Iterator[str]:
        who = f"{self.station} ({self.pid})"
        if self.rss_mb_per_h > self.allowed_mb_per_h:
            yield f"{who} grew by {self.rss_mb_per_h:.1f} MB/h, {self.allowed_mb_per_h:.1f} are allowed"
        if self.threads > MORE_THREADS:
            yield f"{who} has {self.threads:.0f} threads more"
        if self.fds > MORE_FDS:
            yield f"{who} has {self.fds:.0f} file descriptors more"


@dataclass
class Soak:
    """Everything that was seen. Times on the monotonic clock."""

    seed: int
    began_s: float
    ended_s: float = 0.0
    complete: bool = False
    load_max: float = 0.0
    """The machine's load average at its highest: much more than its cores, and the sound stutters for that alone."""
    verdicts: list[Verdict] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong and belongs to no fault."""


def calm_spans(soak: Soak) -> list[tuple[float, float]]:
    """When there must be sound: from the start to the end, without each fault and the time to return from it."""
    spans: list[tuple[float, float]] = []
    at_s = soak.began_s
    for verdict in sorted(soak.verdicts, key=lambda one: one.at_s):
        if verdict.excused_until_s > verdict.at_s:
            spans.append((at_s, verdict.at_s))
            at_s = max(at_s, verdict.excused_until_s)
    spans.append((at_s, soak.ended_s))
    return [(start_s, stop_s) for start_s, stop_s in spans if stop_s > start_s]


@dataclass(frozen=True, slots=True)
class Share:
    """How much of the time a way carried sound, 0.0 to 1.0."""

    without_outages: float
    """Silences of up to 0.3 s left out: they are for the quality of the sound, and a busy machine makes them."""
    strictly: float
    """Each 20 ms counted."""


def share(judge: Judge, way: Way, spans: Sequence[tuple[float, float]]) -> Share:
    """The part of those spans with sound."""
    heard = [judge.heard_s(way, *span) for span in spans]
    looked_s = max(sum(looked_s for _, looked_s in heard), 1e-9)
    silent_s = sum(gap.length_s for span in spans for gap in judge.gaps(way, *span))
    return Share(1.0 - silent_s / looked_s, sum(sound_s for sound_s, _ in heard) / looked_s)


def growths(readings: Sequence[Reading]) -> list[Growth]:
    """One for each life of a process that lasted long enough."""
    ordered = sorted(readings, key=lambda one: (one.pid, one.at_s))
    lives = [list(life) for _, life in itertools.groupby(ordered, key=lambda one: one.pid)]
    return [_growth(life) for life in map(_warm, lives) if life and life[-1].at_s - life[0].at_s >= LIFE_S]


def _warm(life: Sequence[Reading]) -> list[Reading]:
    return [one for one in life if one.at_s >= life[0].at_s + WARM_UP_S]


def _growth(life: Sequence[Reading]) -> Growth:
    hours = (life[-1].at_s - life[0].at_s) / 3600.0

    def per_h(figure: str) -> float:
        at_h = [(one.at_s - life[0].at_s) / 3600.0 for one in life]
        return float(np.polyfit(at_h, [getattr(one, figure) for one in life], 1)[0])

    last = life[-1]
    joins = last.joins - life[0].joins
    threads, fds = per_h("threads") * hours, per_h("fds") * hours
    return Growth(last.station, last.pid, hours, joins, per_h("rss_mb"), last.rss_mb, threads, fds)


class Report:
    """The judgement over a soak."""

    def __init__(self, soak: Soak, judge: Judge) -> None:
        self.soak: Final = soak
        self.judge: Final = judge
        self.spans: Final = calm_spans(soak)
        self.shares: Final = {way: share(judge, way, self.spans) for way in judge.ways}
        self.growths: Final = growths(soak.readings)

    @property
    def problems(self) -> list[str]:
        """All that does not hold."""
        found = [f"{verdict.row}: {problem}" for verdict in self.soak.verdicts for problem in verdict.problems]
        found += self.soak.problems
        found += [problem for growth in self.growths for problem in growth.problems()]
        for way, part in self.shares.items():
            if part.without_outages < SHARE_AT_LEAST:
                found.append(f"{way}: sound for {part.without_outages:.2%}")
        return found

    def table(self) -> Iterator[str]:
        """Lines for a person."""
        began_s = self.soak.began_s
        yield f"{'at':>7}  {'fault':<34} {'lasted':>7} {'noticed':>8} {'back':>6} {'silent':>7}"
        for one in self.soak.verdicts:
            lasted = f"{one.over_s - one.at_s:.1f}"
            words = f"{one.at_s - began_s:7.0f}  {one.row:<34} {lasted:>7} {_s(one.noticed_s):>8} {_s(one.back_s):>6}"
            yield f"{words} {one.silent_s:7.1f}  {'; '.join(one.problems) or 'ok'}"
        calm_s = sum(stop_s - start_s for start_s, stop_s in self.spans)
        for way, part in self.shares.items():
            yield (
                f"{way}: sound for {part.without_outages:.3%} of {calm_s:.0f} s in reach of the server "
                f"(bar: {SHARE_AT_LEAST:.0%}); strictly, each 20 ms counted, {part.strictly:.3%}"
            )
        yield f"the machine: a load of up to {self.soak.load_max:.1f} on {os.cpu_count()} cores"
        for growth in self.growths:
            yield (
                f"{growth.station} ({growth.pid}): {growth.rss_mb_per_h:+.1f} MB/h over {growth.hours:.2f} h and "
                f"{growth.joins} joins (at most {growth.allowed_mb_per_h:.1f}), "
                f"{growth.rss_mb_last:.0f} MB in the end; "
                f"threads {growth.threads:+.1f}, file descriptors {growth.fds:+.1f}"
            )
        if not self.growths:
            yield f"no process lived for {(WARM_UP_S + LIFE_S) / 60:.0f} minutes: its growth is not judged"
        yield from (f"NOT GOOD: {problem}" for problem in self.problems)
        minutes = (self.soak.ended_s - began_s) / 60
        after = f"{minutes:.1f} minutes{'' if self.soak.complete else ', interrupted'}"
        yield f"seed {self.soak.seed}, {after}: {'not good' if self.problems else 'all holds'}"

    def as_json(self) -> dict[str, Any]:
        """The same for scripts, with every reading; seconds since the start."""
        began_s = self.soak.began_s
        return {
            "seed": self.soak.seed,
            "seconds": round(self.soak.ended_s - began_s, 1),
            "complete": self.soak.complete,
            "shares": {str(way): asdict(part) for way, part in self.shares.items()},
            "load_max": self.soak.load_max,
            "faults": [_since(asdict(one), began_s) for one in self.soak.verdicts],
            "growths": [asdict(one) for one in self.growths],
            "readings": [_since(asdict(one), began_s) for one in self.soak.readings],
            "problems": self.problems,
        }

    def write(self, folder: Path, name: str) -> list[Path]:
        """`name`.txt, .json and .png in that folder."""
        from tests.faults.soak_plot import plot

        return reports.write(
            folder, name, table=self.table(), data=self.as_json(), plot=lambda picture: plot(self, picture)
        )


def _since(data: dict[str, Any], began_s: float) -> dict[str, Any]:
    absolute = ("at_s", "over_s", "excused_until_s")
    return {key: round(value - began_s, 3) if key in absolute else value for key, value in data.items()}


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
