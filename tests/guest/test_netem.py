"""Bad networks, both ways, by netem: the call stays, what is made up is counted, and the delay returns to normal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.guest.house import BOB_HZ, HEARD_DBFS, STATION_HZ, GuestStation, House
from tests.harness.station import Event
from tests.harness.wait import until

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.server]

BAD_S = 4.0
NORMAL_S = 10.0
NORMAL_MS = 40.0  # above what it was before: one step of NetEQ's and one of ours

CONDITIONS = {
    "5 % loss": (["loss", "5%"], "loss_in_ratio", 0.02),
    "20 % loss": (["loss", "20%"], "concealment_ratio", 0.01),
    "200 ms jitter": (["delay", "200ms", "200ms"], "concealment_ratio", 0.01),
    "300 ms round trip": (["delay", "150ms"], "rtt_ms", 280.0),
    "reordering": (["delay", "30ms", "reorder", "25%", "50%"], "rtt_ms", 40.0),
}
"""Name: (what netem is told, the figure of `metrics.network` that tells of it, how much that is at least).

A packet carries the one before it once more: single losses are mended, and 5 % loss conceals next to nothing."""


@pytest.fixture(scope="module")
def station(house: House) -> Iterator[GuestStation]:
    """One station for all conditions, each of which it survives."""
    with house.station() as one:
        house.both_hear(one)
        yield one


@pytest.fixture(autouse=True)
def _good_again(house: House, station: GuestStation) -> Iterator[None]:
    yield
    house.in_guest("mend_network")
    print(station.story(40))


def delay_ms(metrics: Event) -> float:
    """How long bob's voice waits in the station: in the SDK's buffer and in the mixer's."""
    waits: list[Any] = [metrics["network"]["jitter_buffer_ms"]]
    waits += [one["buffer_ms"] for one in metrics["mixer"]["per_stream"].values()]
    return sum(wait or 0.0 for wait in waits)


def usual_delay_ms(station: GuestStation) -> float:
    """The least of three seconds: a busy machine only adds."""
    return min(delay_ms(station.next_metrics(5)) for _ in range(3))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_bad_network_is_survived_counted_and_forgotten(house: House, station: GuestStation, name: str) -> None:
    words, figure, least = CONDITIONS[name]
    before_ms, mark = usual_delay_ms(station), station.mark()
    house.in_guest("worsen", words=words)
    until(lambda: len(station.events("metrics", since=mark)) >= BAD_S, BAD_S + 10, station.story)
    bad = station.events("metrics", since=mark)
    house.bob.wait_hears("kitchen", STATION_HZ, 5, above_dbfs=HEARD_DBFS)
    house.ear.wait_hears(BOB_HZ, 5, time.monotonic())
    told = [event["network"][figure] or 0.0 for event in bad]
    assert max(told) >= least, told

    ended_s = time.monotonic()
    house.in_guest("mend_network")
    limit_ms = before_ms + NORMAL_MS
    mark = station.mark()
    until(
        lambda: any(delay_ms(event) <= limit_ms for event in station.events("metrics", since=mark)),
        NORMAL_S,
        lambda: f"a delay of {limit_ms:.0f} ms: {[delay_ms(event) for event in station.events('metrics')]}",
    )
    print(f"{name}: {before_ms:.0f} ms before, normal {time.monotonic() - ended_s:.1f} s after, {figure} {told}")
    assert not station.events("room.disconnected")
