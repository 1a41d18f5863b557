"""The right to join a room: which one is configured, and its secret parts, read when they are used.

Secrets stay `SecretStr` until the moment they are handed to the SDK, and none of the errors here ever quotes one.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from appliance.errors import Rejected
from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.model import EMBEDDED, LiveKitSettings
from appliance.settings.problems import shortened

MASK: Final = "(hidden)"
"""What people and logs see instead of a secret."""

SECRET_LIMIT_BYTES: Final = 16 * 1024  # a token with every grant and a page of metadata is below 4 KiB

MIN_SECRET_CHARS: Final = 32  # a shorter one can be guessed offline from one token; LiveKit's server warns below it


class SecretUnreadable(Rejected):
    """The file that should hold a secret does not. The sentence names the file, never its content."""

    reason = "secret_unreadable"


class Right(StrEnum):
    """By what right this station joins; after `load()` it is exactly one."""

    EMBEDDED = "embedded"
    """The server is our own: its generated key and secret."""
    TOKEN = "token"  # noqa: S105 (a word, not a token)
    """`livekit.token`: a ready token."""
    TOKEN_FILE = "token_file"  # noqa: S105
    """`livekit.token_file`: a ready token that somebody else renews."""
    ENDPOINT = "token_endpoint"
    """`livekit.token_endpoint`: asked for a token by POST."""
    KEY_AND_SECRET = "api_key"  # noqa: S105
    """`livekit.api_key(_file)` and `livekit.api_secret(_file)`: this station makes its own tokens."""


def right_of(livekit: LiveKitSettings) -> Right:
    """Which right these settings hold. Raises Rejected when there is none (`load()` refuses such a file)."""
    if livekit.url == EMBEDDED:
        return Right.EMBEDDED
    if livekit.token is not None:
        return Right.TOKEN
    if livekit.token_file is not None:
        return Right.TOKEN_FILE
    if livekit.token_endpoint is not None:
        return Right.ENDPOINT
    key = livekit.api_key is not None or livekit.api_key_file is not None
    secret = livekit.api_secret is not None or livekit.api_secret_file is not None
    if key and secret:
        return Right.KEY_AND_SECRET
    raise Rejected("no right to join a room", fix="give api_key and api_secret, a token or a token_endpoint")


def api_key(livekit: LiveKitSettings) -> str:
    """The API key, inline or read from its file now. Raises Rejected, SecretUnreadable."""
    if livekit.api_key is not None:
        return livekit.api_key
    if livekit.api_key_file is not None:
        return read_secret(livekit.api_key_file).get_secret_value()
    raise Rejected("no API key", fix="give livekit.api_key or livekit.api_key_file")


def api_secret(livekit: LiveKitSettings) -> SecretStr:
    """The API secret, inline or read from its file now. Raises Rejected, SecretUnreadable."""
    if livekit.api_secret is not None:
        return livekit.api_secret
    if livekit.api_secret_file is not None:
        return read_secret(livekit.api_secret_file)
    raise Rejected("no API secret", fix="give livekit.api_secret or livekit.api_secret_file")


def ready_token(livekit: LiveKitSettings) -> SecretStr:
    """The ready token, inline or read from its file now. Raises Rejected, SecretUnreadable."""
    if livekit.token is not None:
        return livekit.token
    if livekit.token_file is not None:
        return read_secret(livekit.token_file)
    raise Rejected("no token", fix="give livekit.token or livekit.token_file")


def read_secret(path: Path) -> SecretStr:
    """What the file holds, without a byte order mark and one line end. Raises SecretUnreadable.

    Reads a few hundred bytes and never blocks on a pipe, so it may be called on the loop thread.
    """
    try:
        data, _ = read_small_file(path, limit_bytes=SECRET_LIMIT_BYTES)
    except Unreadable as err:
        raise SecretUnreadable(f"secret file {shortened(str(path))}: {err.found}", fix=err.fix, path=str(path)) from err
    try:
        text = data.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise _not_a_secret(path, "bytes that are not UTF-8 text") from None  # the cause would carry the content
    if not text.strip():
        raise _not_a_secret(path, "nothing")
    if not text.isprintable():
        raise _not_a_secret(path, "several lines or control characters")
    return SecretStr(text)


def _not_a_secret(path: Path, found: str) -> SecretUnreadable:
    return SecretUnreadable(
        f"secret file {shortened(str(path))}: found {found}",
        fix="put the secret on one line and nothing else",
        path=str(path),
    )


def public_url(url: str) -> str:
    """The address without what may be secret in it: user, password and query."""
    url = re.sub(r"//[^/?#\s]*@", f"//{MASK}@", url)
    return re.sub(r"[?#].*", f"?{MASK}", url, flags=re.DOTALL)


def looks_secret(text: str) -> bool:
    """Whether a text that somebody typed in the wrong place is probably a token or a secret."""
    return re.search(r"eyJ[\w-]{8,}", text) is not None or re.fullmatch(r"[A-Za-z0-9+/=_-]{32,}", text) is not None
