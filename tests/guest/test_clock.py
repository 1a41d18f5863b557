"""A board that does not know the time: 1970 at boot, set later, wrong by a year. The server outside knows it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.guest.house import BOB_HZ, HEARD_DBFS, JOIN_S, STATION_HZ, GuestStation, House

pytestmark = [pytest.mark.guest, pytest.mark.slow, pytest.mark.server]

YEAR_S = 365 * 86400.0
SOON_S = 20.0  # alto looks at the clock every few seconds


@pytest.fixture(scope="module")
def station(house: House) -> Iterator[GuestStation]:
    """A station that was started in 1970."""
    house.in_guest("set_clock", unix_s=0.0)
    try:
        with house.station() as one:
            yield one
    finally:
        house.in_guest("set_clock", unix_s=time.time())


@pytest.fixture(autouse=True)
def _tell(station: GuestStation) -> Iterator[None]:
    """What it said, for who reads a failure."""
    yield
    print(station.story(40))


def assert_call_goes_on(house: House, station: GuestStation, mark: int, seconds: float) -> None:
    """Both voices are heard in the end, the room was not left, and the figures went on coming."""
    began_s = time.monotonic()
    station.wait_event("metrics", 10, since=mark)
    time.sleep(max(0.0, seconds - (time.monotonic() - began_s)))
    house.bob.wait_hears("kitchen", STATION_HZ, 5, above_dbfs=HEARD_DBFS)
    house.ear.wait_hears(BOB_HZ, 5, time.monotonic())
    assert not station.events("room.disconnected", since=mark)
    assert not station.events("bug")
    uptimes_s = [event["process"]["uptime_s"] for event in station.events("metrics")]
    assert uptimes_s == sorted(uptimes_s)
    assert uptimes_s[-1] < 600


def test_a_board_in_1970_joins_and_says_that_its_clock_is_not_set(house: House, station: GuestStation) -> None:
    house.both_hear(station)
    assert station.seen[0]["timestamp"].startswith("1970-01-01T00:")
    assert station.events("clock.not_set")
    assert not station.events("room.retry"), "the token that it made was refused"


def test_the_log_says_when_the_clock_is_right(house: House, station: GuestStation) -> None:
    station.wait_event("state.changed", JOIN_S, to="online")
    mark = station.mark()
    house.in_guest("set_clock", unix_s=time.time())
    station.wait_event("clock.set", SOON_S, since=mark)
    assert_call_goes_on(house, station, mark, 0)


@pytest.mark.parametrize("jump_s", [YEAR_S, -YEAR_S])
def test_a_call_goes_on_when_the_clock_jumps(house: House, station: GuestStation, jump_s: float) -> None:
    station.wait_event("state.changed", JOIN_S, to="online")
    mark = station.mark()
    house.in_guest("set_clock", unix_s=time.time() + jump_s)
    assert_call_goes_on(house, station, mark, 4)


def test_a_station_that_is_a_year_ahead_joins_again(house: House, station: GuestStation) -> None:
    """The token for the next session is made by the server's time, whatever this board believes meanwhile."""
    station.wait_event("state.changed", JOIN_S, to="online")
    house.in_guest("set_clock", unix_s=time.time() + YEAR_S)
    mark = station.mark()
    house.server.kill()
    station.wait_event("room.disconnected", 20, since=mark)
    house.server.start()
    station.wait_event("room.connected", 20, since=mark)
    refused = station.events("room.retry", since=mark, reason="rejected")
    assert not refused
