"""The right to join: read, made, asked for; refused here when the server would refuse it, and never shown."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from aiohttp import web
from livekit import api

from appliance.errors import NetworkError, Rejected, Unreachable
from appliance.network.claims import claims_of
from appliance.network.token import end_of_ready_token, token_source
from appliance.settings.model import Settings
from tests.harness.aio import run
from tests.harness.front import Front, endless
from tests.harness.ports import free_port

KEY = "key-of-the-test"
SECRET = "a-secret-of-the-test-that-is-long-enough"  # noqa: S105 (of nothing)
NOW = 1_900_000_000.0
URL = "wss://intercom.example"


class Wall:
    """A clock that shows what the test says, and that can be set."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.up_s = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.up_s

    def pass_by(self, seconds: float) -> None:
        self.now += seconds
        self.up_s += seconds


def settings(**livekit: Any) -> Settings:
    return Settings.model_validate({"identity": "kitchen", "room": "home", "livekit": {"url": URL, **livekit}})


def jwt(room: str = "home", *, at: float = NOW, lasts_s: float = 3600.0) -> str:
    """A real token, moved to the test's time."""
    claims = {"iss": KEY, "sub": "kitchen", "nbf": at, "exp": at + lasts_s, "video": {"roomJoin": True, "room": room}}
    return pyjwt.encode(claims, SECRET, algorithm="HS256")


async def refusal(settings: Settings, clock: Wall | None = None) -> NetworkError:
    with pytest.raises(NetworkError) as caught:
        await token_source(settings, clock or Wall()).grant()
    return caught.value


# ---- a ready token -----------------------------------------------------------------------------------------------


def test_a_ready_token_is_handed_on_with_its_end_and_not_shown() -> None:
    async def story() -> None:
        token = jwt()
        grant = await token_source(settings(token=token), Wall()).grant()
        assert (grant.url, grant.token, grant.expires_at) == (URL, token, NOW + 3600)
        assert token not in repr(grant)

    run(story())


def test_a_token_file_is_read_again_for_each_try(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "token"
        file.write_text(jwt() + "\n")
        source = token_source(settings(token_file=str(file)), Wall())
        await source.grant()
        newer = jwt(lasts_s=7200)
        file.write_text(newer)
        assert (await source.grant()).token == newer
        file.unlink()
        with pytest.raises(Rejected, match="token"):
            await source.grant()

    run(story())


@pytest.mark.parametrize(
    ("token", "cause"),
    [
        (jwt(at=NOW - 10 * 86_400), "ended 10 days ago"),
        (jwt(at=NOW - 3610), "ended 10 seconds ago"),
        (jwt(at=NOW + 3 * 3600), "begins only in 3 hours"),
        (jwt("garden"), "for room 'garden', not 'home'"),
        ("one-word", "no JWT"),
        ("a.b.c", "no JWT"),
        ("a.MQ.c", "no JWT"),
    ],
)
def test_a_token_that_cannot_work_is_refused_with_the_cause_and_not_shown(token: str, cause: str) -> None:
    async def story() -> None:
        error = await refusal(settings(token=token))
        assert isinstance(error, Rejected)
        assert cause in str(error)
        assert error.fix
        assert token not in str(error)

    run(story())


def test_a_clock_that_was_never_set_refuses_no_token() -> None:
    async def story() -> None:
        token = jwt()
        assert (await token_source(settings(token=token), Wall(86_400.0)).grant()).token == token

    run(story())


# ---- made here ---------------------------------------------------------------------------------------------------


def test_a_ready_token_tells_when_it_ends_and_a_right_that_renews_itself_does_not(tmp_path: Path) -> None:
    assert end_of_ready_token(settings(token=jwt(lasts_s=60)).livekit) == NOW + 60
    file = tmp_path / "token"
    assert end_of_ready_token(settings(token_file=file).livekit) is None
    file.write_text(jwt(lasts_s=90))
    assert end_of_ready_token(settings(token_file=file).livekit) == NOW + 90
    file.write_text("no.token")
    assert end_of_ready_token(settings(token_file=file).livekit) is None
    assert end_of_ready_token(settings(api_key=KEY, api_secret=SECRET).livekit) is None
    assert end_of_ready_token(settings().livekit) is None


def test_a_token_made_here_carries_the_rights_of_a_station_and_no_more(tmp_path: Path) -> None:
    async def story() -> None:
        file = tmp_path / "secret"
        file.write_text(SECRET)
        source = token_source(settings(api_key=KEY, api_secret_file=str(file), token_ttl_s=600), Wall(time.time()))
        grant = await source.grant()
        claims = api.TokenVerifier(KEY, SECRET).verify(grant.token)
        assert (claims.identity, claims.name) == ("kitchen", "kitchen")
        video = claims_of(grant.token)["video"]
        assert {name: value for name, value in video.items() if value} == {
            "roomJoin": True,
            "room": "home",
            "canPublish": True,
            "canPublishSources": ["microphone"],
            "canSubscribe": True,
            "canPublishData": True,
            "canUpdateOwnMetadata": True,
        }
        assert grant.expires_at == claims_of(grant.token)["exp"]
        source.invalidate()

    run(story())


@pytest.mark.parametrize("now", [10.0, NOW, NOW + 365 * 86_400])
def test_a_token_made_here_lives_by_the_clock_that_it_is_given(now: float) -> None:
    async def story() -> None:
        grant = await token_source(settings(api_key=KEY, api_secret=SECRET, token_ttl_s=600), Wall(now)).grant()
        claims = claims_of(grant.token)
        assert claims["nbf"] < now < claims["exp"]
        assert claims["exp"] == now + 600
        pyjwt.decode(grant.token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False})

    run(story())


