"""Run in the guest: what happens to cards while alto uses them. Pulled, put back elsewhere, held, slow, chattering."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from appliance.audio import alsa
from appliance.audio.chatter import library
from appliance.audio.portaudio import PortAudioBackend
from tests.guest.inside import PATIENCE_S, Ear, Mouth, failure, open_spec, opened, running
from tests.harness.wait import until

DRIVER: Final = Path("/sys/bus/platform/drivers/snd_aloop")
SLOTS: Final = {"Kitchen": "snd_aloop.1", "Porch": "snd_aloop.2", "Garden": "snd_aloop.3"}
TICKING: Final = "hw:5,0,0"
"""The clock of a stopped card: the timer of Dummy, which ticks only while something plays there."""


# ---- what is done to cards ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def pulled(*cards: str) -> Iterator[None]:
    """Pull cards out as a hand does: at once, whoever uses them. After the block all users must have closed them."""
    with contextlib.ExitStack() as pullers:
        processes = [pullers.enter_context(running(["sh", "-c", f"echo {SLOTS[c]} > {DRIVER}/unbind"])) for c in cards]
        until(lambda: not any(map(there, cards)), PATIENCE_S, "the cards to go")
        yield
        for process in processes:
            process.wait(PATIENCE_S)  # the kernel lets go when the last user has


def pull(card: str) -> float:
    """Pull it and return when that was; the kernel lets go of it when the last user has."""
    at_s = time.time()
    subprocess.Popen(["sh", "-c", f"echo {SLOTS[card]} > {DRIVER}/unbind"], start_new_session=True)
    until(lambda: not there(card), PATIENCE_S, "the card to go")
    return at_s


def plug(card: str) -> float:
    """Put it in, once all have let go of it; it takes the first number that is free. Returns when it was there."""
    (DRIVER / "bind").write_text(SLOTS[card])
    until(lambda: there(card), PATIENCE_S, "the card to come back")
    return time.time()


def mend() -> None:
    """Every card is there, and hangs on no clock: what a test that failed left behind."""
    for card in SLOTS:
        if not there(card):
            plug(card)
        hang_on_clock(card, False)


def there(card: str) -> bool:
    """Whether the kernel lists a card of that id."""
    return Path("/proc/asound", card).exists()


def index(card: str) -> int:
    """Its number now."""
    return int(Path("/proc/asound", card).readlink().name.removeprefix("card"))


@contextlib.contextmanager
def standing_still(card: str) -> Iterator[None]:
    """Programs that open that card meanwhile get no sound from it, and no error, unless its clock is `ticking`."""
    hang_on_clock(card)
    try:
        yield
    finally:
        hang_on_clock(card, False)


def hang_on_clock(card: str, hang: bool = True) -> None:
    """Whether who opens that card from now on gets sound only while `clock_words` run."""
    Path("/proc/asound", card, "timer_source").write_text(f"{TICKING if hang else ''}\n")


def clock_words(period_frames: int) -> list[str]:
    """The program that is the clock; a card that hangs on it works in periods of that length only."""
    form = ("-t", "raw", "-f", "S16_LE", "-r", "48000", "-c", "2")
    length = (f"--period-size={period_frames}", f"--buffer-size={4 * period_frames}")
    return ["aplay", "-q", "-D", TICKING, *form, *length, "/dev/zero"]


# ---- the calls ---------------------------------------------------------------------------------------------------


def held_by_arecord(pcm: str) -> dict[str, Any]:
    """Both substreams of a device are arecord's; what alto says then, in its list and when it opens."""
    command = ["arecord", "-q", "-D", pcm, "-f", "S16_LE", "-r", "48000", "-c", "2", "/dev/null"]
    with running(command) as first, running(command) as second:
        address = "plughw:CARD=Porch,DEV=1"
        until(lambda: all(f"pid {one.pid}" in _busy(address) for one in (first, second)), PATIENCE_S, "arecord")
        error = failure(lambda: opened(address, "input", Ear()))
        return {"error": error, "busy": _busy(address), "pids": [first.pid, second.pid]}


def held_by_ourselves() -> dict[str, Any]:
    """While alto uses a card: its own list of it, and what its other process sees."""
    with contextlib.closing(opened("Porch", "output", Mouth(440))):
        return {"own": _busy("plughw:CARD=Porch"), "pid": os.getpid()}


def _busy(pcm: str) -> str:
    return next(info.busy for info in PortAudioBackend().devices() if info.pcm == pcm)


