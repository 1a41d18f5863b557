"""What `deploy/dev run` shows: lines for programs, a live view for people."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.harness.ear import Ear
from tests.harness.station import Station

LOUD_DBFS: Final = -12.0
QUIET_DBFS: Final = -60.0
METER: Final = 20
STORY_LINES: Final = 10
UNSAID: Final = ("timestamp", "level", "event", "logger")
HIDDEN: Final = ("metrics",)


class View(Protocol):
    """Where the call is shown. `line` and `say` are called from any thread."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None: ...

    def line(self, name: str, line: str) -> None:
        """A station wrote a line."""
        ...

    def say(self, words: str) -> None:
        """A summary line."""
        ...

    def show(self, stations: Mapping[str, Station], ears: Sequence[Ear], elapsed_s: float) -> None:
        """How things stand, a few times a second."""
        ...


class PlainView:
    """The stations' lines as they came; summary lines start with `# `."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._broken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        pass

    def line(self, name: str, line: str) -> None:
        self._write(line)

    def say(self, words: str) -> None:
        for line in words.splitlines():
            self._write(f"# {line}")

    def show(self, stations: Mapping[str, Station], ears: Sequence[Ear], elapsed_s: float) -> None:
        pass

    def _write(self, line: str) -> None:
        with self._lock:
            if self._broken:
                return
            try:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            except BrokenPipeError:  # the reader left (`| head`): the call goes on until its time is over
                self._broken = True
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class LiveView:
    """A table of who hears whom, and the last things that the stations said."""

    def __init__(self) -> None:
        self._console: Final = Console()
        self._story: Final[deque[Text]] = deque(maxlen=STORY_LINES)
        self._summary: Final[list[str]] = []
        self._live: Final = Live(console=self._console, refresh_per_second=8, transient=True)
        self._show: RenderableType = Text("starting …", "dim")

    def __enter__(self) -> Self:
        self._live.start()
        self._refresh()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._live.stop()
        for words in self._summary:
            self._console.print(words, markup=False, highlight=False)
        self._summary.clear()

    def line(self, name: str, line: str) -> None:
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if event.get("event") in HIDDEN:
                return
            self._story.append(_told(name, event))
            self._refresh()

    def say(self, words: str) -> None:
        if self._live.is_started:
            self._summary.append(words)
        else:
            self._console.print(words, markup=False, highlight=False)

    def show(self, stations: Mapping[str, Station], ears: Sequence[Ear], elapsed_s: float) -> None:
        table = Table(title=f"alto, a call of {elapsed_s:.0f} s — Ctrl-C ends it", expand=False, title_justify="left")
        for heading in ("station", "state", "hears", "level", "mouth to ear", "lost"):
            table.add_column(heading)
        for name, station in stations.items():
            table.add_row(name, _state(station), *_heard(name, ears))
        self._show = table
        self._refresh()

    def _refresh(self) -> None:
        self._live.update(Group(self._show, Text(), *self._story))


def _state(station: Station) -> Text:
    changes = station.events("state.changed")
    word = str(changes[-1].get("to")) if changes else "starting"
    return Text(word, "green" if word == "online" else "yellow")


def _heard(listener: str, ears: Sequence[Ear]) -> tuple[Text, ...]:
    for ear in ears:
        if ear.listener == listener:
            recent = ear.delays_ms[-30:]
            delay = f"{sorted(recent)[len(recent) // 2]:.0f} ms" if recent else "—"
            return Text(ear.speaker if ear.heard else "—"), _meter(ear.level_dbfs), Text(delay), Text(str(ear.lost))
    return Text("a real sound card: listen yourself", "dim"), Text(), Text(), Text()


def _meter(level_dbfs: float) -> Text:
    share = min(1.0, max(0.0, (level_dbfs - QUIET_DBFS) / (0 - QUIET_DBFS)))
    filled = round(share * METER)
    style = "green" if level_dbfs < LOUD_DBFS + 6 else "yellow"
    return Text.assemble(("█" * filled, style), ("░" * (METER - filled), "dim"), f" {level_dbfs:4.0f} dBFS")


def _told(name: str, event: Mapping[str, Any]) -> Text:
    said = {key: value for key, value in event.items() if key not in UNSAID and value not in ("", None)}
    if said.get("station") == name:
        del said["station"]
    fields = " ".join(f"{key}={value}" for key, value in said.items())
    style = {"warning": "yellow", "error": "red"}.get(str(event.get("level")), "")
    clock = str(event.get("timestamp", ""))[11:19]
    words = Text.assemble((clock, "dim"), f" {name:8}", (str(event.get("event")), style), (f" {fields}", "dim"))
    words.no_wrap, words.overflow = True, "ellipsis"
    return words
