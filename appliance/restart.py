"""Whether the time has come for a fresh process: pure judgement over looks at a station, no I/O.

LiveKit's SDK keeps a part of each session's memory for good (how much: ARCHITECTURE.md). A box that lives for years
on an unsteady network therefore starts its process afresh one quiet moment, long before the board runs out.
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


class Reason(StrEnum):
    """Why the process is started afresh."""

    QUIET = "memory_above_limit"
    """It grew above the limit, and nobody has spoken for a minute."""
    URGENT = "memory_far_above_limit"
    """There was no quiet moment, and it went on growing."""


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


class RestartJudge:
    """Remembers since when it has been quiet. `started_s` and all `now_s` are of one monotonic clock."""

    def __init__(self, *, started_s: float) -> None:
        self._started_s = started_s
        self._quiet_since_s: float | None = None

    def judge(self, look: Look, *, limit_mb: float, now_s: float) -> Reason | None:
        """The reason to start afresh now, or None. `limit_mb` 0: never."""
        if not limit_mb or look.rss_mb <= limit_mb:
            self._quiet_since_s = None
            return None
        quiet_s = self._quiet_s(look, now_s)
        if now_s - self._started_s < APART_S:
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
