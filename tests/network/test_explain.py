"""What the SDK's and the server's words become. The texts are the real ones."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from livekit import api

from appliance.errors import AttemptTimedOut, Evicted, NetworkError, Rejected, ServerClosed, Unreachable
from appliance.network import explain, stats
from appliance.network.livekit_room import LiveKitRoom, pending_connects
from appliance.network.sdk_log import SdkLogFilter
from tests.contracts.rooms import Listener
from tests.harness.aio import run
from tests.harness.server import LiveKitServer

URL = "ws://box.local:7880"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"  # noqa: S105 (nobody accepts it)
SIGNAL = "engine: signal failure: "


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        (
            f"client error: 401 Unauthorized - invalid token: {TOKEN}, error: token signature is invalid: signature "
            "is invalid",
            Rejected,
            "API secret is wrong",
        ),
        ("client error: 401 Unauthorized - invalid API key: nokey", Rejected, "does not know the API key"),
        (
            f"client error: 401 Unauthorized - invalid token: {TOKEN}, error: token has invalid claims: token is "
            "expired",
            Rejected,
            "expired",
        ),
        ("client error: 401 Unauthorized - invalid authorization token", Rejected, "does not recognise"),
        ("client error: 401 Unauthorized - permissions denied", Rejected, "does not allow to join"),
        ("client error: 403 Forbidden - <html>no</html>", Rejected, "refused the token"),
        ("access token has invalid characters", Rejected, "characters"),
        ("failed to parse the url: unsupported scheme: foo", Rejected, "no address"),
        ("transport connection error: IO error: Connection refused (os error 111)", Unreachable, "nothing listens"),
        (
            "transport connection error: IO error: failed to lookup address information: Name or service not known",
            Unreachable,
            "cannot be resolved",
        ),
        (
            "transport connection error: IO error: received corrupt message of type InvalidContentType",
            Unreachable,
            "TLS",
        ),
        ("client error: 404 Not Found - 404 page not found\n", Unreachable, "no LiveKit server"),
        ("handshake error: 200 OK", Unreachable, "web page"),
        ("handshake error: 302 Found", Unreachable, "web page"),
        ("server error: 503 Service Unavailable - <html>hello</html>", Unreachable, "fault"),
        ("client error: 429 Too Many Requests - slow down", Unreachable, "later"),
        ("transport closed", Unreachable, "transport closed"),
        ("transport timed out", AttemptTimedOut, "no complete answer"),
        ("failed to receive livekit_protocol::JoinResponse", AttemptTimedOut, "no complete answer"),
    ],
)
def test_each_text_becomes_an_error_with_a_cure_and_without_the_token(
    text: str, error: type[NetworkError], says: str
) -> None:
    explained = explain.connect_failure(SIGNAL + text, URL)
    assert type(explained) is error
    assert says in str(explained)
    assert explained.fix
    for part in TOKEN.split("."):
        assert part not in str(explained) + repr(explained) + repr(explained.facts)


@pytest.mark.parametrize(
    ("reason", "error"),
    [
        ("DUPLICATE_IDENTITY", Evicted),
        ("PARTICIPANT_REMOVED", Evicted),
        ("ROOM_DELETED", ServerClosed),
        ("SERVER_SHUTDOWN", ServerClosed),
        ("SIGNAL_CLOSE", ServerClosed),
        ("A_REASON_OF_TOMORROW", ServerClosed),
    ],
)
def test_the_end_of_a_session_asks_a_person_only_when_one_can_help(reason: str, error: type[NetworkError]) -> None:
    assert type(explain.session_end(reason)) is error


def test_an_address_is_shown_without_user_password_and_query() -> None:
    assert explain.address("wss://ann:pw@box.local:7880/x/?access_token=abc") == "wss://box.local:7880/x"


def test_the_sdks_log_lines_lose_their_token_and_their_alarm() -> None:
    record = logging.LogRecord("livekit", logging.ERROR, "", 1, "x %s", (TOKEN,), None)
    assert SdkLogFilter().filter(record)
    assert TOKEN not in record.getMessage()
    retry = logging.LogRecord("livekit", logging.ERROR, "", 1, "livekit::rtc_engine:995: restarting", (), None)
    assert not SdkLogFilter().filter(retry)


@pytest.mark.server
@pytest.mark.slow
def test_the_real_server_still_words_its_refusals_so(livekit_server: LiveKitServer) -> None:
    async def refusal(token: str) -> str:
        with pytest.raises(Rejected) as refused:
            await LiveKitRoom(sample_rate=48_000).connect(livekit_server.url, token, Listener(), deadline_s=5)
        assert token not in str(refused.value)
        return refused.value.message

    async def story() -> None:
        stranger = api.AccessToken("nokey", "x" * 40).with_identity("a")
        stranger.with_grants(api.VideoGrants(room_join=True, room="home"))
        assert "API secret is wrong" in await refusal(livekit_server.token("a")[:-6] + "AAAAAA")
        assert "does not know the API key" in await refusal(stranger.to_jwt())
        assert "expired" in await refusal(livekit_server.token("a", ttl_s=-3600))
        assert "does not allow" in await refusal(livekit_server.token("a", room_join=False))
        assert "does not recognise" in await refusal("garbage")

    run(story())


@pytest.mark.slow
@pytest.mark.parametrize(("status", "says"), [(200, "web page"), (404, "no LiveKit"), (500, "fault"), (503, "fault")])
def test_what_answers_and_is_no_livekit_server_is_unreachable(status: int, says: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="<html>hello</html>", content_type="text/html")

    async def story() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        with pytest.raises(Unreachable, match=says):
            await LiveKitRoom(sample_rate=48_000).connect(f"ws://127.0.0.1:{port}", "x", Listener(), deadline_s=5)
        await runner.cleanup()

    run(story())
    assert pending_connects() == 0


def test_a_rate_that_native_code_cannot_do_is_refused_in_python() -> None:
    with pytest.raises(ValueError, match="44100"):
        LiveKitRoom(sample_rate=44_100)


# ---- statistics ---------------------------------------------------------------------------------------------------


def test_link_figures_are_differences_between_two_readings() -> None:
    before = stats.Reading(
        inbound={"a": stats.Inbound(1000, 10, 50.0, 48_000, 48_000, 100)}, outbound={"o": stats.Outbound(100, 0, 0.02)}
    )
    after = stats.Reading(
        inbound={"a": stats.Inbound(1090, 20, 50.0 + 0.04 * 48_000, 96_000, 96_000, 100 + 480)},
        outbound={"o": stats.Outbound(200, 5, 0.03)},
        path="udp host",
    )
    link = stats.compare(before, after)
    assert link.loss_in_ratio == pytest.approx(0.1)
    assert link.loss_out_ratio == pytest.approx(0.05)
    assert link.jitter_buffer_ms == pytest.approx(40)
    assert link.concealment_ratio == pytest.approx(0.01)
    assert link.rtt_ms == pytest.approx(30)
    assert link.path == "udp host"


def test_a_stream_that_came_counts_from_zero_and_one_that_went_counts_no_more() -> None:
    before = stats.Reading(inbound={"old": stats.Inbound(1000, 500, 1.0, 9, 9, 9)})
    after = stats.Reading(inbound={"new": stats.Inbound(50, 50, 1.0, 100, 100, 0)})
    assert stats.compare(before, after).loss_in_ratio == pytest.approx(0.5)


def test_nothing_that_moved_is_nothing_known() -> None:
    link = stats.compare(stats.Reading(), stats.Reading())
    assert (link.loss_in_ratio, link.jitter_buffer_ms, link.rtt_ms, link.path) == (None, None, None, "")
