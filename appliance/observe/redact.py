"""Keeping secrets out of every line, wherever they came from.

Three nets, because libraries print what they like: fields whose name says that they hold a secret, values that were
registered, and text that looks like a token. Any thread.
"""

from __future__ import annotations

import re
from typing import Final

MASK: Final = "***"

SHORTEST_REGISTERED: Final = 4  # masking a shorter value would black out ordinary words

_SECRET_KEY: Final = re.compile(
    r"(^|[_.\-])(token|secret|password|passwd|authorization|cookie|credential|api[_-]?key)s?$", re.I
)
_JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?")
_PARAMETER: Final = re.compile(
    r"((?:access_token|refresh_token|token|api_?secret|secret|password|api_?key)[\"']?\s*[=:]\s*[\"']?)"
    r"(?!\*\*\*)[^\s&\"',;}\])<>]+",
    re.I,
)
_SCHEME: Final = re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.I)
_USERINFO: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.I)

_registered: frozenset[str] = frozenset()


def redact(value: str) -> None:
    """Have this value masked wherever it turns up from now on. Short ones and empty ones are ignored."""
    global _registered
    if len(value.strip()) >= SHORTEST_REGISTERED:
        _registered = _registered | {value.strip()}


def forget_registered() -> None:
    """Mask no registered value any more (a rotated key's old value, or the end of a test)."""
    global _registered
    _registered = frozenset()


def is_secret_key(key: str) -> bool:
    """Whether a field of this name holds a secret: `token` and `api_secret` do, `token_ttl_s` and `token_file` not."""
    return _SECRET_KEY.search(key) is not None


def masked(text: str) -> str:
    """The text without what looks like, or is known to be, a secret."""
    for secret in _registered:
        if secret in text:
            text = text.replace(secret, MASK)
    if "eyJ" in text:
        text = _JWT.sub(MASK, text)
    if "=" in text or ":" in text:
        text = _USERINFO.sub(rf"\1{MASK}@", text)
        text = _PARAMETER.sub(rf"\1{MASK}", text)
    return _SCHEME.sub(rf"\1 {MASK}", text)
