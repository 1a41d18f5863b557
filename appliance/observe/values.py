"""Any Python value as something that JSON can hold: finite, bounded, without secrets, and never an exception."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import PurePath
from typing import Final, TypeAlias

from appliance.observe.redact import MASK, is_secret_key, masked

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

LONGEST_TEXT: Final = 8192  # characters; a deep traceback fits, and five such fields fit journald's 48 KiB line
LONGEST_KEY: Final = 120
DEEPEST: Final = 6
MOST_ITEMS: Final = 200
_BIGGEST_INT: Final = 2**63  # beyond, readers of JSON lose digits; such a number is text


def plain(value: object, *, longest: int = LONGEST_TEXT, _depth: int = 0) -> Json:
    """The value as JSON data. NaN and infinity are null, an exception is `Class: text`, the unknown its repr."""
    try:
        return _plain(value, longest, _depth)
    except Exception as error:  # a __str__ or __repr__ of somebody else's may do anything
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def cut(text: str, longest: int = LONGEST_TEXT) -> str:
    """At most about `longest` characters: the beginning, a mark, and the end, where a traceback says what failed."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}…[{len(text) - 2 * half} characters cut]…{text[-half:]}"


def error_text(error: BaseException) -> str:
    """`Class: what it says`, on one line."""
    try:
        said = " ".join(str(error).split())
    except Exception:  # somebody's __str__
        said = ""
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _plain(value: object, longest: int, depth: int) -> Json:
    if isinstance(value, Enum):
        return plain(value.value, longest=longest, _depth=depth + 1)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return cut(masked(value), longest)
    if isinstance(value, int):
        return int(value) if -_BIGGEST_INT < value < _BIGGEST_INT else cut(str(value), longest)
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, PurePath):
        return cut(masked(str(value)), longest)
    if isinstance(value, BaseException):
        return cut(masked(error_text(value)), longest)
    if depth < DEEPEST:
        if isinstance(value, Mapping):
            return _mapping(value, longest, depth)
        if isinstance(value, (list, tuple, set, frozenset)):
            return _sequence(value, longest, depth)
    return _other(value, longest, depth)


def _number(value: float) -> float | None:
    """Six digits after the point: a microsecond, a millionth; more is noise that costs journal space."""
    return round(value, 6) if math.isfinite(value) else None


def _mapping(value: Mapping[object, object], longest: int, depth: int) -> dict[str, Json]:
    out: dict[str, Json] = {}
    for key, item in value.items():
        if len(out) >= MOST_ITEMS:
            out["…"] = f"{len(value) - MOST_ITEMS} more"
            break
        name = key_text(key)
        out[name] = field(name, item, longest=longest, _depth=depth + 1)
    return out


def key_text(key: object) -> str:
    """A key as text. An identifier is taken as it is: no token looks like one."""
    return key if isinstance(key, str) and key.isidentifier() else str(plain(key, longest=LONGEST_KEY))


def field(name: str, value: object, *, longest: int = LONGEST_TEXT, _depth: int = 0) -> Json:
    """The value of a named field: masked whole when the name says that it is a secret."""
    if value is not None and not isinstance(value, bool) and is_secret_key(name):
        return MASK
    return plain(value, longest=longest, _depth=_depth)


def _sequence(value: object, longest: int, depth: int) -> list[Json]:
    items: list[object] = list(value)  # type: ignore[call-overload]
    shown = [plain(item, longest=longest, _depth=depth + 1) for item in items[:MOST_ITEMS]]
    return [*shown, f"… {len(items) - MOST_ITEMS} more"] if len(items) > MOST_ITEMS else shown


def _other(value: object, longest: int, depth: int) -> Json:
    """A numpy number is asked for its Python value (without importing numpy here); anything else shows its repr."""
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", None) == 0 and depth < DEEPEST:
        return plain(item(), longest=longest, _depth=depth + 1)
    return cut(masked(repr(value)), longest)
