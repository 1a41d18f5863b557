"""Where the right to join comes from: a ready token, one made here, or one asked for.

No error, repr or log line here ever holds a token or a secret.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import jwt

from appliance.errors import Rejected
from appliance.network.claims import claims_of, end_of, refuse_useless
from appliance.ports import Clock, Grant, TokenSource
from appliance.settings import secrets
from appliance.settings.model import LiveKitSettings, Settings
from appliance.settings.secrets import Right

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
        from appliance.network.endpoint import EndpointToken  # its HTTP client takes 9 MB: for those who have one

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
        return Grant(self._settings.livekit.url, token, end_of(claims))

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


def end_of_ready_token(livekit: LiveKitSettings) -> float | None:
    """When the configured `token` or `token_file` ends, seconds since 1970; None: there is none, it cannot be read, or
    it has no end."""
    try:
        if secrets.right_of(livekit) not in (Right.TOKEN, Right.TOKEN_FILE):
            return None
        return end_of(claims_of(secrets.ready_token(livekit).get_secret_value()))
    except Rejected:
        return None
