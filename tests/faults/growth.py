"""What a process grows by with each event: readings from /proc, and a line fitted through them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from appliance.observe.process import read_process

PAIRS_AT_LEAST: Final = 4  # a line through fewer points says nothing


@dataclass(frozen=True, slots=True)
class Reading:
    """One look at a process after `count` events."""

    count: int
    rss_kb: float
    threads: int
    fds: int


def read(pid: int, count: int) -> Reading:
    """Look now. Raises OSError when the process is gone."""
    os.kill(pid, 0)
    seen = read_process(0.0, Path(f"/proc/{pid}"))
    assert seen.rss_bytes is not None
    assert seen.threads is not None
    assert seen.fds is not None
    return Reading(count, seen.rss_bytes / 1024, seen.threads, seen.fds)


@dataclass(frozen=True, slots=True)
class Growth:
    """How a process grew after its warm-up."""

    events: int
    rss_kb_each: float
    """Slope of the fitted line: KiB an event."""
    rss_mb_at_end: float
    threads_each: float
    fds_each: float
    threads_most: int
    fds_most: int

    def __str__(self) -> str:
        return (
            f"{self.rss_kb_each:+7.1f} KiB, {self.threads_each:+.3f} threads, {self.fds_each:+.3f} fds each; "
            f"at the end {self.rss_mb_at_end:.0f} MiB, {self.threads_most} threads and {self.fds_most} fds at most"
        )


def fit(readings: Sequence[Reading], *, warm_up: int) -> Growth:
    """The growth over all readings after the first `warm_up` events."""
    kept = [one for one in readings if one.count >= warm_up]
    if len(kept) < PAIRS_AT_LEAST:
        raise ValueError(f"{len(kept)} readings after {warm_up} events: too few for a line")
    return Growth(
        events=kept[-1].count - kept[0].count,
        rss_kb_each=_slope(kept, "rss_kb"),
        rss_mb_at_end=kept[-1].rss_kb / 1024,
        threads_each=_slope(kept, "threads"),
        fds_each=_slope(kept, "fds"),
        threads_most=max(one.threads for one in kept),
        fds_most=max(one.fds for one in kept),
    )


def _slope(readings: Sequence[Reading], figure: str) -> float:
    counts = [one.count for one in readings]
    return float(np.polyfit(counts, [getattr(one, figure) for one in readings], 1)[0])
