"""A station that cannot join names the cause in log and status, goes on trying, and joins soon after the cause is gone.

One station sees one bad thing after the other, so that the whole page takes a minute.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
from livekit import api

from appliance.network.claims import claims_of
from appliance.observe import client
from tests.harness.certificates import Authority
from tests.harness.front import Behaviour, Front, endless, hangs_up, relay, says, silent, web
from tests.harness.names import NO_SUCH_NAME, NameServer
from tests.harness.netns import NEEDS_ROOT, Machine, Switch, may_make_networks
from tests.harness.server import LiveKitServer
from tests.harness.station import Event, Station, station_settings
from tests.harness.wait import until

pytestmark = [pytest.mark.slow, pytest.mark.server]

START_S: Final = 20.0  # of a process on a busy test machine
NAMED_S: Final = 10.0  # from the fault to its name: the break is noticed, the session given up, a try fails
BACK_S: Final = 3.0  # from the end of a fault to the room
FRESH_S: Final = 1.0  # from a new token in the file to what comes of it

IMPATIENT: Final = {
    "log": {"level": "debug"},
    "supervisor": {"recovery_patience_s": 1},  # how long a broken session is waited for is not the matter here
}


class Suspect:
    """A station whose way to the room is tampered with."""

    def __init__(self, station: Station) -> None:
        self.station: Final = station
        self._mark = 0
        self._began_s = time.monotonic()

    def begins(self) -> None:
        """What is waited for comes after this moment."""
        self._mark = self.station.mark()
        self._began_s = time.monotonic()

    def names(self, words: str, *, reason: str, state: str, within_s: float = NAMED_S) -> None:
        """Log and status tell the cause in these words, and that it will be tried again."""
        retry = self._retry(words, within_s)
        assert (retry["reason"], retry["fix"] != "") == (reason, True), retry
        assert retry["in_s"] > 0
        until(lambda: self._status_says(words, reason, state), within_s, lambda: f"{words} in {self._status()}")
        print(f"{words}: named after {retry['arrived_s'] - self._began_s:.2f} s")

    def joins(self, within_s: float) -> None:
        """In the room that soon after `begins()`."""
        connected = self.station.wait_event("room.connected", within_s + NAMED_S, since=self._mark)
        took_s = connected["arrived_s"] - self._began_s
        print(f"joined after {took_s:.2f} s")
        assert took_s <= within_s, f"took {took_s:.2f} s\n{self.station.story()}"

    def _retry(self, words: str, within_s: float) -> Event:
        return self.station.wait_event("room.retry", within_s, since=self._mark, detail=lambda said: words in said)

    def _status_says(self, words: str, reason: str, state: str) -> bool:
        """While it tries again its state is `connecting` for a moment."""
        status = self._status()
        latest = status["errors"][0]
        return words in latest["detail"] and latest["reason"] == reason and status["state"] in (state, "connecting")

    def _status(self) -> dict[str, Any]:
        (socket,) = self.station.runtime_dir.glob("*.sock")
        return client.query(socket)


@contextlib.contextmanager
def suspect(
    directory: Path,
    server: LiveKitServer,
    *,
    machine: Machine | None = None,
    env: dict[str, str] | None = None,
    **livekit: Any,
) -> Iterator[Suspect]:
    """A station that listens and talks by nothing, with this `livekit:` section."""
    settings = station_settings("kitchen", server=server, room=directory.name, **IMPATIENT)
    settings["livekit"] = livekit
    with Station(directory, settings, machine=machine, env=env) as station:
        yield Suspect(station)


def keys(server: LiveKitServer) -> dict[str, str]:
    return {"api_key": server.api_key, "api_secret": server.api_secret}


# ---- what stands at the address ------------------------------------------------------------------------------------

SIGN_IN: Final = "<html><form>Room number: <input></form></html>"

BAD_FRONTS: Final[tuple[tuple[Behaviour, str, str], ...]] = (
    # what the station meets, the stable reason, words of the sentence
    (silent, "timed_out", "no complete answer"),
    (web("500 Internal Server Error"), "unreachable", "has a fault"),
    (web("503 Service Unavailable"), "unreachable", "has a fault"),
    (hangs_up, "unreachable", "hangs up"),
    (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "unreachable", "no LiveKit server"),
    (web("200 OK", SIGN_IN), "unreachable", "a web page answers"),
    (web("302 Found", "", "Location: http://sign-in.invalid/"), "unreachable", "a web page answers"),
    (endless, "unreachable", "a web page answers"),
)


def test_whatever_answers_instead_of_the_server_is_named(tmp_path: Path, livekit_server: LiveKitServer) -> None:
    with (
        Front(BAD_FRONTS[0][0]) as front,
        suspect(tmp_path, livekit_server, url=front.url, **keys(livekit_server)) as kitchen,
    ):
        kitchen.station.wait_event("appliance.started", START_S)
        for behaviour, reason, words in BAD_FRONTS:
            kitchen.begins()
            front.behave(behaviour)
            kitchen.names(words, reason=reason, state="waiting")
            kitchen.begins()
            front.behave(relay(livekit_server.port))
            kitchen.joins(BACK_S)


def test_a_certificate_of_an_unknown_authority_is_named(tmp_path: Path, livekit_server: LiveKitServer) -> None:
    known, unknown = Authority(tmp_path / "known"), Authority(tmp_path / "unknown")
    with (
        Front(relay(livekit_server.port), tls=(tls := unknown.server())) as front,
        suspect(
            tmp_path / "tls",
            livekit_server,
            env={"SSL_CERT_FILE": str(known.certificate)},
            url=front.url,
            **keys(livekit_server),
        ) as kitchen,
    ):
        kitchen.station.wait_event("appliance.started", START_S)
        kitchen.begins()
        kitchen.names("certificate is not trusted", reason="unreachable", state="waiting")
        kitchen.begins()
        known.certify(tls)
        kitchen.joins(BACK_S)


# ---- its name ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not may_make_networks(), reason=NEEDS_ROOT)
def test_a_name_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    with Switch() as switch, LiveKitServer(switch.machine()) as server:
        own = switch.machine()
        with NameServer(switch.machine(), None) as names:
            own.resolve_by(names.resolv_conf(tmp_path))
            url = f"ws://intercom.test:{server.port}"
            with suspect(tmp_path / "dns", server, machine=own, url=url, **keys(server)) as kitchen:
                kitchen.station.wait_event("appliance.started", START_S)
                for answer, delay_s, words in (
                    (None, 0.0, "cannot be resolved"),
                    (NO_SUCH_NAME, 0.0, "cannot be resolved"),
                    ("10.77.0.77", 0.0, "no route"),
                    (own.address, 0.0, "nothing listens there"),
                    (server.host, 9.0, "cannot be resolved"),
                ):
                    kitchen.begins()
                    names.answer, names.delay_s = answer, delay_s
                    server.kill()
                    kitchen.names(words, reason="unreachable", state="waiting")
                    server.start()
                    kitchen.begins()
                    names.answer, names.delay_s = server.host, 0.0
                    kitchen.joins(BACK_S)


# ---- its right -----------------------------------------------------------------------------------------------------


def test_a_token_that_cannot_work_is_named_and_a_new_one_taken_up_within_a_second(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    room, file = "tokens", tmp_path / "token"
    good = livekit_server.token("kitchen", room)
    useless = (
        (livekit_server.token("kitchen", room, ttl_s=-3600), "ended"),
        (_begins_tomorrow(livekit_server, room), "begins only in"),
        (livekit_server.token("kitchen", "garden"), "for room 'garden'"),
        (good[:-6] + "AAAAAA", "API secret is wrong"),
        (_of_a_stranger(room), "does not know the API key"),
        ("no token at all", "no JWT"),
    )
    file.write_text(useless[0][0])
    with suspect(tmp_path / room, livekit_server, url=livekit_server.url, token_file=str(file)) as kitchen:
        kitchen.names(useless[0][1], reason="rejected", state="blocked", within_s=START_S)
        for token, words in useless[1:]:
            kitchen.begins()
            _replace(file, token)
            kitchen.names(words, reason="rejected", state="blocked", within_s=FRESH_S)
        kitchen.begins()
        _replace(file, good)
        kitchen.joins(FRESH_S)
        assert not any(good in line or useless[0][0] in line for line in kitchen.station.lines)


def _replace(file: Path, token: str) -> None:
    """As programs that renew tokens do."""
    fresh = file.with_suffix(".new")
    fresh.write_text(token)
    fresh.replace(file)


def _begins_tomorrow(server: LiveKitServer, room: str) -> str:
    tomorrow = int(time.time()) + 86_400
    return _signed(server.token("kitchen", room), server.api_secret, nbf=tomorrow, exp=tomorrow + 3600)


def _of_a_stranger(room: str) -> str:
    stranger = api.AccessToken("nobody", "x" * 40).with_identity("kitchen")
    return stranger.with_grants(api.VideoGrants(room_join=True, room=room)).to_jwt()


def _signed(token: str, secret: str, **claims: int) -> str:
    return jwt.encode({**claims_of(token), **claims}, secret, algorithm="HS256")
