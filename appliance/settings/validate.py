"""Values → `Settings`, or every limit that they break. Pydantic checks; this gives its answers places and words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from appliance.settings import scalars
from appliance.settings.keys import Key, KeyPath, Kind, number, root
from appliance.settings.model import EMBEDDED, LISTEN, SERVER_URL, Settings
from appliance.settings.problems import MISSING, Origin, Problem
from appliance.settings.rights import URL, Value, nearly_embedded
from appliance.settings.secrets import MASK, looks_secret

_PLACEHOLDERS: Final[Mapping[KeyPath, object]] = {URL: EMBEDDED}
"""Good values for keys without a default, so that what depends on other keys is still checked when one is missing."""

_MAX_PASSES: Final = 6  # a refused value may hide what the section as a whole would say; three levels do so at most


def validate(
    values: Mapping[KeyPath, Value], *, livekit: Origin, known: set[KeyPath], complete: bool
) -> tuple[Settings | None, list[Problem]]:
    """Check all limits. `livekit`, `known`, `complete`: see `rights.join`. The settings are None when one is broken."""
    problems: list[Problem] = []
    usable = {path: value.value for path, value in values.items()}
    for _ in range(_MAX_PASSES):
        try:
            settings = Settings.model_validate(_nested(usable))
            return (None if problems else settings), problems
        except ValidationError as err:
            for detail in err.errors(include_url=False, include_input=False):
                path = _path(detail)
                _take_out(usable, path, section=detail["type"] == "conflict")
                said = any(path[:length] in known for length in range(1, len(path) + 1))
                if detail["type"] != "missing" or (complete and not said):
                    problems.append(_problem(detail, path, values, livekit))
    return None, problems


def _take_out(usable: dict[KeyPath, object], path: KeyPath, *, section: bool) -> None:
    """Go on without a refused value, so that the next pass sees what it hid. Of a conflict, without the section."""
    outer = path[:-1] if section else path
    for refused in [known for known in (*usable, path) if known[: len(outer)] == outer]:
        usable.pop(refused, None)
    usable |= {known: good for known, good in _PLACEHOLDERS.items() if known[: len(outer)] == outer}


def _nested(values: Mapping[KeyPath, object]) -> dict[str, Any]:
    tree: dict[str, Any] = {"livekit": {}}
    for path, value in values.items():
        here = tree
        for name in path[:-1]:
            here = here.setdefault(name, {})
        here[path[-1]] = value
    return tree


def _path(detail: ErrorDetails) -> KeyPath:
    path = tuple(str(part) for part in detail["loc"] if part != "[key]")
    key = detail.get("ctx", {}).get("key") if detail["type"] == "conflict" else None
    return (*path, str(key)) if key else path


def _problem(detail: ErrorDetails, path: KeyPath, values: Mapping[KeyPath, Value], livekit: Origin) -> Problem:
    key = root().at(path) or root()
    if detail["type"] == "missing":
        fix = (
            f'add "{path[-1]}: {EMBEDDED}" to the section livekit to try alto on one machine, or the server\'s address'
        )
        return livekit.problem(key.dotted, MISSING, key.allowed, fix)
    context = detail.get("ctx", {})
    other = (*path[:-1], str(context.get("other")))
    given = values.get(path) or values.get(other) or Value(None, livekit)
    if detail["type"] == "conflict":
        fix = f"change {path[-1]} or {other[-1]}"
        return given.origin.problem(key.dotted, str(context["found"]), str(context["allowed"]), fix)
    if detail["loc"][-1] == "[key]":
        found, name = scalars.shown(_NAME, path[-1]), root().at(path[:-1])
        allowed = name.entry_name.allowed if name and name.entry_name else "text"
        return given.origin.problem(".".join(path[:-1]), found, allowed, "correct the name")
    text = _as_text(given.value)
    return given.origin.problem(key.dotted, scalars.shown(key, text), key.allowed, _fix(key, detail["type"], text))


_NAME: Final = Key(path=("name",))


def _as_text(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return number(value) if abs(value) < 1e15 else repr(value)
        case Enum():
            return str(value.value)
        case SecretStr():
            return MASK
        case str() | Path():
            return str(value)
        case _:
            return f"a {type(value).__name__}"


def _fix(key: Key, error: str, text: str) -> str:
    match error:
        case "greater_than_equal" if key.minimum is not None:
            return f"write {number(key.minimum)} or more"
        case "less_than_equal" if key.maximum is not None:
            return f"write {number(key.maximum)} or less"
        case "literal_error":
            return f"the nearest is {scalars.nearest(key, float(text))}"
        case "string_too_short" | "too_short":
            return "write something, or delete the line"
        case "string_too_long" | "too_long":
            return f"shorten it: it has {len(text)} characters"
        case _ if key.form is not None and key.kind is Kind.TEXT:
            return _form_fix(key, text)
        case _:
            return f"write {key.allowed}"


def _form_fix(key: Key, text: str) -> str:
    if key.form is LISTEN:
        port = text.strip().rpartition(":")[2]
        return f'did you mean "127.0.0.1:{port if port.isdecimal() and 0 < int(port) < 65536 else 9477}"?'
    if key.form is None or "://" not in key.form.words:
        return "write a name that people can read"
    server = key.form is SERVER_URL
    scheme = "wss" if server else "https"
    if server and nearly_embedded(text):
        return f'did you mean "{EMBEDDED}"?'
    if looks_secret(text):
        return f"write {scheme}:// and the server's name; this looks like a token or a secret"
    if "@" in text:
        return "leave out user and password (everything up to the @)"
    if "?" in text or "#" in text:
        return "leave out everything from the ? or # on"
    return _scheme_fix(text.strip(), scheme)


def _scheme_fix(text: str, scheme: str) -> str:
    rest = re.sub(r"^[A-Za-z]*:?/+", "", text)
    if re.fullmatch(r"[\w.\-\[\]:]+(/\S*)?", rest) and not re.fullmatch(r"[A-Za-z]+:?", rest):
        if re.search(r":[^/]*[^0-9/\]]|:[0-9]{6,}", rest):
            return "write the port as a number of 1 to 5 digits behind the name"
        return f'did you mean "{scheme}://{rest}"?'
    return f'write {scheme}:// and the server\'s name, such as "{scheme}://intercom.example.org"'
