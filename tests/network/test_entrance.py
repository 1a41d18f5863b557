"""Before a room is joined: the server is asked whether it is there, and what time it is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from livekit import api

from appliance.errors import Unreachable
from appliance.network.claims import claims_of
from appliance.network.entrance import Entrance, entrance
from appliance.network.livekit_room import LiveKitRoom
from appliance.network.servertime import ServerTime
from appliance.network.token import token_source
from appliance.ports import Answer, Grant
from appliance.settings.model import Settings
from tests.contracts.rooms import Listener
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.network.test_token import KEY, NOW, SECRET, URL, Wall, jwt, settings

YEAR_S = 365 * 86_400.0


@dataclass
class Door:
    """`ports.Knock` of a server whose clock shows `time`."""

    time: float | None = NOW
    open: bool = True
    asked: list[str] = field(default_factory=list)

    async def __call__(self, url: str) -> Answer:
        self.asked.append(url)
        if not self.open:
            raise Unreachable("nothing listens there")
        return Answer(0.01, self.time)


@dataclass
class Tokens:
    """`ports.TokenSource` that counts."""

    url: str = URL
    granted: int = 0
    invalidated: int = 0

    async def grant(self) -> Grant:
        self.granted += 1
        return Grant(self.url, "token")

    def invalidate(self) -> None:
        self.invalidated += 1


def entry(settings: Settings, wall: Wall, door: Door) -> Entrance:
    time = ServerTime(wall)
    return Entrance(token_source(settings, time), url=settings.livekit.url, knock=door, time=time)


def told(lines: list[Any]) -> list[str]:
    return [str(line["event"]) for line in lines]


def test_where_nobody_answers_no_right_is_asked_for() -> None:
    door, tokens = Door(open=False), Tokens()
    with pytest.raises(Unreachable):
        run(Entrance(tokens, url=URL, knock=door, time=ServerTime(Wall())).grant())
    assert (door.asked, tokens.granted) == ([URL], 0)


def test_an_endpoint_says_where_to_knock() -> None:
    door, tokens = Door(), Tokens(url="wss://other.example")
    way_in = Entrance(tokens, url=None, knock=door, time=ServerTime(Wall()))
    assert run(way_in.grant()).url == "wss://other.example"
    assert door.asked == ["wss://other.example"]
    way_in.invalidate()
    assert tokens.invalidated == 1


@pytest.mark.parametrize("now", [0.0, NOW - YEAR_S, NOW + YEAR_S, NOW - 90])
def test_a_token_made_under_a_wrong_clock_is_good_on_the_server(now: float) -> None:
    grant = run(entry(settings(api_key=KEY, api_secret=SECRET), Wall(now), Door()).grant())
    claims = claims_of(grant.token)
    assert claims["nbf"] < NOW < claims["exp"] <= NOW + 21_600


def test_clocks_that_nearly_agree_are_left_alone_and_the_token_is_good_by_both() -> None:
    grant = run(entry(settings(api_key=KEY, api_secret=SECRET), Wall(NOW + 55), Door()).grant())
    assert claims_of(grant.token)["nbf"] < NOW


@pytest.mark.parametrize("now", [1_750_000_000.0, NOW + YEAR_S])
def test_a_ready_token_is_judged_by_the_servers_time(now: float) -> None:
    token = jwt()
    assert run(entry(settings(token=token), Wall(now), Door()).grant()).token == token


def test_a_server_that_tells_no_time_leaves_us_with_ours() -> None:
    grant = run(entry(settings(api_key=KEY, api_secret=SECRET), Wall(NOW - YEAR_S), Door(time=None)).grant())
    assert grant.expires_at == NOW - YEAR_S + 21_600


def test_a_wrong_clock_is_told_once_and_its_setting_once() -> None:
    wall = Wall(0.0)
    with structlog.testing.capture_logs() as lines:
        time = ServerTime(wall)
        for _ in range(3):
            time.note(NOW + wall.up_s)
            wall.pass_by(10)
            time.look()
        assert told(lines) == ["clock.wrong"]
        assert lines[0]["offset_s"] == NOW
        assert "60 years behind the server's" in lines[0]["detail"]
        wall.now = NOW + wall.up_s
        time.look()
        time.look()
    assert told(lines) == ["clock.wrong", "clock.set"]
    assert time.time() == wall.now


def test_a_clock_that_was_never_set_is_told_before_any_server_answers() -> None:
    wall = Wall(0.0)
    with structlog.testing.capture_logs() as lines:
        time = ServerTime(wall)
        for _ in range(3):
            time.look()
        assert told(lines) == ["clock.not_set"]
        time.note(NOW)
        wall.now = NOW
        time.look()
        wall.pass_by(10)
        time.look()
    assert told(lines) == ["clock.not_set", "clock.wrong", "clock.set"]


def test_a_clock_that_is_set_without_any_server_is_told_too() -> None:
    wall = Wall(0.0)
    with structlog.testing.capture_logs() as lines:
        time = ServerTime(wall)
        time.look()
        wall.now = NOW
        for _ in range(3):
            time.look()
    assert told(lines) == ["clock.not_set", "clock.set"]


def test_a_clock_that_jumps_in_a_call_changes_nothing_but_the_log() -> None:
    wall = Wall(NOW)
    with structlog.testing.capture_logs() as lines:
        time = ServerTime(wall)
        time.note(NOW)
        for jump_s in (YEAR_S, -2 * YEAR_S, YEAR_S):
            wall.now += jump_s
            wall.pass_by(10)
            time.look()
            assert time.time() == NOW + wall.up_s
    assert told(lines) == ["clock.wrong", "clock.wrong", "clock.set"]


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("off_s", [-50 * YEAR_S, YEAR_S, 58.0, -58.0])
def test_a_real_server_lets_in_a_station_whose_clock_is_wrong(livekit_server: LiveKitServer, off_s: float) -> None:
    class Off:
        def time(self) -> float:
            return time.time() + off_s

        def monotonic(self) -> float:
            return time.monotonic()

    async def story() -> None:
        keys = {"api_key": livekit_server.api_key, "api_secret": livekit_server.api_secret}
        way_in = entrance(settings(url=livekit_server.url, **keys), ServerTime(Off()))
        grant = await way_in.grant()
        room = LiveKitRoom(sample_rate=48_000)
        await room.connect(grant.url, grant.token, Listener(), deadline_s=5)
        await room.disconnect()

    run(story())


def test_a_token_is_read_by_livekits_own_verifier() -> None:
    door = Door(time=time.time())
    grant = run(entry(settings(api_key=KEY, api_secret=SECRET), Wall(0.0), door).grant())
    assert api.TokenVerifier(KEY, SECRET).verify(grant.token).identity == "kitchen"
