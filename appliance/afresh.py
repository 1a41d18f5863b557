"""A fresh process in place of a worn one: same command, same pid, so that systemd and everybody else keep believing.

What `restart.py` judges is looked at and done here. A signal that comes in between is kept: SIGTERM ends the station
whenever it comes, before, during or after.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Final, Self

import structlog

from appliance.audio.cards import last_plugged_ns
from appliance.observe.process import held_by_kernel, read_process
from appliance.ports import Clock
from appliance.restart import LOOK_S, Look, Reason, RestartJudge, loudest_dbfs

log = structlog.get_logger()

MARK: Final = "ALTO_RESTARTED"
"""In the environment of the fresh process."""

HELD: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
ENDING: Final = (signal.SIGTERM, signal.SIGINT)
LOOP_TURNS: Final = 3  # one to read the wake-up, one to call the handler, one for luck
STANDARD_ERROR: Final = 2
MIB: Final = 1024 * 1024


class WearWatch:
    """Looks at what time does to the station while it runs: its memory, and calls that do not return. Loop thread
    only."""

    def __init__(
        self,
        *,
        clock: Clock,
        replaces: bool,
        limit_mb: Callable[[], float],
        stuck_s: Callable[[], float],
        in_room: Callable[[], bool],
        attended: Callable[[], bool],
        figures: Callable[[], Mapping[str, Mapping[str, object]]],
        restart: Callable[[], None],
        rss_mb: Callable[[], float] = lambda: (read_process(0.0).rss_bytes or 0) / MIB,
        last_plugged: Callable[[], int] = last_plugged_ns,
        held: Callable[[], bool] = held_by_kernel,
    ) -> None:
        """`replaces`: whether this process took another one's place; `stuck_s`: see `Look`. `figures` are those of
        `metrics`; `restart` is called once, after the event said why."""
        self._clock = clock
        self._limit_mb = limit_mb
        self._stuck_s = stuck_s
        self._in_room = in_room
        self._attended = attended
        self._figures = figures
        self._restart = restart
        self._rss_mb = rss_mb
        self._last_plugged = last_plugged
        self._held = held
        self._judge = RestartJudge(started_s=clock.monotonic(), replaces=replaces)

    async def run(self) -> None:
        """Until it is time for a fresh process."""
        while True:
            await asyncio.sleep(LOOK_S)
            limit_mb, look = self._limit_mb(), self._look()
            reason = self._judge.judge(look, limit_mb=limit_mb, now_s=self._clock.monotonic())
            if reason is not None:
                self._say(reason, look, limit_mb)
                self._restart()
                return

    def _look(self) -> Look:
        rss_mb, stuck_s, plugged = self._rss_mb(), self._stuck_s(), self._last_plugged()
        if rss_mb <= self._limit_mb() and not stuck_s:
            return Look(rss_mb=rss_mb, in_room=True, plugged=plugged)  # the usual case: nobody needs to know more
        return Look(
            rss_mb=rss_mb,
            in_room=self._in_room(),
            loudest_dbfs=loudest_dbfs(self._figures()),
            attended=self._attended(),
            stuck_s=stuck_s,
            plugged=plugged,
            held=self._held(),
        )

    def _say(self, reason: Reason, look: Look, limit_mb: float) -> None:
        log.warning(
            "appliance.restarting",
            reason=reason.value,
            rss_mb=round(look.rss_mb),
            limit_mb=limit_mb,
            stuck_s=round(look.stuck_s, 1),
        )


class HeldSignals:
    """Remembers what comes after the loop has stopped taking signals. Main thread only."""

    def __init__(self) -> None:
        self._came: set[int] = set()
        for number in HELD:
            signal.signal(number, self._remember)

    @classmethod
    async def hold(cls) -> Self:
        """From now on; those that the loop had taken before are through when this returns."""
        held = cls()
        for _ in range(LOOP_TURNS):
            await asyncio.sleep(0)
        return held

    def asked_to_end(self) -> str:
        """`sigterm` or `sigint` when one came. From here on the kernel keeps what comes, for the fresh process."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        return next((number.name.lower() for number in ENDING if number in self._came), "")

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        self._came.add(number)


def release_signals() -> None:
    """Take what the kernel kept while this process came up. Call it when the handlers are in place."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def replace_process() -> None:
    """Become a fresh process of the same command. Returns only by OSError, when that cannot be done."""
    for entry in os.listdir("/proc/self/fd"):
        if int(entry) > STANDARD_ERROR:  # Python's own are closed on exec anyway; the libraries' should be
            _close_on_exec(int(entry))
    os.execve(sys.executable, sys.orig_argv, {**os.environ, MARK: "1"})  # noqa: S606  # our own command, no shell


def is_replacement() -> bool:
    """Whether this process took a grown one's place. Asked once: its children need not know."""
    return os.environ.pop(MARK, "") != ""


def _close_on_exec(fd: int) -> None:
    try:
        os.set_inheritable(fd, False)
    except OSError:  # the listing's own
        return
