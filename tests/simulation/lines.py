"""What the log must say about outages: pure, from the lines of one life with their times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from appliance.ports import Leg

Line = tuple[float, Mapping[str, Any]]
"""(seconds of this life, the log line)"""

ROUNDED_S: Final = 0.0021  # lengths are told in milliseconds, from two readings of the clock

NEVER: Final = ("bug", "stream.failed", "library.log")
"""Events that are no answer to any fault."""


def judge_room(lines: Sequence[Line]) -> Iterator[str]:
    """`room.connected` and `room.disconnected`, in time order → what is wrong with them."""
    down_s: float | None = None
    up_s: float | None = None
    for at_s, line in lines:
        if line["event"] == "room.connected":
            if up_s is not None:
                yield f"{at_s:.3f}: room.connected twice for one outage"
            yield from _length(at_s, "outage_s", line["outage_s"], down_s)
            up_s, down_s = at_s, None
        else:
            if up_s is None:
                yield f"{at_s:.3f}: room.disconnected twice for one outage, or without a stay before"
            if not line.get("resumed"):
                yield from _session_length(at_s, line, up_s)
            up_s, down_s = None, at_s


def _session_length(at_s: float, line: Mapping[str, Any], up_s: float | None) -> Iterator[str]:
    """A stay that the SDK mended is longer than the time since it was told to be up again."""
    if up_s is not None and line["session_s"] < at_s - up_s - ROUNDED_S:
        yield f"{at_s:.3f}: session_s={line['session_s']} and it was {at_s - up_s:.3f}"


def judge_leg(leg: Leg, lines: Sequence[Line]) -> Iterator[str]:
    """`audio.opened`, `audio.lost` and `audio.recovered` of one leg, in time order → what is wrong with them.

    `config.applied` may lie between them: a leg that was switched off and on may be a new one.
    """
    lost_s: float | None = None
    switched = False
    for at_s, line in lines:
        event = line["event"]
        if event == "config.applied":
            switched = switched or f"audio.{leg}.enabled" in line["changes"]
            continue
        if event == "audio.lost":
            if lost_s is not None and not switched:
                yield f"{at_s:.3f}: audio.lost twice for one outage of the {leg}"
            lost_s = at_s
        elif event == "audio.recovered":
            yield from _length(at_s, "outage_s", line["outage_s"], lost_s)
            lost_s = None
        elif lost_s is not None:
            if not switched:
                yield f"{at_s:.3f}: audio.opened although the {leg} was lost: nothing told that it came back"
            lost_s = None
        switched = False


def _length(at_s: float, name: str, told_s: float | None, since_s: float | None) -> Iterator[str]:
    if (told_s is None) != (since_s is None):
        yield f"{at_s:.3f}: {name}={told_s} and the outage began at {since_s}"
    elif told_s is not None and since_s is not None and abs(told_s - (at_s - since_s)) > ROUNDED_S:
        yield f"{at_s:.3f}: {name}={told_s} and it was {at_s - since_s:.3f}"
