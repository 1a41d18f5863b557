"""Many lives at once, on all processors, and what they add up to."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Final

import pytest

from tests.simulation.life import Life, live

YEAR_S: Final = 365.25 * 86400
CHUNK: Final = 25  # lives that a process is given at a time
TOLD: Final = 3  # whole stories of failed lives that a report shows


@dataclass
class Report:
    """The sum of many lives."""

    lives: int = 0
    years: float = 0.0
    in_full_hours: float = 0.0
    took_s: float = 0.0
    cpu_s: float = 0.0
    jumps_a_second: float = 0.0
    lines: int = 0
    outages: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    well_after_s: dict[str, float] = field(default_factory=dict)
    """By fault: the longest that it took to be well again after its end."""
    failed: list[Life] = field(default_factory=list)

    def told(self) -> str:
        """For a person."""
        head = (
            f"{self.lives} lives, {self.years:.1f} years, {self.faults.total()} faults, {self.outages} outages in "
            f"{self.took_s:.0f} s ({self.cpu_s / max(self.lives, 1) * 1000:.0f} ms of processor a life; "
            f"{self.in_full_hours:.0f} h ran in full, {self.jumps_a_second:.1f} wake-ups a second in them)"
        )
        rows = [f"  {n:6d} × {name}{self._well(name)}" for name, n in sorted(self.faults.items())]
        return "\n".join([head, *rows, *self._failures()])

    def _well(self, name: str) -> str:
        seconds = self.well_after_s.get(name)
        return "" if seconds is None else f", alone: well again within {seconds:.2f} s"

    def _failures(self) -> Iterator[str]:
        for life in self.failed[:TOLD]:
            yield f"\n{life.story}\nseed {life.seed}: " + "; ".join(life.breaches)
        if self.failed:
            seeds = ", ".join(str(life.seed) for life in self.failed)
            yield f"\n{len(self.failed)} of {self.lives} lives failed; seeds: {seeds}"
            yield f"one again: python -m tests.simulation --seed {self.failed[0].seed}"


def run(seeds: Sequence[int], *, jobs: int | None = None) -> Report:
    """Live all these lives, in `jobs` processes (None: one for each processor)."""
    began_s = time.monotonic()
    report = add(_lives(seeds, jobs or os.cpu_count() or 1))
    report.took_s = time.monotonic() - began_s
    return report


def add(lives: Iterable[Life]) -> Report:
    """Sum up."""
    report = Report()
    jumps = 0
    for life in lives:
        report.lives += 1
        report.years += life.seconds / YEAR_S
        report.in_full_hours += life.in_full_s / 3600
        report.cpu_s += life.cpu_s
        report.lines += life.lines
        report.outages += life.outages
        report.faults += life.faults
        jumps += life.jumps
        for name, seconds in life.well_after_s.items():
            report.well_after_s[name] = max(seconds, report.well_after_s.get(name, 0.0))
        if life.breaches:
            report.failed.append(life)
            print(f"seed {life.seed}: {life.breaches[0]}", file=sys.stderr, flush=True)
    report.jumps_a_second = jumps / max(1.0, report.in_full_hours * 3600)
    return report


@contextlib.contextmanager
def processes(jobs: int) -> Iterator[Executor]:
    """Fresh ones: forked ones would share the threads of whoever calls this in an unknown state. Not measured by
    coverage: it makes them three times as slow, and learns nothing that the first lives did not show it."""
    with (
        pytest.MonkeyPatch.context() as patch,
        ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_begin) as pool,
    ):
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        yield pool


def _begin() -> None:
    """In each process: what is there for good is not looked at by each collection of garbage."""
    gc.freeze()
    warnings.filterwarnings("ignore", message="The HMAC key is")  # of half a file, cut within the secret


def _lives(seeds: Sequence[int], jobs: int) -> Iterator[Life]:
    if jobs == 1:
        yield from map(_live, seeds)
        return
    with processes(jobs) as pool:
        yield from pool.map(_live, seeds, chunksize=CHUNK)


def _live(seed: int) -> Life:
    life = live(seed)
    if not life.breaches:
        life.story = ""  # ten thousand stories are not sent between processes
    return life
