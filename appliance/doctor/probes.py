"""Looks at the machine, and decides nothing. Every look is quick or bounded, and answers None for "cannot tell"."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TOOL_S: Final = 2.0  # amixer and vcgencmd answer in milliseconds; a hung driver may not answer at all
TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


@dataclass(frozen=True, slots=True)
class Disk:
    """Where alto keeps what must survive a boot."""

    path: Path
    free_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True)
class SoundNode:
    """A PCM node of the kernel's sound system."""

    path: str
    usable: bool
    """Whether this user may open it."""


@dataclass(frozen=True, slots=True)
class Software:
    """What alto runs on."""

    python: tuple[int, int] = field(default_factory=lambda: (sys.version_info.major, sys.version_info.minor))
    bits: int = field(default_factory=lambda: 64 if sys.maxsize > 2**32 else 32)
    machine: str = field(default_factory=platform.machine)
    libc: tuple[str, str] = field(default_factory=platform.libc_ver)


@dataclass(frozen=True, slots=True)
class Machine:
    """This box. `root` is where its /proc, /sys, /dev and /run are."""

    root: Path = Path("/")

    def clock_synchronised(self) -> bool | None:
        """Whether NTP has set the clock since the boot."""
        if (self.root / "run/systemd/timesync/synchronized").exists():
            return True
        with contextlib.suppress(OSError, AttributeError):
            state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))  # modes = 0: only a question
            return None if state < 0 else bool(state != TIME_ERROR)
        return None

    def interfaces_up(self) -> list[str]:
        """Network interfaces that could carry something, the loopback one left out."""
        up = []
        for interface in self._listed("sys/class/net"):
            if interface.name != "lo" and self._read(interface / "operstate") in ("up", "unknown"):
                up.append(interface.name)
        return up

    def sound_nodes(self) -> list[SoundNode]:
        """The kernel's PCM devices."""
        nodes = (node for node in self._listed("dev/snd") if node.name.startswith("pcm"))
        return [SoundNode(f"/dev/snd/{node.name}", os.access(node, os.R_OK | os.W_OK)) for node in nodes]

    def mixer(self, card_id: str) -> str | None:
        """What amixer says about the card's own volumes and switches."""
        return _said_by("amixer", "-c", card_id, "scontents")

    def power_flags(self) -> int | None:
        """The Raspberry Pi firmware's throttling bits (bit 0: too little voltage now, bit 16: since the boot)."""
        for path in ("sys/devices/platform/soc/soc:firmware/get_throttled",):
            if (text := self._read(self.root / path)) is not None:
                return _hexadecimal(text)
        for hwmon in self._listed("sys/class/hwmon"):
            if self._read(hwmon / "name") == "rpi_volt":
                return 1 if self._read(hwmon / "in0_lcrit_alarm") == "1" else 0
        if self.root != Path("/"):
            return None
        return _hexadecimal((_said_by("vcgencmd", "get_throttled") or "").partition("=")[2])

    def temperature_c(self) -> float | None:
        """The hottest of the kernel's thermal zones."""
        texts = [self._read(zone / "temp") for zone in self._listed("sys/class/thermal")]
        degrees = [int(text) / 1000 for text in texts if text and text.lstrip("-").isdigit()]
        return max(degrees) if degrees else None

    def memory_available_bytes(self) -> int | None:
        """Memory that programs can still get without swapping."""
        for line in (self._read(self.root / "proc/meminfo") or "").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None

    def disk(self, directory: Path) -> Disk | None:
        """The disk of a directory that may not be there yet."""
        there = next((path for path in (directory, *directory.parents) if path.exists()), None)
        if there is None:
            return None
        try:
            facts = os.statvfs(there)
        except OSError:
            return None
        writable = not facts.f_flag & os.ST_RDONLY and os.access(there, os.W_OK | os.X_OK)
        return Disk(directory, facts.f_bavail * facts.f_frsize, writable)

    def journal(self) -> bool | None:
        """Whether the journal takes lines; None where there is no systemd."""
        if not (self.root / "run/systemd/system").is_dir():
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(TOOL_S)
            try:
                channel.connect(os.fspath(self.root / "run/systemd/journal/stdout"))
            except OSError:
                return False
        return True

    def software(self) -> Software:
        """What alto runs on."""
        return Software()

    def _listed(self, directory: str) -> list[Path]:
        try:
            return sorted((self.root / directory).iterdir())
        except OSError:
            return []

    def _read(self, path: Path) -> str | None:
        try:
            return path.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            return None


def _said_by(*command: str, env: Mapping[str, str] | None = None) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TOOL_S, check=False, env=env, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def _hexadecimal(text: str) -> int | None:
    try:
        return int(text.strip(), 16)
    except ValueError:
        return None