def unplugged_and_back() -> dict[str, Any]:
    """Pull a card in the middle of a call while another plays on; put it in again; open it by the same name."""
    ear, mouth = Ear(), Mouth(440)
    lost, other = opened("Kitchen", "input", ear), opened("Loopback", "output", mouth)
    with pulled("Kitchen"):
        told, gone = failure(lambda: opened("Kitchen", "input", Ear())), [lost.gone, other.gone]
        until(lambda: _silent(ear), PATIENCE_S, "the callbacks to stop")
        before, began = mouth.blocks, time.monotonic()
        with _standard_error() as printed:
            lost.close()
        close_s = time.monotonic() - began
        until(lambda: mouth.blocks > before + 20, PATIENCE_S, "the other card to play on")
    plug("Kitchen")
    heard_again = _hears("Kitchen")
    gone.append(lost.gone)  # it is back, and still not the card that was opened
    other.close()
    return {"error": told, "gone": gone, "close_s": close_s, "heard_again": heard_again, "printed": printed}


def _silent(ear: Ear) -> bool:
    count = len(ear.blocks)
    time.sleep(0.05)  # five blocks
    return len(ear.blocks) == count


def _hears(name: str) -> int:
    ear = Ear()
    with contextlib.closing(opened(name, "input", ear)):
        ear.heard(4800)
        return len(ear.blocks)


def put_back_elsewhere(name: str) -> dict[str, Any]:
    """Two cards are pulled and come back in the other order, so that each has the other's number."""
    before = index("Kitchen"), index("Porch")
    ear = Ear()
    stream = opened(name, "input", ear)
    ear.heard(4800)
    with pulled("Kitchen", "Porch"):
        stream.close()
    plug("Porch")
    plug("Kitchen")
    after = index("Kitchen"), index("Porch")
    try:
        again = Ear()
        with contextlib.closing(opened(name, "input", again)) as back:
            again.heard(4800)
            return {"before": before, "after": after, "pcm": back.pcm, "held": _card_held()}
    finally:
        with pulled("Kitchen", "Porch"):
            pass
        plug("Kitchen")
        plug("Porch")


def _card_held() -> list[str]:
    """Ids of the cards that somebody has open."""
    ids = []
    for status in sorted(Path("/proc/asound").glob("card[0-9]/pcm*/sub*/status")):
        if "owner_pid" in status.read_text():
            ids.append((status.parents[2] / "id").read_text().strip())
    return ids


def picky_about_its_buffer(period_frames: int) -> dict[str, Any]:
    """A device that opens with any buffer and gives sound in periods of one length only."""
    with standing_still("Porch"), running(clock_words(period_frames)), contextlib.ExitStack() as ends:
        ear = Ear()
        told = failure(lambda: ends.enter_context(contextlib.closing(opened("hw:CARD=Porch,DEV=1", "input", ear))))
        now = Path("/proc/asound/Porch/pcm1c/sub0/hw_params").read_text()
        return {"error": told, "period": [int(size) for size in re.findall(r"period_size: (\d+)", now)]}


def chatter() -> dict[str, Any]:
    """What reaches standard error while PortAudio prints; also with a line of somebody else's, and without any
    standard error."""
    with _changing_its_mind():
        return _chatter()


def _chatter() -> dict[str, Any]:
    with _standard_error() as refused:
        error = _open_refused()
    with _standard_error() as others:
        stop = threading.Event()
        writer = threading.Thread(target=_write_lines, args=(stop,))
        writer.start()
        for _ in range(5):
            _open_refused()
        stop.set()
        writer.join()
    kept = os.dup(2)
    os.close(2)
    try:
        closed = _open_refused()
    finally:
        os.dup2(kept, 2)
    return {"error": error, "refused": refused, "others": others, "written": _written, "closed": closed}


_written: Final[list[str]] = []


def _write_lines(stop: threading.Event) -> None:
    while not stop.wait(0.002):
        _written.append(f"somebody else's line {len(_written)}")
        os.write(2, f"{_written[-1]}\n".encode())


def _open_refused() -> dict[str, Any]:
    return open_spec("hw:CARD=Dummy", 96000, 1)


def printed_by_portaudio() -> dict[str, list[str]]:
    """Its lines while a device refuses a format, and while one does that libasound had just said it takes."""
    with _library_lines() as refused:
        _open_refused()
    with _changing_its_mind(), _library_lines() as surprised:
        _open_refused()
    return {"refused": refused, "surprised": surprised}


@contextlib.contextmanager
def _changing_its_mind() -> Iterator[None]:
    """Each device takes every format when libasound is asked, and then it does not: between the two another program
    may have got hold of it."""
    asked = alsa.try_format
    alsa.try_format = lambda *_, **__: (0, True)
    try:
        yield
    finally:
        alsa.try_format = asked


@contextlib.contextmanager
def _library_lines() -> Iterator[list[str]]:
    """What alto takes up of what PortAudio prints, during the block."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    library.addHandler(handler)
    library.setLevel(logging.DEBUG)
    try:
        yield lines
    finally:
        library.removeHandler(handler)


@contextlib.contextmanager
def _standard_error() -> Iterator[list[str]]:
    """The lines that anybody writes there during the block."""
    lines: list[str] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode().splitlines()
