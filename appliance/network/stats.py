"""How good the link is: pure arithmetic over two readings of WebRTC's counters.

The counters only grow, so every ratio is a difference between two readings; a stream that appeared since the first
one counts from zero, a stream that went away counts no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from appliance.ports import LinkStats

MS: Final = 1000.0
CHECK_BYTES: Final = 100  # of one connectivity check (STUN), about: WebRTC counts these apart, as messages


@dataclass(frozen=True, slots=True)
class Inbound:
    """One received audio stream's counters since it began."""

    packets_received: int = 0
    packets_lost: int = 0
    """May go back: a packet that comes late after all is taken off again."""
    buffered_s: float = 0.0
    """Time that samples spent in the jitter buffer, summed over the samples."""
    emitted_samples: int = 0
    received_samples: int = 0
    concealed_samples: int = 0
    """Made up because the real ones were missing while somebody spoke."""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One sent audio stream's counters, the receiver's reports included."""

    packets_sent: int = 0
    packets_lost: int = 0
    rtt_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """All counters at one moment, by WebRTC's stream ids."""

    inbound: Mapping[str, Inbound] = field(default_factory=dict)
    outbound: Mapping[str, Outbound] = field(default_factory=dict)
    pair_rtt_s: float | None = None
    path: str = ""
    bytes_received: int | None = None
    """None: there is no transport (yet)."""


def read(entries: Iterable[Any]) -> Reading:
    """Take what we use out of the SDK's `RtcStats` messages. Fields that are missing read as zero."""
    by_kind: dict[str, list[Any]] = {}
    for entry in entries:
        kind = entry.WhichOneof("stats")
        by_kind.setdefault(kind, []).append(getattr(entry, kind))
    inbound = {e.rtc.id: _inbound(e) for e in by_kind.get("inbound_rtp", []) if e.stream.kind == "audio"}
    pair = next((e.candidate_pair for e in by_kind.get("candidate_pair", []) if e.candidate_pair.nominated), None)
    candidates = {e.rtc.id: e.candidate for e in by_kind.get("local_candidate", [])}
    return Reading(
        inbound=inbound,
        outbound=_outbound(by_kind),
        pair_rtt_s=(pair.current_round_trip_time or None) if pair is not None else None,
        path=_path(candidates.get(pair.local_candidate_id)) if pair is not None else "",
        bytes_received=_bytes_received(by_kind),
    )


def compare(before: Reading, after: Reading) -> LinkStats:
    """What happened between two readings. Ratios are 0.0 to 1.0; None where nothing moved."""
    gains = [_gain(before.inbound.get(key, Inbound()), now) for key, now in after.inbound.items()]
    received = sum(g.packets_received for g in gains)
    lost = sum(g.packets_lost for g in gains)
    sent, not_arrived = _sent(before, after)
    return LinkStats(
        rtt_ms=_rtt_ms(after),
        loss_in_ratio=_ratio(lost, received + lost),
        loss_out_ratio=_ratio(not_arrived, sent),
        jitter_buffer_ms=_mean_ms(sum(g.buffered_s for g in gains), sum(g.emitted_samples for g in gains)),
        concealment_ratio=_ratio(sum(g.concealed_samples for g in gains), sum(g.received_samples for g in gains)),
        path=after.path,
        bytes_received=after.bytes_received,
    )


def sends_audio(reading: Reading) -> bool:
    """Whether there is a sender for our microphone in the peer connection at all."""
    return bool(reading.outbound)


# ---- taking apart ------------------------------------------------------------------------------------------------


def _inbound(entry: Any) -> Inbound:
    counters = entry.inbound
    return Inbound(
        packets_received=entry.received.packets_received,
        packets_lost=entry.received.packets_lost,
        buffered_s=counters.jitter_buffer_delay,
        emitted_samples=counters.jitter_buffer_emitted_count,
        received_samples=counters.total_samples_received,
        concealed_samples=counters.concealed_samples - counters.silent_concealed_samples,
    )


def _bytes_received(by_kind: Mapping[str, list[Any]]) -> int | None:
    """RTP, RTCP and data as the transports count them, and the connectivity checks of every path."""
    transports = [e.transport.bytes_received for e in by_kind.get("transport", [])]
    pairs = [e.candidate_pair for e in by_kind.get("candidate_pair", [])]
    checks = sum(pair.requests_received + pair.responses_received for pair in pairs)
    return sum(transports) + CHECK_BYTES * checks if transports else None


def _outbound(by_kind: Mapping[str, list[Any]]) -> dict[str, Outbound]:
    reports = {e.remote_inbound.local_id: e for e in by_kind.get("remote_inbound_rtp", [])}
    outbound = {}
    for entry in by_kind.get("outbound_rtp", []):
        if entry.stream.kind == "audio":
            outbound[entry.rtc.id] = _reported(entry.sent.packets_sent, reports.get(entry.rtc.id))
    return outbound


def _reported(packets_sent: int, report: Any | None) -> Outbound:
    if report is None:
        return Outbound(packets_sent)
    measured = report.remote_inbound.round_trip_time_measurements > 0
    rtt_s = report.remote_inbound.round_trip_time if measured else None
    return Outbound(packets_sent, report.received.packets_lost, rtt_s)


def _path(candidate: Any | None) -> str:
    if candidate is None:
        return ""
    kind = type(candidate).DESCRIPTOR.fields_by_name["candidate_type"].enum_type
    return f"{candidate.protocol} {kind.values_by_number[candidate.candidate_type].name.lower()}"


# ---- comparing ---------------------------------------------------------------------------------------------------


def _gain(before: Inbound, now: Inbound) -> Inbound:
    if now.received_samples < before.received_samples:  # the id was used again: a new stream
        before = Inbound()
    return Inbound(
        packets_received=now.packets_received - before.packets_received,
        packets_lost=max(0, now.packets_lost - before.packets_lost),
        buffered_s=now.buffered_s - before.buffered_s,
        emitted_samples=now.emitted_samples - before.emitted_samples,
        received_samples=now.received_samples - before.received_samples,
        concealed_samples=max(0, now.concealed_samples - before.concealed_samples),
    )


def _sent(before: Reading, after: Reading) -> tuple[int, int]:
    sent = lost = 0
    for key, now in after.outbound.items():
        was = before.outbound.get(key, Outbound())
        if now.packets_sent < was.packets_sent:
            was = Outbound()
        sent += now.packets_sent - was.packets_sent
        lost += max(0, now.packets_lost - was.packets_lost)
    return sent, lost


def _rtt_ms(after: Reading) -> float | None:
    known = [out.rtt_s for out in after.outbound.values() if out.rtt_s is not None]
    rtt_s = max(known) if known else after.pair_rtt_s
    return None if rtt_s is None else rtt_s * MS


def _ratio(part: float, whole: float) -> float | None:
    return min(1.0, part / whole) if whole > 0 else None


def _mean_ms(total_s: float, samples: int) -> float | None:
    return total_s / samples * MS if samples > 0 else None
