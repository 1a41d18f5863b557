"""`alto status` on a terminal: once as text, or as a live view until Ctrl-C.

With rich (the extra `watch`) or without it the view is the same; rich brings the frame, true colours and care for odd
terminals. The station may go away and come back meanwhile.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from appliance.observe.client import StationError
from appliance.observe.client import watch as watch_station
from appliance.observe.meter import Line, Look, Peaks, Span
from appliance.observe.view import Status, layout

LIVE_S: Final = 0.1  # ten looks a second: meters that follow speech, and about 3 kB each
LINE_S: Final = 1.0  # where nothing can be redrawn (a file, a pipe), a line a second is enough
AGAIN_S: Final = 1.0

STYLES: Final = {
    # name: (rich's style, the terminal's SGR code)
    "": ("", ""),
    "good": ("green", "32"),
    "warn": ("yellow", "33"),
    "bad": ("bold red", "1;31"),
    "dim": ("bright_black", "90"),
    "bold": ("bold", "1"),
    "label": ("cyan", "36"),
    "accent": ("italic cyan", "36"),
}

Looks = Callable[[float], Iterator[Status]]
"""Interval in seconds → the station's status again and again; raises StationError when there is none (any more)."""


class Screen(Protocol):
    """Something that shows one view after the other."""

    interval_s: float

    @property
    def look(self) -> Look: ...

    def draw(self, lines: list[Line], status: Status) -> None: ...

    def close(self) -> None: ...


def render(status: Status, *, out: TextIO | None = None, env: Mapping[str, str] = os.environ) -> str:
    """The status once, as text for `out` (standard output): coloured on a terminal, plain elsewhere."""
    out = out or sys.stdout
    look = _look(out)
    return "\n".join(_ansi(line) if _colours(out, env) else _bare(line) for line in layout(status, look))


def watch(path: Path, *, out: TextIO | None = None, env: Mapping[str, str] = os.environ) -> int:
    """Show the station at this socket until Ctrl-C, which is the way to end it: returns 0."""
    show(lambda interval_s: watch_station(path, interval_s=interval_s), screen(out or sys.stdout, env))
    return 0


def show(looks: Looks, on: Screen, *, pause: Callable[[float], None] = time.sleep) -> None:
    """Draw each look; while there is no station, say so and try again. Ends with Ctrl-C."""
    peaks = Peaks()
    try:
        while True:
            try:
                for status in looks(on.interval_s):
                    on.draw(layout(status, on.look, peaks=peaks, now=time.monotonic()), status)
            except StationError as error:
                on.draw(_absent(error, on.look), {"state": "away", "detail": error.message})
                pause(AGAIN_S)
    except KeyboardInterrupt:
        pass
    finally:
        on.close()


def screen(out: TextIO, env: Mapping[str, str]) -> Screen:
    """The best that this terminal, and what is installed, can do."""
    if not out.isatty() or env.get("TERM", "dumb") == "dumb":
        return LineScreen(out)
    try:
        return RichScreen(out)
    except ImportError:
        return AnsiScreen(out, colours=_colours(out, env))


class RichScreen:
    """A frame on the alternate screen, by rich. Raises ImportError when rich is not installed."""

    interval_s = LIVE_S

    def __init__(self, out: TextIO, **console: Any) -> None:
        from rich.console import Console
        from rich.live import Live

        self._out = out
        self._console = Console(file=out, highlight=False, **console)
        self._live = Live(console=self._console, screen=True, auto_refresh=False)
        self._live.start()

    @property
    def look(self) -> Look:
        return Look(self._console.width - 4, _unicode(self._out))

    def draw(self, lines: list[Line], status: Status) -> None:
        self._live.update(panel(lines[: self._console.height - 2]), refresh=True)

    def close(self) -> None:
        self._live.stop()


class AnsiScreen:
    """Redrawn in place with the few control sequences that every terminal of the last forty years knows."""

    interval_s = LIVE_S

    def __init__(self, out: TextIO, *, colours: bool) -> None:
        self._out = out
        self._row = _ansi if colours else _bare
        self._write("\x1b[?1049h\x1b[?25l")  # alternate screen, no cursor

    @property
    def look(self) -> Look:
        return Look(shutil.get_terminal_size().columns - 1, _unicode(self._out))

    def draw(self, lines: list[Line], status: Status) -> None:
        height = shutil.get_terminal_size().lines - 1
        rows = [*map(self._row, lines[: height - 1]), _bare([Span(" Ctrl-C ends")])]
        self._write("\x1b[H" + "\x1b[K\r\n".join(rows) + "\x1b[K\x1b[J")

    def close(self) -> None:
        self._write("\x1b[?25h\x1b[?1049l")

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


class LineScreen:
    """One short line a second, for pipes and dumb terminals."""

    interval_s = LINE_S

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @property
    def look(self) -> Look:
        return Look(200, _unicode(self._out))

    def draw(self, lines: list[Line], status: Status) -> None:
        figures = status.get("metrics") or {}
        levels = [f"{name} {_level(figures.get(name) or {})}" for name in ("input", "output") if name in figures]
        here = [str(person.get("identity")) for person in status.get("participants") or []]
        parts = [time.strftime("%H:%M:%S"), str(status.get("state")), *levels, *here]
        if status.get("state") != "online":
            parts.append(str(status.get("detail") or status.get("reason") or ""))
        self._out.write(_bare([Span("  ".join(part for part in parts if part))]) + "\n")
        self._out.flush()

    def close(self) -> None:
        pass


def panel(lines: list[Line]) -> Any:
    """The lines in rich's frame."""
    from rich.panel import Panel
    from rich.text import Text

    text = Text("\n", no_wrap=True).join(
        Text.assemble(*((span.text, STYLES[span.style][0]) for span in line)) for line in lines
    )
    return Panel(text, title="alto", subtitle="Ctrl-C ends", border_style="bright_black")


def _absent(error: StationError, look: Look) -> list[Line]:
    sign = look.sign("○", "o")
    return [
        [Span(f" {sign} ", "dim"), Span(error.message, "warn")],
        [Span(f"   {look.sign('→', '->')} {error.fix}", "accent")],
        [],
        [Span("   waiting for it", "dim")],
    ]


def _look(out: TextIO) -> Look:
    return Look(shutil.get_terminal_size((100, 24)).columns if out.isatty() else 100, _unicode(out))


def _unicode(out: TextIO) -> bool:
    """Whether what is written as text arrives as more than ASCII."""
    return (getattr(out, "encoding", None) or "ascii").lower().replace("-", "").startswith("utf")


def _colours(out: TextIO, env: Mapping[str, str]) -> bool:
    return out.isatty() and not env.get("NO_COLOR") and env.get("TERM", "dumb") != "dumb"


def _ansi(line: Line) -> str:
    return "".join(f"\x1b[{code}m{span.text}\x1b[0m" if (code := STYLES[span.style][1]) else span.text for span in line)


def _bare(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


def _level(figures: Mapping[str, Any]) -> str:
    level = figures.get("level_dbfs")
    return f"{level:.0f} dB" if isinstance(level, (int, float)) else "closed"
