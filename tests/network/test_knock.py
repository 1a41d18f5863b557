"""Knocking at whatever listens at an address: an answer, or the cause, soon."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import AttemptTimedOut, NetworkError, Rejected, Unreachable
from appliance.network import lookup
from appliance.network.knock import knock
from tests.harness.aio import run
from tests.harness.certificates import Authority
from tests.harness.front import Behaviour, Front, babbles, endless, hangs_up, says, silent, trickles, web
from tests.harness.ports import free_port
from tests.harness.wait import until_async

BRIEF_S = 0.05
"""Patience of the tests whose server never answers."""


async def refusal(url: str, *, timeout_s: float = 1.0) -> NetworkError:
    with pytest.raises(NetworkError) as caught:
        await knock(url, timeout_s=timeout_s)
    return caught.value


@pytest.mark.parametrize(
    "behaviour",
    [
        web("404 Not Found", ""),
        web("401 Unauthorized"),
        web("426 Upgrade Required"),
        says(b"HTTP/1.1 404 Not Found\r\nContent-Length: 99999999999\r\n\r\n"),
    ],
)
def test_what_may_be_a_livekit_server_answers_and_only_its_head_is_read(behaviour: Behaviour) -> None:
    with Front(behaviour) as front:
        answer = run(knock(f"{front.url}/below/", timeout_s=1.0))
        assert 0 < answer.took_s < 1


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("Thu, 01 Jan 1970 00:00:10 GMT", 10.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 1795518000.0),
        ("Tue, 99 Nov 2026 11:00:00 GMT", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_the_servers_time_is_taken_from_its_date(date: str, time: float | None) -> None:
    with Front(web("404 Not Found", "", f"Date: {date}")) as front:
        assert run(knock(front.url)).server_time == time


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (web("500 Internal Server Error"), "has a fault"),
        (web("503 Service Unavailable"), "has a fault"),
        (web("200 OK", "<html>please sign in</html>"), "a web page answers"),
        (web("302 Found", "", "Location: http://sign-in.invalid/"), "a web page answers"),
        (web("302 Found", "", "Location: https://sign-in.invalid/"), "a web page answers"),
        (web("301 Moved", "", "Location: https://127.0.0.1/rtc"), "without TLS"),
        (web("308 Moved", "", "Location: https://127.0.0.1:8443/rtc"), "without TLS"),
        (endless, "a web page answers"),
        (hangs_up, "hangs up"),
        (says(b"SSH-2.0-OpenSSH_9.2\r\n"), "no LiveKit server"),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"), "no LiveKit server"),
        (babbles, "no LiveKit server"),
        (says(b"HTTP/1.1 2000 OK\r\n\r\n"), "no LiveKit server"),
    ],
)
def test_what_answers_and_cannot_serve_is_unreachable_and_says_why(behaviour: Behaviour, words: str) -> None:
    with Front(behaviour) as front:
        error = run(refusal(front.url))
    assert type(error) is Unreachable
    assert words in error.message
    assert error.fix


def test_a_redirect_is_not_followed() -> None:
    with Front(web("302 Found", "", "Location: /sign-in")) as front:
        run(refusal(front.url))
        assert front.connections == 1


@pytest.mark.parametrize("behaviour", [silent, trickles])
def test_a_server_that_is_silent_or_never_comes_to_an_end_costs_a_moment(behaviour: Behaviour) -> None:
    with Front(behaviour) as front:
        began = time.monotonic()
        error = run(refusal(front.url, timeout_s=BRIEF_S))
        assert time.monotonic() - began < 10 * BRIEF_S
    assert type(error) is AttemptTimedOut
    assert "no complete answer" in error.message


def test_where_nothing_listens_is_unreachable_at_once() -> None:
    error = run(refusal(f"ws://127.0.0.1:{free_port()}"))
    assert "nothing listens there" in error.message


def test_where_connections_are_swallowed_is_unreachable_after_a_moment() -> None:
    """A queue of one that is full swallows a SYN as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        first.connect(listener.getsockname())
        error = run(refusal(f"ws://127.0.0.1:{listener.getsockname()[1]}", timeout_s=BRIEF_S))
    assert type(error) is Unreachable
    assert "nobody answers" in error.message


def test_tls_that_is_no_tls_is_named() -> None:
    with Front(web("404 Not Found")) as front:
        error = run(refusal(front.url.replace("ws:", "wss:")))
    assert "does not speak TLS" in error.message


def test_a_certificate_that_nobody_trusts_is_no_matter_for_a_knock(tmp_path: Path) -> None:
    with Front(web("404 Not Found"), tls=Authority(tmp_path).server()) as front:
        run(knock(front.url))


@pytest.mark.parametrize("url", ["ws://127.0.0.1:99999", "ws://[::1", "word"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert isinstance(run(refusal(url)), Rejected)


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_http_and_ws_mean_the_same_place(scheme: str) -> None:
    with Front(web("404 Not Found")) as front:
        run(knock(front.url.replace("ws:", f"{scheme}:")))


def test_a_knock_that_is_given_up_leaves_nothing_open() -> None:
    async def story() -> None:
        with Front(silent) as front:
            asked = asyncio.create_task(knock(front.url))
            await until_async(lambda: front.connections, 1.0, "the knock")
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            await until_async(lambda: not front.open, 1.0, "its connection to be closed")

    run(story())


# ---- names ---------------------------------------------------------------------------------------------------------


class Resolver:
    """Stands in for the C library's, as `socket.getaddrinfo`: answers when it is let."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.may_answer = threading.Event()
        self.failure: OSError | None = None
        self.hosts = ["127.0.0.1"]
        monkeypatch.setattr(socket, "getaddrinfo", self)

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        self.asked.append(host)
        self.may_answer.wait(5.0)
        if self.failure is not None:
            raise self.failure
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (where, port)) for where in self.hosts]


def test_a_name_that_does_not_exist_is_named_as_the_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)
    resolver.failure = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver.may_answer.set()
    error = run(refusal("ws://no-such.invalid"))
    assert type(error) is Unreachable
    assert "cannot be resolved" in error.message
    assert "Name or service not known" in str(error.facts["said"])


@pytest.mark.parametrize("name", ["two.invalid", "zwölf.invalid"])
def test_of_a_names_addresses_the_one_that_answers_will_do(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    resolver = Resolver(monkeypatch)
    resolver.hosts = ["127.0.0.2", "127.0.0.1"]
    resolver.may_answer.set()
    with Front(web("404 Not Found")) as front:
        run(knock(f"ws://{name}:{front.port}"))
    assert resolver.asked == [name]


def test_name_servers_that_do_not_answer_cost_a_moment_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)

    async def story() -> None:
        for _ in range(2):
            error = await refusal("ws://slow.invalid", timeout_s=BRIEF_S)
            assert "cannot be resolved" in error.message
        assert resolver.asked == ["slow.invalid"]
        resolver.may_answer.set()
        assert await lookup.addresses("slow.invalid", 80, timeout_s=1.0)

    run(story())


def test_an_answer_that_came_too_late_serves_the_next_knock_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver(monkeypatch)

    async def story() -> None:
        with Front(web("404 Not Found")) as front:
            url = f"ws://late.invalid:{front.port}"
            await refusal(url, timeout_s=BRIEF_S)
            resolver.may_answer.set()
            await knock(url)
            assert len(resolver.asked) == 1
            await knock(url)
            assert len(resolver.asked) == 2

    run(story())
