"""Bad networks, both ways, by netem: the call stays, what is made up is counted, and the delay returns to normal."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from appliance.network.caution import LONG_MS
from tests.guest.house import BOB_HZ, HEARD_DBFS, STATION_HZ, GuestStation, House
from tests.harness.station import Event
from tests.harness.wait import until

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.server]

BAD_S = 4.0
TOLD_S = 12.0  # a round trip is averaged over some seconds
NORMAL_S = 10.0
NORMAL_MS = 40.0  # above what it was before: one step of NetEQ's and one of ours
HELD_MS = LONG_MS - 30.0  # the same of what is left to NetEQ, which held 30 ms or more before


@dataclass(frozen=True)
class Condition:
    """What netem is told, and the figure of `metrics.network` that tells of it: how much that is at least."""

    netem: str
    figure: str
    least: float
    is_forgotten_in_a_pause: bool = False
    """NetEQ alone keeps it in mind for 40 s; whoever makes a pause is subscribed anew."""
    left_ms: float = NORMAL_MS
    """How much more than before may be left of it after NORMAL_S."""


CONDITIONS = {
    # A packet carries the one before it once more: single losses are mended, and 5 % conceals next to nothing.
    "5 % loss": Condition("loss 5%", "loss_in_ratio", 0.02),
    "20 % loss": Condition("loss 20%", "concealment_ratio", 0.01),
    "reordering": Condition("delay 30ms reorder 25% 50%", "rtt_ms", 40.0, left_ms=HELD_MS),
    "300 ms round trip": Condition("delay 150ms", "rtt_ms", 280.0, is_forgotten_in_a_pause=True),
    "200 ms jitter": Condition("delay 100ms 100ms", "jitter_buffer_ms", 100.0, is_forgotten_in_a_pause=True),
}


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
    """How long bob's voice waits in the station: in the SDK's buffer and in the mixer's. Infinite while it is away."""
    waits: list[Any] = [metrics["network"].get("jitter_buffer_ms")]
    waits += [one["buffer_ms"] for one in metrics["mixer"]["per_stream"].values()]
    return sum(waits) if len(waits) == 2 and all(waits) else math.inf


def delays_ms(station: GuestStation, since: int = 0) -> list[float]:
    """Of each line of figures; never empty."""
    return [delay_ms(event) for event in station.events("metrics", since=since)] or [math.inf]


def usual_delay_ms(station: GuestStation) -> float:
    """The least of three seconds: a busy machine only adds."""
    return min(delay_ms(station.next_metrics(5)) for _ in range(3))


@pytest.fixture(scope="module")
def usual_ms(station: GuestStation) -> float:
    """The delay on a good network, before any trouble."""
    return usual_delay_ms(station)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_bad_network_is_survived_counted_and_forgotten(
    house: House, station: GuestStation, usual_ms: float, name: str
) -> None:
    bad = CONDITIONS[name]
    mark, began_s = station.mark(), time.monotonic()
    house.in_guest("worsen", words=bad.netem.split())

    def told() -> list[float]:
        return [event["network"].get(bad.figure) or 0.0 for event in station.events("metrics", since=mark)]

    until(lambda: len(told()) >= BAD_S and max(told()) >= bad.least, TOLD_S, lambda: f"{bad.figure}: {told()}")
    house.bob.wait_hears("kitchen", STATION_HZ, 5, above_dbfs=HEARD_DBFS)
    house.ear.wait_hears(BOB_HZ, 5, time.monotonic())
    print(f"{name}: heard {house.ear_hears(began_s):.0%} of the time, {bad.figure} {told()}")

    house.in_guest("mend_network")
    mark, ended_s = station.mark(), time.monotonic()
    if bad.is_forgotten_in_a_pause:
        house.bob.say(None)
    limit_ms = usual_ms + bad.left_ms
    until(
        lambda: min(delays_ms(station, mark)) <= limit_ms,
        NORMAL_S,
        lambda: f"{limit_ms:.0f} ms: {delays_ms(station, mark)}",
    )
    print(f"{usual_ms:.0f} ms at first, normal again {time.monotonic() - ended_s:.1f} s after")
    house.bob.say(BOB_HZ)
    house.ear.wait_hears(BOB_HZ, 5, time.monotonic())
    assert not station.events("room.disconnected")
