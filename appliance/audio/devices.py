"""Which device a line of alto.yaml means, and what to say when there is none. Pure: it looks at a list only."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final

from appliance.errors import DeviceAmbiguous, DeviceMissing
from appliance.ports import DeviceInfo, Direction

SEE: Final = 'see "alto devices"'

WORD: Final = {Direction.INPUT: "capture", Direction.OUTPUT: "playback"}
"""What ALSA, its tools and its documentation call a direction."""

NO_DEVICE_AT_ALL: Final = (
    "this machine shows no sound device; if one is plugged in: look whether its cable sits and `lsusb` lists it, "
    "whether a sound HAT has its dtoverlay line in config.txt (and the board was restarted since), and whether this "
    "user is in the group audio (`sudo usermod -aG audio $USER`, then log in again)"
)

_ADDRESS = re.compile(r"(?P<plugin>[A-Za-z0-9_]+):(?P<args>.*)", re.DOTALL)
_HARDWARE: Final = ("hw", "plughw")  # plugins that address a card and nothing else
_CARD_ARGUMENT: Final = (*_HARDWARE, "sysdefault", "dsnoop", "dmix", "front")  # take a card as their first argument


@dataclass(frozen=True, slots=True)
class CardAddress:
    """An ALSA string that names a card: `plughw:CARD=Device,DEV=1`, `hw:1,0`."""

    plugin: str
    card: str
    """Its id, or its index in digits."""
    device: int = 0

    def fits(self, info: DeviceInfo) -> bool:
        """Whether it is this card and this device of it."""
        return self.names(info.card_id, info.card_index, device_number(info.pcm))

    def names(self, card_id: str, card_index: int | None, device: int) -> bool:
        """Whether it is that device of that card."""
        same_card = self.card == card_id or (card_index is not None and self.card == str(card_index))
        return bool(card_id) and same_card and self.device == device


def card_address(pcm: str) -> CardAddress | None:
    """Take an ALSA string apart; None when it does not begin with a plugin that takes a card."""
    found = _ADDRESS.fullmatch(pcm.strip())
    if not found or found["plugin"] not in _CARD_ARGUMENT:
        return None
    arguments = {"CARD": "0", "DEV": "0"}  # ALSA's own defaults
    for position, text in enumerate(found["args"].split(",")):
        key, equals, value = text.partition("=")
        if equals:
            arguments[key.strip().upper()] = value.strip().strip("'\"")
        elif text.strip() and position < len(arguments):
            arguments[("CARD", "DEV")[position]] = text.strip()
    device = arguments["DEV"]
    return CardAddress(found["plugin"], arguments["CARD"], int(device) if device.isdecimal() else 0)


def device_number(pcm: str) -> int:
    """The `DEV=` of an ALSA string; 0 when it has none."""
    address = card_address(pcm)
    return address.device if address else 0


def same_device(pcm: str, info: DeviceInfo) -> bool:
    """Whether an ALSA string addresses this device, however it is written."""
    address = card_address(pcm)
    return pcm == info.pcm or (address is not None and address.fits(info))


def can(info: DeviceInfo, direction: Direction) -> bool:
    """Whether the device carries sound that way."""
    return channels(info, direction) > 0


def channels(info: DeviceInfo, direction: Direction) -> int:
    """The most channels the device has that way."""
    return info.input_channels if direction is Direction.INPUT else info.output_channels


def resolve(name: str | None, direction: Direction, devices: Sequence[DeviceInfo]) -> DeviceInfo:
    """Find the device that `name` means: an ALSA string, a card id, or part of a name; None: the default.

    A string that addresses a listed card in another way (`hw:1,0`) comes back as it was written, with that card's
    facts. An ALSA string with parameters that is not about a card (`plug:studio`) is passed through.
    Raises DeviceMissing and DeviceAmbiguous; both say what is there.
    """
    usable = [info for info in devices if can(info, direction)]
    if name is None:
        return _default(direction, usable, devices)
    steps: tuple[Callable[[], list[DeviceInfo]], ...] = (
        lambda: [info for info in usable if info.pcm == name],
        lambda: [replace(info, pcm=name) for info in usable if same_device(name, info)],
        lambda: _passed_through(name, direction, devices),
        lambda: [info for info in usable if name.lower() == info.card_id.lower()],
        lambda: [info for info in usable if name.lower() == info.name.lower()],
        lambda: [info for info in usable if _mentions(info, name)],
    )
    for step in steps:
        if found := _first_of_each_card(step()):
            return _only(found, name, direction)
    raise _missing(name, direction, usable, devices)


def _default(direction: Direction, usable: list[DeviceInfo], devices: Sequence[DeviceInfo]) -> DeviceInfo:
    """The system's default; where that is silent in this direction, the only card that is not."""
    marked = [info for info in usable if info.default]
    found = marked[:1] or _first_of_each_card([info for info in usable if info.card_id]) or usable
    if not found:
        raise _missing(None, direction, usable, devices)
    return _only(found, "the default", direction)


