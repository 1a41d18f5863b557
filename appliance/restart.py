"""Whether the time has come for a fresh process: pure judgement over looks at a station, no I/O.

LiveKit's SDK keeps a part of each session's memory for good (how much: ARCHITECTURE.md). A box that lives for years
on an unsteady network therefore starts its process afresh one quiet moment, long before the board runs out.

A call into a sound driver, or into PortAudio, may never return, whatever is plugged in again (PortAudio waits for ever
for a thread that could not start: its issue 535). The device behind it is silent until the process ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

LOOK_S: Final = 2.0  # a word lasts a second: shorter looks wake the board for nothing, longer ones average it away
QUIET_S: Final = 60.0  # people who talk pause for seconds; who has been silent for a minute is done
QUIET_DBFS: Final = -45.0  # over one look; speech is −30 to −15, a room at night below −50
APART_S: Final = 3600.0  # a limit that is too low costs one short gap an hour, never a loop
BEYOND: Final = 1.5  # so far above the limit nobody is asked any more: the kernel's own choice would be worse
SILENCE_DBFS: Final = -120.0
STUCK_S: Final = 30.0  # a call of a second is in order; a sound server that starts with the system takes some more


class Reason(StrEnum):
    """Why the process is started afresh."""

    QUIET = "memory_above_limit"
    """It grew above the limit, and nobody has spoken for a minute."""
    URGENT = "memory_far_above_limit"
    """There was no quiet moment, and it went on growing."""
    STUCK = "device_stuck"
    """A call that opens or closes a sound device does not return, and a direction is silent."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked of a station every `LOOK_S`."""

    rss_mb: float
    """Memory in use, MiB."""
    in_room: bool
    """Whether a call can be interrupted at all: in the middle of an outage it stays as it is, to be told as one."""
    loudest_dbfs: float = SILENCE_DBFS
    """The loudest of the microphone and the others' voices since the look before."""
    attended: bool = False
    """Whether somebody records, or watches the live view."""
    stuck_s: float = 0.0
    """How long a call into a sound driver has not returned while a direction is missing."""
    plugged: int = 0
    """Another number after each sound card that came or went."""
    held: bool = False
    """Whether one of its threads cannot be ended now, not even to become another process."""


class RestartJudge:
    """Remembers since when it has been quiet. `started_s` and all `now_s` are of one monotonic clock."""

    def __init__(self, *, started_s: float, replaces: bool = False) -> None:
        """`replaces`: whether this process took another one's place when it started."""
        self._started_s = started_s
        self._replaces = replaces
        self._quiet_since_s: float | None = None
        self._plugged: int | None = None

    def judge(self, look: Look, *, limit_mb: float, now_s: float) -> Reason | None:
        """The reason to start afresh now, or None. `limit_mb` 0: never for memory."""
        young = now_s - self._started_s < APART_S
        reason = self._stuck(look, young=young and self._replaces) or self._grown(look, limit_mb, now_s, young=young)
        return None if look.held else reason

    def _stuck(self, look: Look, *, young: bool) -> Reason | None:
        """Where a fresh process did not help, another one may after a card was plugged in, or pulled; else it is tried
        again once an hour."""
        if not look.stuck_s or self._plugged is None:
            self._plugged = look.plugged
        hopeful = not young or look.plugged != self._plugged
        return Reason.STUCK if look.stuck_s >= STUCK_S and hopeful else None

    def _grown(self, look: Look, limit_mb: float, now_s: float, *, young: bool) -> Reason | None:
        if not limit_mb or look.rss_mb <= limit_mb:
            self._quiet_since_s = None
            return None
        quiet_s = self._quiet_s(look, now_s)
        if young:
            return None
        if look.rss_mb > limit_mb * BEYOND:
            return Reason.URGENT
        return Reason.QUIET if quiet_s >= QUIET_S and not look.attended else None

    def _quiet_s(self, look: Look, now_s: float) -> float:
        if not look.in_room or look.loudest_dbfs > QUIET_DBFS:
            self._quiet_since_s = None
            return 0.0
        if self._quiet_since_s is None:
            self._quiet_since_s = now_s
        return now_s - self._quiet_since_s


def loudest_dbfs(figures: Mapping[str, Mapping[str, object]]) -> float:
    """The loudest level among the sections of `metrics`: what the microphone takes, if anybody is there to hear it,
    and each voice that comes in. A level that is not known counts as silence."""
    alone = not figures.get("network", {}).get("participants")
    said = [] if alone else [figures.get("input", {}).get("level_dbfs")]
    heard = figures.get("mixer", {}).get("per_stream")
    voices = heard.values() if isinstance(heard, Mapping) else ()
    return max(_levels([*said, *(voice.get("level_dbfs") for voice in voices)]), default=SILENCE_DBFS)


def _levels(values: Iterable[object]) -> Iterable[float]:
    return (float(value) for value in values if isinstance(value, (int, float)))
