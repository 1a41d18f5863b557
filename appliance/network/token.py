"""Where the right to join comes from: a ready token, one made here, or one asked for.

No error, repr or log line here ever holds a token or a secret.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import jwt

from appliance.clock import EARLIEST_S
from appliance.errors import AttemptTimedOut, Rejected, Unreachable
from appliance.network import explain, lookup
from appliance.ports import Clock, Grant, TokenSource
from appliance.settings import secrets
from appliance.settings.model import LiveKitSettings, Settings
from appliance.settings.secrets import Right

ENDPOINT_S: Final = 8.0  # shorter than the setting's connect time: the join that follows needs some as well
ANSWER_BYTES: Final = 65536  # a token with every grant and many attributes has a few thousand
RENEW_SHARE: Final = 0.1  # of a token's life: asked anew when less than this is left…
RENEW_S: Final = 30.0  # …or this
SECRET_WORD_CHARS: Final = 7  # longer than the "Bearer" before a key
EARLY_S: Final = 60.0  # a token made here begins before now: clocks that differ by less need no correction
RIGHTS: Final = {
    "roomJoin": True,
    "canPublish": True,
    "canPublishSources": ["microphone"],
    "canSubscribe": True,
    "canPublishData": True,
    "canUpdateOwnMetadata": True,
}  # in the server's words; livekit-api has some for them as well, in 5 MB, and signs by this board's clock only


def token_source(settings: Settings, clock: Clock, *, embedded: tuple[str, Path, Path] | None = None) -> TokenSource:
    """The source that these settings name. `embedded`: url, API key file and secret file of our own server."""
    if embedded is not None:
        url, key_file, secret_file = embedded
        return MintedToken(settings, clock, url, key=lambda: _text(key_file), secret=lambda: _text(secret_file))
    right = secrets.right_of(settings.livekit)
    if right in (Right.TOKEN, Right.TOKEN_FILE):
        return ReadyToken(settings, clock)
    if right is Right.ENDPOINT:
        return EndpointToken(settings, clock)
    return MintedToken(
        settings,
        clock,
        settings.livekit.url,
        key=lambda: secrets.api_key(settings.livekit),
        secret=lambda: secrets.api_secret(settings.livekit).get_secret_value(),
    )


def _text(path: Path) -> str:
    return secrets.read_secret(path).get_secret_value()


class ReadyToken:
    """`livekit.token`, or `token_file`, read again for each try."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def grant(self) -> Grant:
        """See `ports.TokenSource`. Raises Rejected for what the server would refuse anyway, with the cause."""
        token = secrets.ready_token(self._settings.livekit).get_secret_value()
        claims = claims_of(token)
        refuse_useless(claims, self._settings, self._clock.time())
        return Grant(self._settings.livekit.url, token, _number(claims.get("exp")))

    def invalidate(self) -> None:
        """Nothing is cached."""


class MintedToken:
    """Made on the device from key and secret, with no more rights than a station needs."""

    def __init__(
        self, settings: Settings, clock: Clock, url: str, *, key: Callable[[], str], secret: Callable[[], str]
    ) -> None:
        """`clock` tells the time by which the server will judge: many boards have none of their own."""
        self._settings = settings
        self._clock = clock
        self._url = url
        self._key = key
        self._secret = secret

    async def grant(self) -> Grant:
        """See `ports.TokenSource`. Raises Rejected when a secret file cannot be read."""
        settings, now_s = self._settings, int(self._clock.time())
        end_s = now_s + settings.livekit.token_ttl_s
        claims = {
            "iss": self._key(),
            "sub": settings.identity,
            "name": settings.name or settings.identity,
            "nbf": now_s - int(EARLY_S),
            "exp": end_s,
            "video": {"room": settings.room, **RIGHTS},
        }
        return Grant(self._url, jwt.encode(claims, self._secret(), algorithm="HS256"), float(end_s))

    def invalidate(self) -> None:
        """Nothing is cached: each try has a fresh one."""


