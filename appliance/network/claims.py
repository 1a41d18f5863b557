"""What a token says of itself, unverified: the server verifies."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from appliance.clock import EARLIEST_S
from appliance.errors import Rejected
from appliance.network import explain
from appliance.settings.model import Settings


def claims_of(token: str) -> Mapping[str, Any]:
    """A token's claims. Raises Rejected for what is no token at all."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError, binascii.Error):
        claims = None
    if not isinstance(claims, dict):
        raise Rejected("the token is no JWT", fix="it has three parts with dots between; was it cut short?")
    return claims


def end_of(claims: Mapping[str, Any]) -> float | None:
    """When this token ends, seconds since 1970; None: it has no end."""
    return _number(claims.get("exp"))


def refuse_useless(claims: Mapping[str, Any], settings: Settings, now: float) -> None:
    """Raise Rejected, with the cause, for a token that cannot work: ended, not begun, or for another room."""
    if now >= EARLIEST_S:
        end, begin = end_of(claims), _number(claims.get("nbf"))
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