def test_the_embedded_servers_key_and_secret_win_over_the_settings(tmp_path: Path) -> None:
    async def story() -> None:
        key, secret = tmp_path / "key", tmp_path / "secret"
        key.write_text(KEY)
        secret.write_text(SECRET)
        source = token_source(
            settings(token=jwt("garden")), Wall(time.time()), embedded=("ws://127.0.0.1:7880", key, secret)
        )
        grant = await source.grant()
        assert grant.url == "ws://127.0.0.1:7880"
        assert api.TokenVerifier(KEY, SECRET).verify(grant.token).identity == "kitchen"

    run(story())


# ---- asked for ---------------------------------------------------------------------------------------------------

Answer = Callable[[web.Request], Awaitable[web.Response]]


@contextlib.asynccontextmanager
async def endpoint(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/token", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/token"
    finally:
        await runner.cleanup()


def says(status: int, body: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    return answer


def test_an_endpoint_is_asked_by_post_and_again_only_when_the_token_nears_its_end_or_was_refused() -> None:
    async def story() -> None:
        asked: list[dict[str, Any]] = []
        clock = Wall()

        async def answer(request: web.Request) -> web.Response:
            assert request.headers["Authorization"] == "Bearer of-the-test"
            asked.append(await request.json())
            body = {"server_url": "wss://other.example", "participant_token": jwt(at=clock.now)}
            return web.json_response(body, status=201)

        async with endpoint(answer) as url:
            headers = {"Authorization": "Bearer of-the-test"}
            source = token_source(settings(token_endpoint=url, token_endpoint_headers=headers), clock)
            grant = await source.grant()
            assert grant.url == "wss://other.example"
            clock.pass_by(3200)  # of 3600: more than a tenth is left
            clock.now += 365 * 86_400  # somebody sets it
            assert await source.grant() is grant
            clock.pass_by(100)
            assert await source.grant() is not grant
            source.invalidate()
            await source.grant()
        question = {"room_name": "home", "participant_identity": "kitchen", "participant_name": "kitchen"}
        assert asked == [question] * 3

    run(story())


@pytest.mark.parametrize(
    ("status", "body", "kind", "says_what"),
    [
        (403, "\n you may not \x1b[31m\nsecond line", Rejected, "refused with 403: you may not"),
        (401, jwt(), Rejected, "(hidden)"),
        (503, "", Unreachable, "answered 503"),
        (200, "<html>sign in</html>", Unreachable, "something else than JSON"),
        (200, json.dumps({"token": "x"}), Unreachable, "something else than JSON"),
        (200, json.dumps([1]), Unreachable, "something else than JSON"),
        (200, json.dumps({"participant_token": "word"}), Rejected, "no JWT"),
    ],
)
def test_what_an_endpoint_says_instead_of_a_token(
    status: int, body: str, kind: type[Exception], says_what: str
) -> None:
    async def story() -> None:
        async with endpoint(says(status, body)) as url:
            error = await refusal(settings(token_endpoint=url + "?key=hush"))
        assert type(error) is kind
        assert says_what in str(error)
        assert str(error).isprintable()
        assert "hush" not in str(error)
        assert "eyJ" not in str(error)

    run(story())


def test_an_endpoint_that_quotes_our_key_does_not_get_it_into_the_log() -> None:
    async def story() -> None:
        async with endpoint(says(403, "the key hush-hush-hush is not known")) as url:
            headers = {"Authorization": "Bearer hush-hush-hush"}
            error = await refusal(settings(token_endpoint=url, token_endpoint_headers=headers))
        assert "the key (hidden) is not known" in str(error)

    run(story())


def test_an_endpoint_whose_answer_never_ends_is_told_off_at_once() -> None:
    async def story() -> None:
        with Front(endless) as front:
            error = await refusal(settings(token_endpoint=front.url.replace("ws:", "http:")))
        assert type(error) is Unreachable
        assert "something else than JSON" in error.message

    run(story(), timeout_s=5.0)


def test_an_endpoint_that_is_not_there_is_unreachable() -> None:
    async def story() -> None:
        error = await refusal(settings(token_endpoint=f"http://127.0.0.1:{free_port()}/token"))
        assert type(error) is Unreachable

    run(story())
