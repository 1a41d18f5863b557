"""Decisions about the network, the clock and the board. Pure: facts in, results out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from appliance.clock import EARLIEST_S
from appliance.doctor.probes import Disk, Software
from appliance.doctor.results import Result, fail, ok, skip, warn
from appliance.errors import AltoError
from appliance.network import explain

CLOCK_OFF_S: Final = 60.0  # LiveKit's tokens allow for about this much
HOT_C: Final = 80.0  # a Raspberry Pi slows down from here on
FREE_BYTES: Final = 50 * 1024 * 1024
MEMORY_BYTES: Final = 60 * 1024 * 1024  # a station needs about 100 MB; with less than this left it will be killed
GLIBC: Final = (2, 28)  # what the SDK's wheels are built for
PYTHON: Final = (3, 11)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server said."""

    status: int
    text: str
    date: float | None = None
    """Its clock, seconds since 1970."""


def network(interfaces: Sequence[str]) -> list[Result]:
    """Whether there is a network at all."""
    if interfaces:
        return [ok("network", f"{', '.join(interfaces)} up")]
    return [
        fail(
            "network",
            "no network interface is up",
            "check the cable or the wireless settings; even a server on this machine needs one interface that is up",
        )
    ]


def server(url: str, answer: Answer) -> list[Result]:
    """Whether that is LiveKit which answers."""
    if answer.status == 200 and answer.text.strip() == "OK":
        return [ok("server", f"{explain.address(url)} answers like LiveKit")]
    if answer.status >= 500:
        return [fail("server", f"it answers with HTTP {answer.status}", "look into the server's, or its proxy's, log")]
    return [
        fail(
            "server",
            f"something answers at {explain.address(url)} (HTTP {answer.status}), but it is not LiveKit",
            "check livekit.url: host, port and path; is there a web page that wants a sign-in?",
        )
    ]


def token(url: str, answer: Answer) -> list[Result]:
    """What the server says about this station's token."""
    if answer.status == 200:
        return [ok("token", "the server accepts it")]
    if answer.status == 404:
        return [skip("token", "this server does not tell before joining")]
    error = explain.connect_failure(answer.text, url)
    return [fail("token", error.message, error.fix)]


def refused(check: str, error: AltoError) -> list[Result]:
    """An error of ours is a result already: it says what happened and what helps."""
    return [fail(check, error.message, error.fix or "see the results above")]


def clock(now: float, synchronised: bool | None, server_date: float | None) -> list[Result]:
    """A wrong clock makes the server refuse every token."""
    told = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now))
    fix = "connect to a network with a time server, or: sudo timedatectl set-ntp true"
    if now < EARLIEST_S:
        return [fail("clock", f"it says {told}: it was never set", fix)]
    if server_date is not None and abs(now - server_date) > CLOCK_OFF_S:
        return [fail("clock", f"it says {told}; the server's differs by {abs(now - server_date):.0f} s", fix)]
    if synchronised is False and server_date is None:
        return [warn("clock", f"it says {told} and is not synchronised", fix)]
    agrees = ", as the server's" if server_date is not None else ""
    return [ok("clock", f"{told}{agrees}" + (", synchronised" if synchronised else ""))]


def state_directory(disk: Disk | None, *, needed: bool) -> list[Result]:
    """Room for keys and last-known-good files."""
    if disk is None:
        return [skip("disk", "cannot be looked at")]
    if not disk.writable:
        found = f"{disk.path} cannot be written"
        fix = f"sudo mkdir -p {disk.path} && sudo chown $USER {disk.path}; is the file system read-only?"
        return [fail("disk", found, fix) if needed else warn("disk", found, fix)]
    if disk.free_bytes < FREE_BYTES:
        return [
            warn(
                "disk",
                f"only {disk.free_bytes / 1e6:.0f} MB are free on {disk.path}",
                "sudo journalctl --vacuum-size=50M",
            )
        ]
    return [ok("disk", f"{disk.free_bytes / 1e9:.1f} GB free at {disk.path}")]


def power(flags: int | None) -> list[Result]:
    """A Raspberry Pi's complaints about its supply."""
    if flags is None:
        return [skip("power", "this board does not tell")]
    if flags & 0x1:
        return [fail("power", "the voltage is too low right now", "use a stronger supply and a shorter, thicker cable")]
    if flags & 0x10000:
        return [warn("power", "the voltage was too low since the boot", "use a stronger supply and a shorter cable")]
    if flags & 0x6:
        return [warn("power", "the processor is slowed down right now", "see temperature and supply")]
    return [ok("power", "enough voltage")]


def temperature(degrees_c: float | None) -> list[Result]:
    """Heat slows the board down and makes the sound break up."""
    if degrees_c is None:
        return [skip("temperature", "this board does not tell")]
    if degrees_c >= HOT_C:
        return [warn("temperature", f"{degrees_c:.0f} °C: the board slows itself down", "give it air or a heat sink")]
    return [ok("temperature", f"{degrees_c:.0f} °C")]


def memory(available_bytes: int | None) -> list[Result]:
    """Memory that is left."""
    if available_bytes is None:
        return [skip("memory", "cannot be looked at")]
    if available_bytes < MEMORY_BYTES:
        return [warn("memory", f"only {available_bytes / 1e6:.0f} MB are left", "end other programs on this board")]
    return [ok("memory", f"{available_bytes / 1e6:.0f} MB left")]


def software(found: Software) -> list[Result]:
    """What the SDK's native code needs."""
    name, version = found.libc
    told = f"Python {found.python[0]}.{found.python[1]}, {found.bits} bit {found.machine}, {name or 'libc ?'} {version}"
    if found.bits < 64:
        return [fail("software", told, "the LiveKit SDK needs a 64-bit system: flash the 64-bit image")]
    if found.python < PYTHON:
        return [fail("software", told, "alto needs Python 3.11 or newer: Debian 12, Raspberry Pi OS 2023-10 or newer")]
    if name != "glibc" or _version(version) < GLIBC:
        return [fail("software", told, "the LiveKit SDK needs glibc 2.28 or newer; musl (Alpine) does not do")]
    return [ok("software", told)]


def journal(takes_lines: bool | None) -> list[Result]:
    """Where the log goes on a system with systemd."""
    if takes_lines is None:
        return [skip("journal", "no systemd here: the log goes where standard output goes")]
    if takes_lines:
        return [ok("journal", "takes lines")]
    return [warn("journal", "it does not take lines: the log is lost", "sudo systemctl restart systemd-journald")]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())