def _passed_through(name: str, direction: Direction, devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """ALSA understands more strings than any list has; only what names an absent card is known to be wrong."""
    found = _ADDRESS.fullmatch(name)
    if not found or not found["args"].strip():
        return []
    address = card_address(name)
    if address is None:
        return [_unknown(name, direction)]
    cards = [info for info in devices if replace_device(address, 0).fits(info) or address.fits(info)]
    if address.plugin in _HARDWARE or not cards:
        return []  # a card that is listed would have been found by now
    return [replace(_unknown(name, direction), name=cards[0].name, card_id=cards[0].card_id)]


def replace_device(address: CardAddress, device: int) -> CardAddress:
    """The same card's other device."""
    return replace(address, device=device)


def _unknown(pcm: str, direction: Direction) -> DeviceInfo:
    """A device of which only its string is known; stereo, as most are."""
    if direction is Direction.INPUT:
        return DeviceInfo(pcm, pcm, input_channels=2)
    return DeviceInfo(pcm, pcm, output_channels=2)


def _mentions(info: DeviceInfo, name: str) -> bool:
    part = name.lower()
    return part in info.name.lower() or part in info.card_id.lower()


def _first_of_each_card(found: list[DeviceInfo]) -> list[DeviceInfo]:
    """A card with several devices counts once, by its first: that is the one people mean."""
    first: dict[str, DeviceInfo] = {}
    for info in sorted(found, key=lambda info: device_number(info.pcm)):
        first.setdefault(info.card_id or info.pcm, info)
    return list(first.values())


def _only(found: list[DeviceInfo], name: str, direction: Direction) -> DeviceInfo:
    if len(found) == 1:
        return found[0]
    raise DeviceAmbiguous(
        f"{_quoted(name)} fits {len(found)} {WORD[direction]} devices: {listing(found)}",
        fix=f"name one of them by its string; {SEE}",
        device=name,
        seen=[info.pcm for info in found],
    )


def _missing(
    name: str | None, direction: Direction, usable: Sequence[DeviceInfo], devices: Sequence[DeviceInfo]
) -> DeviceMissing:
    wanted = f"no {WORD[direction]} device {_quoted(name)}" if name else f"no {WORD[direction]} device"
    facts = {"device": name or "default", "seen": [info.pcm for info in usable]}
    if not devices:
        return DeviceMissing(wanted, fix=NO_DEVICE_AT_ALL, **facts)
    wrong_way = [info for info in devices if name and (info.pcm == name or _mentions(info, name))]
    if wrong_way:
        other = Direction.OUTPUT if direction is Direction.INPUT else Direction.INPUT
        wanted += f" (it has {WORD[other]} only)"
    seen = f"; seen: {listing(usable)}" if usable else f"; nothing here can do {WORD[direction]}"
    return DeviceMissing(wanted + seen, fix=_suggestion(name, usable), **facts)


def _suggestion(name: str | None, usable: Sequence[DeviceInfo]) -> str:
    """The likely one among those that are there: typing errors are commoner than unplugged cards."""
    by_spelling = {
        spelling.lower(): info.pcm for info in usable for spelling in (info.pcm, info.card_id, info.name) if spelling
    }
    close = difflib.get_close_matches((name or "").lower(), by_spelling, n=1, cutoff=0.6)
    return f'did you mean "{by_spelling[close[0]]}"? {SEE}' if close else f"plug it in or name another; {SEE}"


def _quoted(name: str) -> str:
    return name if name == "the default" else f'"{name}"'


def listing(devices: Sequence[DeviceInfo]) -> str:
    """The devices in one line: `"plughw:CARD=Device" (USB Audio Device), "default" (…)`."""
    return ", ".join(f'"{info.pcm}"' + (f" ({info.name})" if info.name else "") for info in devices)


# ---- what `alto devices` prints


def as_json(devices: Sequence[DeviceInfo]) -> list[dict[str, object]]:
    """The list for programs: one mapping a device, keys as DeviceInfo's fields."""
    return [asdict(info) for info in devices]


def render(devices: Sequence[DeviceInfo]) -> str:
    """The list for people: the first column is what to paste into alto.yaml. Ends without a line break."""
    if not devices:
        return f"No sound device: {NO_DEVICE_AT_ALL}."
    rows = [("PASTE THIS", "NAME", "IN", "OUT", "RATES (kHz)", ""), *map(_row, devices)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(info: DeviceInfo) -> tuple[str, ...]:
    notes = ["default"] if info.default else []
    notes += [f"in use by {info.busy}"] if info.busy else []
    counts = [str(n) if n else "-" for n in (info.input_channels, info.output_channels)]
    return (info.pcm, info.name or "-", *counts, _rates(info.rates_hz), ", ".join(notes))


def _rates(rates_hz: tuple[int, ...]) -> str:
    """Rates in kHz; a long list by its ends."""
    shown = [f"{rate / 1000:g}" for rate in rates_hz]
    return f"{shown[0]} … {shown[-1]}" if len(shown) > 4 else " ".join(shown) or "any"
