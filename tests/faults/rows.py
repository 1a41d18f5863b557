"""The rows of the table of faults: what is done, for how long, and what must hold. One place for tests and soak."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.faults import primitives
from tests.faults.stage import Stage
from tests.harness.station import Event

PATIENCE_S: Final = 30.0
"""How long a late return is waited for after its bar, to say how late it was."""
NOTICED_S: Final = 5.0
BACK_S: Final = 3.0
BACK_AFTER_LONG_S: Final = 8.0
RESTARTED_BACK_S: Final = 5.0
LEFT_STATES: Final = ("recovering", "connecting", "waiting", "blocked")


@dataclass(frozen=True)
class Row:
    """One fault and its bars, in seconds."""

    name: str
    fault: Callable[[Stage], AbstractAsyncContextManager[None]]
    lasts_s: float = 0.0
    back_s: float = BACK_S
    """From when it goes on until both hear each other again."""
    noticed_s: float | None = NOTICED_S
    """From the fault until a station that it hits says so; None: it need not."""
    everybody: bool = True
    """Whether it hits both stations or the first alone."""
    outages: tuple[int, ...] = (1,)
    """How many down lines (and as many up lines) a station that it hits may write; empty: a station that is killed
    writes none."""
    reasons: tuple[str, ...] = ()
    """What `room.disconnected` may give as its reason; empty: anything but nothing."""
    cause: str = ""
    """What a `room.retry` line must give as its reason while the fault lasts."""


@dataclass
class Verdict:
    """What became of one fault. Times on the monotonic clock."""

    row: str
    at_s: float
    over_s: float
    excused_until_s: float
    """Until when silence is the row's good right."""
    noticed_s: float | None = None
    back_s: float | None = None
    silent_s: float = 0.0
    """The longest silence that it caused, either way."""
    reasons: tuple[str, ...] = ()
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        noticed = "-" if self.noticed_s is None else f"{self.noticed_s:.1f} s"
        back = "never" if self.back_s is None else f"{self.back_s:.1f} s"
        words = f"{self.row}: noticed {noticed}, back {back}, silent {self.silent_s:.1f} s, {'/'.join(self.reasons)}"
        return words + "".join(f"; NOT GOOD: {problem}" for problem in self.problems)


async def play(stage: Stage, row: Row) -> Verdict:
    """Do it to a stage that is in a call, wait for the return, and judge. Raises nothing for a bar that is missed."""
    marks = stage.marks()
    at_s = time.monotonic()
    async with row.fault(stage):
        await asyncio.sleep(row.lasts_s)
    over_s = time.monotonic()
    verdict = Verdict(row.name, at_s, over_s, excused_until_s=over_s + row.back_s if row.back_s else at_s)
    await _wait_return(stage, row, verdict)
    _read_lines(stage, row, marks, verdict)
    return verdict


async def _wait_return(stage: Stage, row: Row, verdict: Verdict) -> None:
    try:
        since_s = await stage.steady(verdict.over_s, row.back_s + PATIENCE_S, from_s=verdict.at_s)
    except AssertionError as error:
        verdict.problems.append(str(error).partition("\n")[0])
    else:
        verdict.back_s = since_s - verdict.over_s
        if verdict.back_s > row.back_s:
            verdict.problems.append(f"back {verdict.back_s:.1f} s after it was over, not {row.back_s:g}")
    gaps = [gap for way in stage.judge.ways for gap in stage.judge.gaps(way, verdict.at_s)]
    verdict.silent_s = max((gap.length_s for gap in gaps), default=0.0)


def _read_lines(stage: Stage, row: Row, marks: Mapping[str, int], verdict: Verdict) -> None:
    for name in stage.names if row.everybody else stage.names[:1]:
        lines = stage.stations[name].seen[marks[name] :]
        verdict.problems += [f"{name}: {problem}" for problem in _problems(lines, row)]
        noticed_s = [line["arrived_s"] - verdict.at_s for line in lines if row.outages and _says_so(line)][:1]
        verdict.noticed_s = max((*noticed_s, verdict.noticed_s or 0.0)) if noticed_s else verdict.noticed_s
        if row.noticed_s is not None and not (noticed_s and noticed_s[0] <= row.noticed_s):
            verdict.problems.append(f"{name} noticed after {noticed_s or 'nothing'} s, not {row.noticed_s:g}")
        verdict.reasons += tuple(line["reason"] for line in _named(lines, "room.disconnected"))
    for name in () if row.everybody else stage.names[1:]:
        if _named(stage.stations[name].seen[marks[name] :], "room.disconnected"):
            verdict.problems.append(f"{name} left the room too")


