"""Pure: two looks at a station, a moment apart → what stopped although it should move.

Counters that stand still are the only sign of several faults: a pulled USB card simply stops calling, a half-dead
connection simply delivers nothing. Nothing here acts; whoever asks decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from appliance.ports import Leg

STALL_S: Final = 1.0  # 20 blocks of the longest block (50 ms): no card is that late and still alive
SEND_STALL_S: Final = 2.0  # silence is sent when the microphone is missing, so frames always go out
RECEIVE_STALL_S: Final = 3.0  # remote frames come every 10 ms, silence included; a server's restart may cost 2 s
LOOP_LAG_S: Final = 1.0  # ten times what the slowest garbage collection or file access takes


@dataclass(frozen=True, slots=True)
class LegLook:
    """One direction of the sound at one moment."""

    open: bool = False
    blocks: int = 0
    """Calls of the device since the start."""
    last_block_at: float | None = None
    """Monotonic seconds of the last call, when the handler notes it."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a station's counters say at one moment."""

    at: float
    """Monotonic seconds."""
    input: LegLook = LegLook()
    output: LegLook = LegLook()
    connected: bool = False
    participants: int = 0
    streams: int = 0
    frames_sent: int = 0
    """10 ms frames handed to the encoder, silence included."""
    frames_received: int = 0
    loop_lag_s: float = 0.0
    """How late the event loop was, at most, since the look before."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stopped. `reason` is the stable word; `leg` is None when it is not about a device."""

    reason: str
    leg: Leg | None
    message: str
    fix: str


def snapshot(
    figures: Mapping[str, Mapping[str, object]],
    *,
    at: float,
    last_block_at: Mapping[Leg, float | None] | None = None,
) -> Snapshot:
    """Take the counters out of what `get_metrics()` says. Missing sections and figures count as closed and zero."""
    network = figures.get("network", {})
    process = figures.get("process", {})
    seen = last_block_at or {}
    return Snapshot(
        at=at,
        input=_leg_look(figures.get("input", {}), seen.get(Leg.INPUT)),
        output=_leg_look(figures.get("output", {}), seen.get(Leg.OUTPUT)),
        connected=network.get("state") == "connected",
        participants=_count(network.get("participants")),
        streams=_count(network.get("streams")),
        frames_sent=_count(network.get("frames_sent")) + _count(network.get("silence_frames")),
        frames_received=_count(network.get("frames_received")),
        loop_lag_s=_number(process.get("loop_lag_ms_max")) / 1000,
    )


def judge(before: Snapshot, after: Snapshot) -> list[Finding]:
    """What should have moved between the two looks and did not. Empty when all is well or the looks are too close."""
    passed_s = after.at - before.at
    return [
        *_judge_leg(Leg.INPUT, before.input, after.input, passed_s, after.at),
        *_judge_leg(Leg.OUTPUT, before.output, after.output, passed_s, after.at),
        *_judge_network(before, after, passed_s),
        *_judge_loop(after),
    ]


def _judge_leg(leg: Leg, before: LegLook, after: LegLook, passed_s: float, now: float) -> Iterator[Finding]:
    if not (before.open and after.open):
        return
    quiet_s = passed_s if after.blocks == before.blocks else 0.0
    if after.last_block_at is not None:
        quiet_s = now - after.last_block_at
    if quiet_s > STALL_S:
        name = "microphone" if leg is Leg.INPUT else "speaker"
        yield Finding(
            f"{leg}_stalled",
            leg,
            f"the {name} has not called for {quiet_s:.1f} s",
            "it is opened anew; if this comes back, check plug, cable and power supply",
        )


def _judge_network(before: Snapshot, after: Snapshot, passed_s: float) -> Iterator[Finding]:
    if not (before.connected and after.connected):
        return
    if passed_s > SEND_STALL_S and after.frames_sent == before.frames_sent:
        yield Finding(
            "send_stalled",
            None,
            f"no sound went out for {passed_s:.1f} s although the room is joined",
            "the room is joined anew",
        )
    silent = after.frames_received == before.frames_received
    if passed_s > RECEIVE_STALL_S and silent and before.streams and after.streams:
        yield Finding(
            "receive_stalled",
            None,
            f"nothing came from {after.streams} subscribed microphone(s) for {passed_s:.1f} s",
            "the room is joined anew; if this comes back, look at the firewall's UDP rules",
        )


def _judge_loop(after: Snapshot) -> Iterator[Finding]:
    if after.loop_lag_s > LOOP_LAG_S:
        yield Finding(
            "loop_stuck",
            None,
            f"the event loop stood still for {after.loop_lag_s:.1f} s",
            "the board is overloaded or its SD card hangs: alto doctor looks at both",
        )


def _leg_look(figures: Mapping[str, object], last_block_at: float | None) -> LegLook:
    return LegLook(bool(figures.get("open")), _count(figures.get("blocks")), last_block_at)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int) else 0


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
