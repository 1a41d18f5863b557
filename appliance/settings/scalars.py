"""What is written in the file → the value that was meant.

Directed by the key: `identity: no` is the text no, `enabled: no` is off, and neither is guessed from the other.
Whatever one reader of YAML takes for one number and another for another (012, 0x10, 12:30, 1_000) is refused with
the spelling that everybody reads alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import yaml
from pydantic import SecretStr

from appliance.settings.keys import Key, Kind, number
from appliance.settings.problems import printable
from appliance.settings.secrets import MASK, looks_secret, public_url

NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})

_SWITCHES: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_MEANT_AS_SWITCH: Final = {"1": "true", "y": "true", "enabled": "true", "0": "false", "n": "false", "disabled": "false"}
_INTEGER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_NUMBER: Final = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]*(?=\.[0-9]))(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_MAX_DIGITS: Final = 40  # no limit in alto.yaml needs more than ten, and int() refuses 4300
_SHOWN_CHARS: Final = 60


class Unfit(Exception):
    """The text does not fit the key."""

    def __init__(self, fix: str, *, found: str = "") -> None:
        super().__init__(fix)
        self.fix = fix
        self.found = found


def is_null(text: str, plain: bool) -> bool:
    """Whether nothing is written."""
    return plain and text in NULLS


def read(key: Key, text: str, *, plain: bool) -> object:
    """The value for `key`. `plain`: written without quotes. Raises Unfit."""
    if is_null(text, plain):
        if key.optional:
            return None
        raise Unfit(_nothing_fix(key, text), found="nothing" if text == "" else text)
    if not plain and key.kind in (Kind.INTEGER, Kind.NUMBER, Kind.SWITCH):
        raise Unfit(_unquoted_fix(key, text))
    if key.kind in (Kind.TEXT, Kind.SECRET, Kind.PATH) and _CONTROL.search(text):
        raise Unfit("write it on one line, without escapes such as \\n", found="several lines or control characters")
    return _READERS[key.kind](key, text)


def shown(key: Key | None, text: str, *, plain: bool = True) -> str:
    """The text as a message may show it: hidden when it is, or may be, a secret; on one line; not too long."""
    if text and (key is None or key.secret or looks_secret(text)):
        return MASK
    text = public_url(text) if "://" in text else text
    if len(text) > _SHOWN_CHARS:
        text = text[:_SHOWN_CHARS] + "…"
    text = printable(text)
    return text if plain and (_NUMBER.fullmatch(text) or text in NULLS - {""}) else f'"{text}"'


def other_reading(text: str) -> str:
    """What another reader of YAML takes an unquoted text for: "a number", "a date"…; empty when for a text."""
    if _NUMBER.fullmatch(text) or re.fullmatch(r"0o[0-7]+", text):
        return "a number"
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    return _TAGS.get(str(tag), "")


_RESOLVER: Final = yaml.resolver.Resolver()
_TAGS: Final = {
    "tag:yaml.org,2002:bool": "true or false",
    "tag:yaml.org,2002:int": "a number",
    "tag:yaml.org,2002:float": "a number",
    "tag:yaml.org,2002:timestamp": "a date",
    "tag:yaml.org,2002:null": "nothing",
}


def _text(key: Key, text: str) -> object:
    return text


def _secret(key: Key, text: str) -> object:
    return SecretStr(text)


def _path(key: Key, text: str) -> object:
    if not text.strip():
        raise Unfit("write the file's path, or delete the line")
    return Path(text)


def _switch(key: Key, text: str) -> object:
    if (value := _SWITCHES.get(text.lower())) is not None:
        return value
    meant = _MEANT_AS_SWITCH.get(text.lower()) or next(iter(get_close_matches(text.lower(), _SWITCHES, 1)), "")
    raise Unfit(f"did you mean {meant}?" if meant else "write true or false")


def _choice(key: Key, text: str) -> object:
    if key.enum is None:
        return _one_of_the_numbers(key, text)
    if text in key.choices:
        return key.enum(text)
    words = [str(choice) for choice in key.choices]
    meant = next(iter(get_close_matches(text.lower(), words, 1, 0.5)), "")
    raise Unfit(f'did you mean "{meant}"?' if meant else f'write one of them, e.g. "{words[0]}"')


def _one_of_the_numbers(key: Key, text: str) -> object:
    if _INTEGER.fullmatch(text) and len(text) <= _MAX_DIGITS:
        return int(text)
    meant = _meant_number(key, text)
    raise Unfit(f"write {nearest(key, meant or 0)}")


def nearest(key: Key, wanted: float) -> object:
    """The choice of a number key that is nearest."""
    return min(key.choices, key=lambda choice: abs(float(choice) - wanted))


def _integer(key: Key, text: str) -> object:
    if _INTEGER.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise Unfit("write fewer digits", found=f"a number of {len(text)} digits")
        return int(text)
    meant = _meant_number(key, text)
    if meant is not None and meant == int(meant):
        raise Unfit(f"write {number(meant)}")
    raise Unfit("write a whole number in decimal digits")


def _number(key: Key, text: str) -> object:
    if _NUMBER.fullmatch(text) and text.strip("+-."):
        value = float(text)
        if abs(value) != float("inf"):
            return value
        raise Unfit("write a number that is in the range")
    meant = _meant_number(key, text)
    raise Unfit(f"write {number(meant)}" if meant is not None else "write a number in decimal digits, such as 0.5")


_READERS: Final[dict[Kind, Callable[[Key, str], object]]] = {
    Kind.TEXT: _text,
    Kind.SECRET: _secret,
    Kind.PATH: _path,
    Kind.SWITCH: _switch,
    Kind.CHOICE: _choice,
    Kind.INTEGER: _integer,
    Kind.NUMBER: _number,
}

_UNITS: Final[Mapping[str, Mapping[str, float]]] = {
    # the unit in the key's name → what people write behind a number, and how much of that unit it is
    "s": {"s": 1, "sec": 1, "ms": 0.001, "m": 60, "min": 60, "h": 3600, "d": 86400},
    "ms": {"ms": 1, "s": 1000, "sec": 1000},
    "hz": {"hz": 1, "khz": 1000, "k": 1000},
    "volume": {"%": 0.01},
}


def _meant_number(key: Key, text: str) -> float | None:
    """The number that a person most likely meant by a spelling that is refused."""
    if len(text) > _MAX_DIGITS:
        return None
    plain = text.replace("_", "").lower()
    unit = "volume" if key.name == "volume" or key.path[-2:-1] == ("volumes",) else key.name.rsplit("_", 1)[-1]
    if re.fullmatch(r"[-+]?0+[0-9]+", plain):
        return float(int(plain))  # 012: twelve for people, ten for YAML 1.1
    if re.fullmatch(r"[-+]?0[xob][0-9a-f]+", plain):
        return _in_base(plain)
    if unit == "s" and re.fullmatch(r"[0-9]{1,5}(:[0-5]?[0-9]){1,2}", plain):
        return float(_sexagesimal(plain))
    match = re.fullmatch(r"([-+]?[0-9]*[.,]?[0-9]+(?:e[-+]?[0-9]{1,2})?)\s*([a-z%]*)\.?", plain)
    return _converted(match[1].replace(",", "."), match[2], unit) if match else None


def _converted(digits: str, written: str, unit: str) -> float | None:
    value = float(digits)
    if written == "db" and unit == "volume" and abs(value) <= 12:
        return round(10 ** (value / 20), 2)
    factor = _UNITS.get(unit, {}).get(written) if written else 1
    return None if factor is None else round(value * factor, 6)


def _in_base(text: str) -> float | None:
    try:
        return float(int(text, 0))
    except ValueError:
        return None


def _sexagesimal(text: str) -> int:
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return total


def _nothing_fix(key: Key, text: str) -> str:
    if text and key.kind is Kind.TEXT:
        return f'write "{text}" in quotes if that is the {key.name}, or delete the line'
    if key.kind is Kind.TEXT:
        return "write a value (one that begins with # needs quotes), or delete the line"
    return "write a value, or delete the line"


def _unquoted_fix(key: Key, text: str) -> str:
    try:
        read(key, text, plain=True)
    except Unfit as unfit:
        return f"{unfit.fix}, without quotes" if "did you" not in unfit.fix else unfit.fix
    word = str(_SWITCHES[text.lower()]).lower() if key.kind is Kind.SWITCH else text
    return f"write {word} without quotes"
