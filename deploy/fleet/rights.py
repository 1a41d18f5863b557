"""Each station's right to join: a token of its own, made from the fleet's API key, or kept from the card that is there.

The key comes from a file that only its owner can read (one line, `KEY: SECRET`, as livekit-server's own), or from
LIVEKIT_API_KEY and LIVEKIT_API_SECRET. It goes on no card, into no output, and into no argument.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from appliance.clock import SystemClock
from appliance.errors import ConfigError, Rejected
from appliance.network.token import MintedToken, claims_of, end_of_ready_token
from appliance.settings.files import Unreadable, open_to_others, read_small_file
from appliance.settings.load import load
from appliance.settings.model import Settings
from appliance.settings.problems import Problem
from appliance.settings.secrets import MIN_SECRET_CHARS, SECRET_LIMIT_BYTES

DAY_S: Final = 86400
SHAPE: Final = "one line, KEY: SECRET"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The fleet's key and its secret."""

    key: str
    secret: SecretStr


UNUSABLE: Final = ApiKey("none", SecretStr("none, and nothing that is made with it is written"))
"""Stands in for a key that has something wrong, so that this does not hide what else is."""


def api_key(file: Path | None, env: Mapping[str, str]) -> tuple[ApiKey | None, list[Problem]]:
    """From the file, else from the environment; None when neither has one."""
    if file is not None:
        return _from_file(file)
    key, secret = env.get("LIVEKIT_API_KEY", "").strip(), env.get("LIVEKIT_API_SECRET", "").strip()
    if not key and not secret:
        return None, []
    return _checked("environment LIVEKIT_API_SECRET", 0, key, secret)


def _from_file(file: Path) -> tuple[ApiKey | None, list[Problem]]:
    try:
        data, status = read_small_file(file, limit_bytes=SECRET_LIMIT_BYTES)
    except Unreadable as error:
        return None, [Problem(str(file), 1, 1, "", error.found, SHAPE, error.fix)]
    if who := open_to_others(status):
        found = f"a secret in a file that {who} can read"
        return None, [Problem(str(file), 1, 1, "", found, "only its owner can", f"chmod 600 {file}")]
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    key, _, secret = lines[0].partition(":") if len(lines) == 1 else ("", "", "")
    return _checked(str(file), 1, key.strip(), secret.strip())


def _checked(where: str, line: int, key: str, secret: str) -> tuple[ApiKey | None, list[Problem]]:
    if not key or not secret:
        found = "a key without its secret" if key else "no API key"
        return None, [Problem(where, line, line, "", found, SHAPE, "give both, as the server's configuration has them")]
    if len(secret) < MIN_SECRET_CHARS:
        fix = "it can be guessed from a single token: make a longer one on the server"
        found = f"a secret of {len(secret)} characters"
        return None, [Problem(where, line, line, "", found, f"{MIN_SECRET_CHARS} or more", fix)]
    return ApiKey(key, SecretStr(secret)), []


def made(settings: Settings, key: ApiKey, life_s: int) -> str:
    """A token for this station in its room, and for nothing else."""
    # Past the limit of what a station makes for itself: that one can make another.
    long = settings.model_copy(update={"livekit": settings.livekit.model_copy(update={"token_ttl_s": life_s})})
    source = MintedToken(
        long, SystemClock(), settings.livekit.url, key=lambda: key.key, secret=key.secret.get_secret_value
    )
    return asyncio.run(source.grant()).token


def kept(card: Path, settings: Settings, *, good_until: float) -> str | None:
    """The token on the card that is there already, if it is this station's, for its room, and lives that long."""
    try:
        there = load(card, env={}).settings.livekit
        token = there.token.get_secret_value() if there.token else ""
        claims, end = claims_of(token), end_of_ready_token(there)
    except (ConfigError, Rejected):
        return None
    video = claims.get("video")
    room = video.get("room") if isinstance(video, dict) else None
    mine = claims.get("sub") == settings.identity and room == settings.room and there.url == settings.livekit.url
    return token if mine and (end is None or end > good_until) else None