class EndpointToken:
    """LiveKit's standard token endpoint, asked again shortly before a token ends or when one was refused."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._kept: Grant | None = None
        self._renew_at = 0.0  # monotonic: a clock that is set meanwhile must not make a token old, or young

    async def grant(self) -> Grant:
        """See `ports.TokenSource`."""
        if self._kept is None or self._clock.monotonic() >= self._renew_at:
            self._keep(await self._ask())
        assert self._kept is not None
        return self._kept

    def invalidate(self) -> None:
        """Ask anew next time."""
        self._kept = None

    def _keep(self, grant: Grant) -> None:
        now_s = self._clock.time()
        left_s = (grant.expires_at or now_s) - now_s
        self._kept = grant
        self._renew_at = self._clock.monotonic() + left_s - max(RENEW_S, RENEW_SHARE * left_s)

    async def _ask(self) -> Grant:
        livekit = self._settings.livekit
        url = livekit.token_endpoint or ""
        headers = {name: value.get_secret_value() for name, value in livekit.token_endpoint_headers.items()}
        question = {
            "room_name": self._settings.room,
            "participant_identity": self._settings.identity,
            "participant_name": self._settings.name or self._settings.identity,
        }
        where = secrets.public_url(url)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=lookup.connector(ENDPOINT_S), timeout=aiohttp.ClientTimeout(total=ENDPOINT_S)
                ) as session,
                session.post(url, json=question, headers=headers) as answer,
            ):
                return self._read(where, answer.status, await _body(answer))
        except TimeoutError as error:
            raise AttemptTimedOut(f"token endpoint {where} gave no answer in {ENDPOINT_S:g} s") from error
        except aiohttp.ClientError as error:
            why = type(error).__name__
            fix = "check livekit.token_endpoint, name resolution and certificates"
            raise Unreachable(f"token endpoint {where} cannot be asked ({why})", fix=fix) from error

    def _read(self, where: str, status: int, body: str) -> Grant:
        if 400 <= status < 500:
            fix = "check token_endpoint_headers, room and identity"
            raise Rejected(f"token endpoint {where} refused with {status}: {self._reason(body)}", fix=fix)
        if not 200 <= status < 300:
            raise Unreachable(f"token endpoint {where} answered {status}", fix="look at that server's log")
        try:
            fields = json.loads(body)
            token = str(fields["participant_token"])
            server = str(fields.get("server_url") or self._settings.livekit.url)
        except (ValueError, KeyError, TypeError, AttributeError):
            what = f"token endpoint {where} answered something else than JSON with participant_token"
            raise Unreachable(what, fix="is it a token endpoint, or a login page?") from None
        claims = claims_of(token)
        return Grant(server, token, _number(claims.get("exp")))

    def _reason(self, body: str) -> str:
        """The endpoint's own words, without what we sent to be let in: some quote it."""
        for value in self._settings.livekit.token_endpoint_headers.values():
            for word in value.get_secret_value().split():
                body = body.replace(word, secrets.MASK) if len(word) >= SECRET_WORD_CHARS else body
        return _first_line(body)


async def _body(answer: aiohttp.ClientResponse) -> str:
    """Its first `ANSWER_BYTES`; what is longer is no answer of a token endpoint, and will not read as one."""
    data = bytearray()
    async for piece in answer.content.iter_any():
        data += piece
        if len(data) >= ANSWER_BYTES:
            break
    return data[:ANSWER_BYTES].decode(errors="replace")


# ---- what a token says of itself ---------------------------------------------------------------------------------


def claims_of(token: str) -> Mapping[str, Any]:
    """A token's claims, unverified: the server verifies. Raises Rejected for what is no token at all."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError, binascii.Error):
        claims = None
    if not isinstance(claims, dict):
        raise Rejected("the token is no JWT", fix="it has three parts with dots between; was it cut short?")
    return claims


def end_of_ready_token(livekit: LiveKitSettings) -> float | None:
    """When the configured `token` or `token_file` ends, seconds since 1970; None: there is none, it cannot be read, or
    it has no end."""
    try:
        if secrets.right_of(livekit) not in (Right.TOKEN, Right.TOKEN_FILE):
            return None
        return _number(claims_of(secrets.ready_token(livekit).get_secret_value()).get("exp"))
    except Rejected:
        return None


def refuse_useless(claims: Mapping[str, Any], settings: Settings, now: float) -> None:
    """Raise Rejected, with the cause, for a token that cannot work: ended, not begun, or for another room."""
    if now >= EARLIEST_S:
        end, begin = _number(claims.get("exp")), _number(claims.get("nbf"))
        if end is not None and end <= now:
            raise Rejected(
                f"the token ended {explain.span(now - end)} ago", fix="get a new one; is this board's clock right?"
            )
        if begin is not None and begin > now + 60:
            ahead = explain.span(begin - now)
            raise Rejected(f"the token begins only in {ahead}", fix="is this board's clock right?")
    video = claims.get("video")
    room = video.get("room") if isinstance(video, dict) else None
    if room and room != settings.room:
        raise Rejected(
            f"the token is for room {room!r}, not {settings.room!r}", fix="correct room, or get another token"
        )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _first_line(body: str) -> str:
    """What an endpoint says, fit for a log: one line, short, and nothing that looks like a token."""
    line = next((line.strip() for line in body.splitlines() if line.strip()), "no reason given")[:120]
    return secrets.MASK if secrets.looks_secret(line) else "".join(c for c in line if c.isprintable())
