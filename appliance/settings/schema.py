"""The JSON Schema of alto.yaml (2020-12), with which editors complete and check while somebody types. Pure.

It accepts what the loader accepts without a warning. What only the loader knows (two rights to join, which default
a host name makes) stays out of it.
"""

from __future__ import annotations

import json
from typing import Any

from appliance.settings import emit
from appliance.settings.keys import REQUIRED, Key, Kind, root

_TITLE = "alto.yaml"
_COMMENT = "Generated, do not edit: alto schema > config/alto.schema.json"

_SWITCH_WORDS = ["yes", "no", "on", "off"]  # what YAML 1.1 reads as true and false, and YAML 1.2 as text


def render() -> str:
    """The schema as the text of a file."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema as an object."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$comment": _COMMENT,
        "title": _TITLE,
        "description": "Configuration of an alto intercom station.",
        **_section(root()),
    }


def _section(section: Key) -> dict[str, Any]:
    required = [key.name for key in section.children.values() if key.default is REQUIRED]
    return {
        "type": "object" if required else ["object", "null"],  # `audio:` with every line below it commented out
        "properties": {key.name: _described(key) for key in section.children.values()},
        "additionalProperties": False,
        **({"required": required} if required else {}),
    }


def _described(key: Key) -> dict[str, Any]:
    described = {"description": key.description, **_kind(key)}
    if key.kind not in (Kind.SECTION, Kind.MAPPING) and key.default is not REQUIRED and not key.computed_default:
        described["default"] = emit.plain(key.default)
    return described


def _kind(key: Key) -> dict[str, Any]:
    match key.kind:
        case Kind.SECTION:
            return _section(key)
        case Kind.MAPPING:
            return _mapping(key)
        case Kind.SWITCH:
            return {"anyOf": [{"type": "boolean"}, {"enum": _SWITCH_WORDS}]}
        case Kind.CHOICE:
            return {"enum": list(key.choices)}
        case Kind.INTEGER | Kind.NUMBER:
            return {"type": _or_null(key, key.kind.value)} | _given(minimum=key.minimum, maximum=key.maximum)
        case _:
            return {"type": _or_null(key, "string")} | _text_limits(key)


def _mapping(key: Key) -> dict[str, Any]:
    assert key.entry is not None
    assert key.entry_name is not None
    names = _text_limits(key.entry_name)
    limited = {"propertyNames": names} if names else {}
    return {"type": ["object", "null"], "additionalProperties": _kind(key.entry), **limited}


def _or_null(key: Key, name: str) -> str | list[str]:
    return [name, "null"] if key.optional else name


def _text_limits(key: Key) -> dict[str, Any]:
    pattern = f"^(?:{key.form.pattern})$" if key.form else None
    return _given(minLength=key.min_length, maxLength=key.max_length, pattern=pattern)


def _given(**limits: Any) -> dict[str, Any]:
    return {name: limit for name, limit in limits.items() if limit is not None}
