"""`deploy/dev soak`: a long call of two stations with random faults, judged by the sound that arrives.

Progress goes to standard error, the report to standard output and into .cache/soak. Exit code 0 when all holds, 1 when
something does not, 130 when it was interrupted. The second station is never killed: its memory tells the whole story.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from appliance.observe.process import read_process
from tests.faults import rows
from tests.faults.rows import Row, Verdict
from tests.faults.soak_report import Reading, Report, Soak
from tests.faults.stage import Stage
from tests.harness.netns import NEEDS_ROOT, may_make_networks
from tests.harness.processes import preferred
from tests.harness.sound import VirtualSound
from tests.harness.station import ROOT

NAMES: Final = ("kitchen", "porch")
FOLDER: Final = ROOT / ".cache" / "soak"
BETWEEN_S: Final = (20.0, 60.0)
"""From the return of one fault to the next."""
SHORT: Final = (
    rows.KILLED_2,
    rows.KILLED_30,
    rows.FROZEN_20,
    rows.DRAINED,
    rows.DELETED,
    rows.REMOVED,
    rows.OTHER_KEYS,
    rows.PULLED_3,
    rows.DOWN_3,
    rows.PULLED_20,
    rows.DOWN_20,
    rows.SWALLOWED_20,
    rows.STATION_KILLED,
    rows.HANGUPS,
    rows.HALF_WRITTEN,
)
LONG: Final = (rows.KILLED_300, rows.PULLED_180)
LONG_EVERY: Final = 15
"""One fault of so many is a long one, if the time that is left allows it."""
READ_EVERY_S: Final = 5.0
LOOK_EVERY_S: Final = 0.5
EX_USAGE: Final = 64
EX_INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Hold the soak; returns the exit code."""
    args = _parser().parse_args(argv)
    if not may_make_networks():
        print(f"deploy/dev soak {NEEDS_ROOT}", file=sys.stderr)
        return EX_USAGE
    try:
        with preferred():
            return _soak(args)
    except KeyboardInterrupt:  # before the call began: nothing to report
        return EX_INTERRUPTED


def _soak(args: argparse.Namespace) -> int:
    soak = Soak(seed=args.seed, began_s=time.monotonic())
    with (
        tempfile.TemporaryDirectory(prefix="alto-soak-") as directory,
        VirtualSound(NAMES) as sound,
        Stage(Path(directory), sound, NAMES, **rows.SETTINGS) as stage,
    ):
        asyncio.run(_Run(stage, soak, args.minutes * 60.0).hold())
        return _report(soak, stage)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="deploy/dev soak", description="A long call with random faults.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (default: 60)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="which faults, when")
    return parser


def _report(soak: Soak, stage: Stage) -> int:
    report = Report(soak, stage.judge)
    print("\n".join(report.table()), flush=True)
    for path in report.write(FOLDER, time.strftime("%Y%m%d-%H%M%S") + f"-seed{soak.seed}"):
        _say(f"wrote {path.relative_to(ROOT)}")
    if not soak.complete:
        return EX_INTERRUPTED
    return 1 if report.problems else 0


def programme(seed: int, seconds: float) -> Iterator[tuple[float, Row]]:
    """(pause in seconds, what comes then), over and over. `seconds`: how long the soak is."""
    rng = random.Random(seed)
    left: list[Row] = []
    for count in range(1, sys.maxsize):
        pause_s = rng.uniform(*BETWEEN_S)
        if count % LONG_EVERY == 0 and seconds > 1200.0:
            yield pause_s, rng.choice(LONG)
            continue
        if not left:  # each of them before any a second time
            left = rng.sample(SHORT, len(SHORT))
        yield pause_s, left.pop()


class _Run:
    """The soak while it runs."""

    def __init__(self, stage: Stage, soak: Soak, seconds: float) -> None:
        self._stage: Final = stage
        self._soak: Final = soak
        self._seconds: Final = seconds
        self._interrupted: Final = asyncio.Event()

    async def hold(self) -> None:
        """From the first tone to the end, whatever ends it."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._interrupted.set)
        _say(f"seed {self._soak.seed}, {self._seconds / 60:g} minutes")
        tasks = [asyncio.create_task(work) for work in (self._look(), self._read(), self._hurt())]
        stop = asyncio.create_task(self._interrupted.wait())
        await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
        self._soak.complete = not self._interrupted.is_set()
        for task in (stop, *tasks):
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        self._soak.problems += [repr(end) for end in ends if isinstance(end, Exception)]
        self._stage.judge.look()
        self._soak.ended_s = max(self._soak.began_s, self._stage.judge.judged_s)
        self._soak.problems += self._strange_lines()

    async def _hurt(self) -> None:
        await self._stage.assembled()
        self._soak.began_s = time.monotonic()
        end_s = self._soak.began_s + self._seconds
        for pause_s, row in programme(self._soak.seed, self._seconds):
            await self._sleep_until(min(time.monotonic() + pause_s, end_s))
            if time.monotonic() + row.lasts_s + row.back_s + rows.PATIENCE_S > end_s:
                break
            _say(f"{time.monotonic() - self._soak.began_s:6.0f} s: {row.name}")
            verdict = await rows.play(self._stage, row)
            self._soak.verdicts.append(verdict)
            _say(f"          {verdict}")
            self._keep_story(verdict)
        await self._sleep_until(end_s)

    async def _sleep_until(self, at_s: float) -> None:
        await asyncio.sleep(max(0.0, at_s - time.monotonic()))

    def _keep_story(self, verdict: Verdict) -> None:
        """What the stations wrote around a fault that went badly."""
        if verdict.problems:
            FOLDER.mkdir(parents=True, exist_ok=True)
            name = f"seed{self._soak.seed}-{verdict.at_s - self._soak.began_s:.0f}s.log"
            (FOLDER / name).write_text(f"{verdict}\n{self._stage.story(80)}\n")

    async def _look(self) -> None:
        while True:
            self._stage.judge.look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _read(self) -> None:
        while True:
            self._soak.load_max = max(self._soak.load_max, os.getloadavg()[0])
            for name, station in self._stage.stations.items():
                if station.running:
                    self._soak.readings += self._reading(name, station.pid)
            await asyncio.sleep(READ_EVERY_S)

    def _reading(self, name: str, pid: int) -> Iterator[Reading]:
        with contextlib.suppress(OSError):
            seen = read_process(time.monotonic(), Path(f"/proc/{pid}"))
            joins = len(self._stage.stations[name].events("room.connected"))
            if seen.rss_bytes and seen.threads and seen.fds:
                yield Reading(seen.at, name, pid, seen.rss_bytes / 1e6, seen.threads, seen.fds, joins)

    def _strange_lines(self) -> Iterator[str]:
        for name, station in self._stage.stations.items():
            yield from (f"{name} wrote what is no event: {line}" for line in station.garbage[:3])
            yield from (f"{name}: a bug: {event.get('error')}" for event in station.events("bug")[:3])
            if "Traceback" in station.stderr:
                yield f"{name}: a traceback on standard error"


def _say(words: str) -> None:
    print(f"# {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
