"""`deploy/dev load`: a call while the board is busy and the log is flooded: every gap with its cause.

Two loops keep both processors busy at the usual precedence, and now and then 500 lines are logged at once. What a
listener heard broken is matched in time to the counters in alto's own `metrics` lines that grew around it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from tests.bench.clients import ALTO, CLIENTS
from tests.bench.figures import grew
from tests.bench.heard import GAP_MS
from tests.bench.trial import Cell, Stage, Trial
from tests.harness.processes import end, prefer, preferred, spawn

LOOPS: Final = 2
LOADED: Final = "alto-loaded"
COMMAND: Final = CLIENTS[ALTO].replace("-m appliance", "-m tests.bench.chatty") + " --set metrics.interval_s=1"
BUSY: Final = "while True: pass"
BROKEN_S: Final = 1.5  # a counter that grew so long before or after a gap may be its cause


@contextlib.contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing but take the processor, at niceness 0."""
    processes = [spawn([sys.executable, "-c", BUSY]) for _ in range(loops)]
    for process in processes:
        prefer(process.pid, 0)  # they inherit what this run goes by
    try:
        yield
    finally:
        for process in processes:
            end(process)


def causes(at_s: float, stations: Sequence[Sequence[tuple[float, Mapping[str, Any]]]]) -> dict[str, float]:
    """What grew in any station's `metrics` lines around that time; each is (s, line), oldest first. Pure."""
    found: dict[str, float] = {}
    for lines in stations:
        near = [index for index, (when, _) in enumerate(lines) if abs(when - at_s) <= BROKEN_S]
        if near:
            around = [line for _, line in lines[max(0, near[0] - 1) : near[-1] + 1]]
            found |= {name: max(by, found.get(name, 0.0)) for name, by in grew(around).items()}
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """See the module; the exit code is 1 when a gap has no cause."""
    parser = argparse.ArgumentParser(prog="deploy/dev load", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--loops", type=int, default=LOOPS, help="busy processes (default: 2)")
    arguments = parser.parse_args(argv)
    print(f"# load before: {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    with preferred(), Stage({LOADED: COMMAND}) as stage, busy(arguments.loops):
        trial = stage.measure(Cell(LOADED, 0), 60.0 * arguments.minutes)
    print("\n".join(told(trial)), flush=True)
    return int(any(not causes(at_s, seen(trial)) for at_s, _ in gaps(trial)))


def gaps(trial: Trial) -> list[tuple[float, float]]:
    """(s, ms) of each silence that somebody heard."""
    return sorted((at_s, ms) for way in trial.broken.values() for at_s, ms in way if ms > GAP_MS)


def seen(trial: Trial) -> list[list[tuple[float, Mapping[str, Any]]]]:
    """Of each station its `metrics` lines, by the seconds since the recording began."""
    return [
        [(datetime.fromisoformat(line["timestamp"]).timestamp() - trial.began_at, line) for line in lines]
        for lines in trial.lines
    ]


def told(trial: Trial) -> Iterator[str]:
    """The trial in lines for a person."""
    figures, found = trial.figures, gaps(trial)
    jumps = sum(ms <= GAP_MS for way in trial.broken.values() for _, ms in way)
    yield (
        f"{trial.seconds / 60:.1f} min at load {trial.load:.1f}: {len(found)} gaps, {jumps} jumps, "
        f"delay p50 {figures.get('delay_p50_ms', 0.0):.0f} ms, max {figures.get('delay_max_ms', 0.0):.0f} ms, "
        f"callback p99 {figures.get('callback_p99_ms', 0.0):.2f} ms, "
        f"broken before alto heard it: {figures['harness_broken']:.0f}"
    )
    for at_s, ms in found:
        why = ", ".join(f"{name} +{by:g}" for name, by in causes(at_s, seen(trial)).items())
        yield f"  {at_s:7.1f} s  {ms:5.0f} ms  {why or 'NO CAUSE'}"
    yield f"  counted meanwhile: {trial.accidents or 'nothing'}"


if __name__ == "__main__":
    sys.exit(main())
