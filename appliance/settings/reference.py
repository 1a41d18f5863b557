"""`config/alto.reference.yaml`: every key with its default, range and what it does, from the models. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.settings import emit
from appliance.settings.keys import REQUIRED, Key, Kind, root

_WIDTH: Final = 100

_HEADER: Final = """\
# Every key of alto.yaml, with its default.
#
# A line that begins with # and a key shows the default: take the # away and change the value.
# A line that begins with ## is an example for a key that is not set, or that is made on the machine.
# What is not written keeps its default; alto check says what is wrong, alto show what counts.
#
# Generated, do not edit: alto schema --reference > config/alto.reference.yaml
# yaml-language-server: $schema=alto.schema.json
"""

_EXAMPLES: Final = {
    # for keys whose default is nothing, or is made on the machine
    "identity": "kitchen",
    "name": "Kitchen, first floor",
    "livekit.api_key": "APIabcdefgh",
    "livekit.api_secret": "at-least-32-characters-0123456789",
    "livekit.api_key_file": "/etc/alto/api_key",
    "livekit.api_secret_file": "/etc/alto/api_secret",
    "livekit.token": "header.payload.signature",
    "livekit.token_file": "/run/alto/token",
    "livekit.token_endpoint": "https://intercom.example.org/token",
    "livekit.embedded.binary": "/usr/local/bin/livekit-server",
    "audio.input.device": "plughw:CARD=Device",
    "audio.output.block_ms": 10,
    "audio.input.latency_ms": 20,
    "audio.input.mixer.control": "Mic",
    "audio.output.device": "plughw:CARD=Device",
    "audio.output.latency_ms": 20,
    "audio.output.mixer.control": "Speaker",
    "metrics.listen": "127.0.0.1:9477",
    "status.socket": "/run/alto/kitchen.sock",
}
_ENTRIES: Final[Mapping[str, Mapping[str, object]]] = {
    "livekit.token_endpoint_headers": {"Authorization": "Bearer 0123456789"},
    "audio.volumes": {"bob": 1.5, "charlie": 0.5},
}
_REQUIRED: Final = {"livekit.url": "embedded"}


def render() -> str:
    """The reference as the text of a file; a valid alto.yaml as it is."""
    return _HEADER + "\n".join(_section(root())) + "\n"


def _section(section: Key) -> Iterator[str]:
    for key in section.children.values():
        yield ""
        yield from _comment(key)
        indent = _indent(key)
        if key.kind is Kind.SECTION:
            yield f"{indent}{key.name}:"
            yield from _section(key)
        elif key.kind is Kind.MAPPING:
            yield from _example_entries(key, indent)
        else:
            yield f"{indent}{_line(key)}"


def _line(key: Key) -> str:
    if key.default is REQUIRED:
        return f"{key.name}: {_REQUIRED[key.dotted]}"
    if key.default is None or key.computed_default:
        return f"##{key.name}: {emit.scalar(_EXAMPLES[key.dotted])}"
    return f"#{key.name}: {emit.scalar(key.default)}"


def _example_entries(key: Key, indent: str) -> Iterator[str]:
    yield f"{indent}##{key.name}:"
    for name, value in _ENTRIES[key.dotted].items():
        yield f"{indent}##  {name}: {emit.scalar(value)}"


def _comment(key: Key) -> Iterator[str]:
    indent = _indent(key)
    for paragraph in (key.description, _range(key)):
        yield from textwrap.wrap(
            paragraph, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ", break_on_hyphens=False
        )


def _range(key: Key) -> str:
    match key.kind:
        case Kind.SECTION:
            return ""
        case Kind.MAPPING:
            return f"Allowed: any number of names, each with {key.entry.allowed}." if key.entry else ""
        case _:
            return f"Allowed: {key.allowed}. {_default(key)}"


def _default(key: Key) -> str:
    if key.default is REQUIRED:
        return "Required."
    if "Default:" in key.description:
        return ""
    return "No default." if key.default is None else f"Default: {emit.scalar(key.default)}."


def _indent(key: Key) -> str:
    return "  " * (len(key.path) - 1)
