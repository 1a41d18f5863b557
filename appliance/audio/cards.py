"""Sound cards as the kernel tells of them in /proc/asound: a look opens nothing and disturbs nobody."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ASOUND: Final = Path("/proc/asound")
DEVICE_NODES: Final = Path("/dev/snd")


@dataclass(frozen=True, slots=True)
class Plugging:
    """One stay of a device in the machine: after it was pulled and put back it is another one."""

    card_index: int
    number: int
    node_made_at_ns: int
    """When the kernel made its device node; 0: there is none to look at."""

    @property
    def over(self) -> bool:
        """Whether the card was pulled since."""
        return _made_at_ns(self.card_index, self.number) != self.node_made_at_ns


@dataclass(frozen=True, slots=True)
class CardDevice:
    """One device of one card, both directions."""

    card_id: str
    card_index: int
    name: str
    """The card's short name, e.g. `USB Audio Device`."""
    number: int
    captures: bool
    plays: bool
    told: str
    """What a USB card's driver says of its formats; empty for others."""
    plugged: Plugging
    holders: tuple[tuple[int, str], ...]
    """Processes that have it open: id, and in words."""

    @property
    def suffix(self) -> str:
        """How an ALSA string goes on behind the card: `,DEV=1`; the first device needs none."""
        return f",DEV={self.number}" if self.number else ""

    @property
    def held_by_others(self) -> str:
        """Who else has it open, in words; empty when nobody has."""
        return ", ".join(words for pid, words in self.holders if pid != os.getpid())

    def channels(self, way: str) -> int:
        """The most that a USB card has, `way` being Capture or Playback; 0: it does not tell."""
        section = self.told.partition(f"{way}:")[2].partition("Playback:" if way == "Capture" else "Capture:")[0]
        return max((int(count) for count in re.findall(r"Channels: (\d+)", section)), default=0)

    def rates_hz(self, usual_hz: tuple[int, ...]) -> tuple[int, ...]:
        """The rates of a USB card; those of `usual_hz` where it has a range. Empty: it does not tell."""
        rates: set[int] = set()
        for line in re.findall(r"Rates: (.*)", self.told):
            numbers = [int(number) for number in re.findall(r"\d+", line)]
            if "-" in line:
                rates |= {rate for rate in usual_hz if numbers[0] <= rate <= numbers[-1]}
            else:
                rates |= set(numbers)
        return tuple(sorted(rates))


def last_plugged_ns() -> int:
    """When a device node was last made or removed here; 0 where there are none. One `stat`: may be asked often."""
    try:
        return DEVICE_NODES.stat().st_mtime_ns
    except OSError:
        return 0


def card_devices() -> list[CardDevice]:
    """Every device of every card, in the kernel's order."""
    folders = sorted(ASOUND.glob("card[0-9]*"), key=lambda path: int(path.name.removeprefix("card")))
    return [device for folder in folders for device in _devices(folder)]


def _devices(folder: Path) -> Iterator[CardDevice]:
    card_id, index = _read(folder / "id").strip(), int(folder.name.removeprefix("card"))
    if not card_id:
        return  # it is being pulled just now
    for number in sorted({int(path.name[3:-1]) for path in folder.glob("pcm[0-9]*[cp]")}):
        capture, playback = (folder / f"pcm{number}{way}" for way in "cp")
        yield CardDevice(
            card_id=card_id,
            card_index=index,
            name=_short_name(index) or card_id,
            number=number,
            captures=capture.exists(),
            plays=playback.exists(),
            told=_read(folder / f"stream{number}"),
            plugged=Plugging(index, number, _made_at_ns(index, number)),
            holders=tuple(dict.fromkeys((*_holders(capture), *_holders(playback)))),
        )


def _short_name(index: int) -> str:
    """From /proc/asound/cards: `0 [Device ]: USB-Audio - USB Audio Device`."""
    found = re.search(rf"^ *{index} \[.*?\]: .*? - (.*)$", _read(ASOUND / "cards"), re.MULTILINE)
    return found[1].strip() if found else ""


def _made_at_ns(index: int, number: int) -> int:
    for way in "cp":
        try:
            return (DEVICE_NODES / f"pcmC{index}D{number}{way}").stat().st_ctime_ns
        except OSError:
            continue
    return 0


def _holders(folder: Path) -> Iterator[tuple[int, str]]:
    for status in sorted(folder.glob("sub*/status")):
        if found := re.search(r"owner_pid\s*: (\d+)", _read(status)):
            yield _process(int(found[1]))


def _process(thread: int) -> tuple[int, str]:
    """The kernel names the thread that opened the device; people end processes."""
    about = _read(Path(f"/proc/{thread}/status"))
    group = re.search(r"^Tgid:\s*(\d+)", about, re.MULTILINE)
    pid = int(group[1]) if group else thread
    return pid, f"{_read(Path(f'/proc/{pid}/comm')).strip() or 'a program'} (pid {pid})"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
