"""The right to join, asked for over HTTP. Loaded by the stations that have a token endpoint: the client takes 9 MB.

No error, repr or log line here ever holds a token or a secret.
"""

from __future__ import annotations

import json
import socket
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from appliance.errors import AttemptTimedOut, Rejected, Unreachable
from appliance.network import lookup
from appliance.network.claims import claims_of, end_of
from appliance.ports import Clock, Grant
from appliance.settings import secrets
from appliance.settings.model import Settings

ENDPOINT_S: Final = 8.0  # shorter than the setting's connect time: the join that follows needs some as well
ANSWER_BYTES: Final = 65536  # a token with every grant and many attributes has a few thousand
RENEW_SHARE: Final = 0.1  # of a token's life: asked anew when less than this is left…
RENEW_S: Final = 30.0  # …or this
SECRET_WORD_CHARS: Final = 7  # longer than the "Bearer" before a key


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
                    connector=_connector(), timeout=aiohttp.ClientTimeout(total=ENDPOINT_S)
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
        return Grant(server, token, end_of(claims_of(token)))

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


def _first_line(body: str) -> str:
    """What an endpoint says, fit for a log: one line, short, and nothing that looks like a token."""
    line = next((line.strip() for line in body.splitlines() if line.strip()), "no reason given")[:120]
    return secrets.MASK if secrets.looks_secret(line) else "".join(c for c in line if c.isprintable())


def _connector() -> aiohttp.TCPConnector:
    return aiohttp.TCPConnector(resolver=_Names(), use_dns_cache=False, force_close=True)


class _Names(AbstractResolver):
    """`lookup.addresses`, for aiohttp."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await lookup.addresses(host, port, timeout_s=ENDPOINT_S, family=family)
        return [_result(host, *info) for info in found]

    async def close(self) -> None:
        """Nothing to free: a lookup that runs is left to end by itself."""


def _result(
    hostname: str,
    family: int,
    _kind: int,
    proto: int,
    _canonical: str,
    address: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
) -> ResolveResult:
    host, port = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)  # with a link-local's scope
    numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=hostname, host=host, port=int(port), family=family, proto=proto, flags=numeric)
