"""What a person who wrote an unknown key probably meant: pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

from appliance.settings.keys import Key, KeyPath, Kind, root

_CLOSE: Final = 0.6  # difflib's own default: "inpt" is input, "foo" is nothing

_SYNONYMS: Final = {
    # what other programs call it → the end of the key here
    "server": "livekit.url",
    "host": "livekit.url",
    "address": "livekit.url",
    "ws_url": "livekit.url",
    "key": "livekit.api_key",
    "secret": "livekit.api_secret",
    "jwt": "livekit.token",
    "access_token": "livekit.token",
    "ttl": "livekit.token_ttl_s",
    "timeout": "livekit.connect_timeout_s",
    "mic": "audio.input",
    "microphone": "audio.input",
    "capture": "audio.input",
    "source": "audio.input",
    "speaker": "audio.output",
    "playback": "audio.output",
    "sink": "audio.output",
    "gain": "volume",
    "card": "device",
    "input_device": "audio.input.device",
    "output_device": "audio.output.device",
    "no_playback": "audio.output.enabled",
    "sample_rate": "audio.sample_rate_hz",
    "rate": "audio.sample_rate_hz",
    "block": "audio.block_ms",
    "latency": "latency_ms",
    "logging": "log",
    "interval": "metrics.interval_s",
    "room_name": "room",
    "participant": "identity",
    "display_name": "name",
}


def suggestion(section: Key, name: str) -> str:
    """The fix for a key that `section` does not have; never empty."""
    if name.isdecimal():
        return "write a decimal point, not a comma, if this is the end of a number"
    word = _snake(name)
    if word in section.children:
        return f'did you mean "{word}"?'
    if (meant := _SYNONYMS.get(word, "").removeprefix(f"{section.dotted}.")) in section.children:
        return f'did you mean "{meant}"?'
    if word not in _SYNONYMS and (close := get_close_matches(word, section.children, 1, _CLOSE)):
        return f'did you mean "{close[0]}"?'
    if elsewhere := _named(section, word):
        return "did you mean " + " or ".join(elsewhere) + "?"
    return "delete the line (config/alto.reference.yaml has every key)"


def _snake(name: str) -> str:
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"[-\s]+", "_", name).lower()


def _named(section: Key, word: str) -> list[str]:
    """Dotted keys anywhere that the word may stand for; those of the same section first, two at most."""
    everywhere = {key.dotted: key for key in (*root().sections(), *root().leaves())}
    meant = _SYNONYMS.get(word, "")
    ends = [word] + ([meant] if meant else [])
    found = [dotted for dotted in everywhere if any(dotted == end or dotted.endswith(f".{end}") for end in ends)]
    if not found:
        leaf_names = {key.name for key in everywhere.values()}
        close = get_close_matches(word.rsplit(".", 1)[-1], leaf_names, 1, 0.75)
        found = [dotted for dotted, key in everywhere.items() if close and key.name == close[0]]
    inside = [dotted for dotted in found if dotted.startswith(section.dotted + ".")]
    return [_as_written(everywhere[dotted]) for dotted in (inside or found)[:2]]


def _as_written(key: Key) -> str:
    """`audio.input.device` is a path, not a key that can be written so: say that it nests."""
    path: KeyPath = key.path
    if len(path) == 1:
        return f'"{path[0]}" at the beginning of a line'
    where = key.dotted if key.kind is not Kind.SECTION else f"the section {key.dotted}"
    return f"{where} ({path[-1]}: below {path[-2]}:)"