def _problems(lines: list[Event], row: Row) -> list[str]:
    downs, ups = _named(lines, "room.disconnected"), _named(lines, "room.connected")
    found = [f"a bug: {line.get('error')}" for line in _named(lines, "bug")]
    if row.outages and (len(downs) not in row.outages or len(ups) != len(downs)):
        found.append(f"{len(downs)} down lines and {len(ups)} up lines")
    if row.cause and row.cause not in [line["reason"] for line in _named(lines, "room.retry")]:
        found.append(f"no retry because of {row.cause}")
    if any(not line.get("reason") or (row.reasons and line["reason"] not in row.reasons) for line in downs):
        found.append(f"the reason was {[line.get('reason') for line in downs]}, not one of {row.reasons}")
    return found


def _named(lines: list[Event], name: str) -> list[Event]:
    return [line for line in lines if line.get("event") == name]


def _says_so(line: Mapping[str, Any]) -> bool:
    name = line.get("event")
    return name == "room.disconnected" or (name == "state.changed" and line.get("to") in LEFT_STATES)


# ---- the table -----------------------------------------------------------------------------------------------------

BLOCKED_RETRY_S: Final = 2.0  # what the stage's stations are told: the default of half a minute is only longer
SETTINGS: Final[Mapping[str, Any]] = {"supervisor": {"blocked_retry_s": BLOCKED_RETRY_S}}
"""What the rows expect in the stations' alto.yaml."""
CONFIG_BAD_S: Final = 3.0  # longer than alto takes to look at a file that was saved

BROKEN: Final = ("connection_lost", "media_stalled")
CLOSED: Final = ("server_closed",)
KILLED_2: Final = Row("server killed, back after 2 s", primitives.server_killed, 2.0, reasons=BROKEN)
KILLED_30: Final = Row(
    "server killed, back after 30 s", primitives.server_killed, 30.0, reasons=BROKEN, cause="unreachable"
)
KILLED_300: Final = Row(
    "server killed, back after 5 min",
    primitives.server_killed,
    300.0,
    BACK_AFTER_LONG_S,
    reasons=BROKEN,
    cause="unreachable",
)
FROZEN_20: Final = Row("server frozen for 20 s", primitives.server_frozen, 20.0, reasons=BROKEN)
DRAINED: Final = Row(
    "server restarted in order",
    primitives.server_drained,
    1.0,
    reasons=(*CLOSED, "connection_lost"),  # on a busy machine the end of the socket overtakes the server's farewell
)
DELETED: Final = Row("room deleted", primitives.room_deleted, reasons=CLOSED)
REMOVED: Final = Row(
    "station removed, told to return",
    primitives.participant_removed,
    2.0,
    everybody=False,
    reasons=("evicted",),
    cause="evicted",
)
OTHER_KEYS: Final = Row(
    "server has other keys for 6 s",
    primitives.server_with_other_keys,
    6.0,
    BLOCKED_RETRY_S + BACK_S,
    cause="rejected",
)
PULLED_3: Final = Row(
    "cable out for 3 s", primitives.cable_pulled, 3.0, noticed_s=None, everybody=False, outages=(0, 1)
)
DOWN_3: Final = Row(
    "interface down for 3 s", primitives.interface_down, 3.0, noticed_s=None, everybody=False, outages=(0, 1)
)
PULLED_20: Final = Row("cable out for 20 s", primitives.cable_pulled, 20.0, everybody=False, reasons=BROKEN)
DOWN_20: Final = Row("interface down for 20 s", primitives.interface_down, 20.0, everybody=False, reasons=BROKEN)
SWALLOWED_20: Final = Row(
    "packets swallowed for 20 s", primitives.packets_swallowed, 20.0, everybody=False, reasons=BROKEN
)
PULLED_180: Final = Row("cable out for 3 min", primitives.cable_pulled, 180.0, everybody=False, reasons=BROKEN)
STATION_KILLED: Final = Row(
    "station killed", primitives.station_killed, 0.0, RESTARTED_BACK_S, None, everybody=False, outages=()
)
HANGUPS: Final = Row("100 SIGHUPs", primitives.hangups, 0.0, 0.0, None, everybody=False, outages=(0,))
HALF_WRITTEN: Final = Row(
    "alto.yaml half written", primitives.file_half_written, CONFIG_BAD_S, 0.0, None, everybody=False, outages=(0,)
)
