"""What a person sees: the status as text, and the live view on a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.observe import client
from appliance.observe.meter import FLOOR_DBFS, Line, Look, Peaks, columns, fit, meter
from appliance.observe.status import StatusServer
from appliance.observe.view import Status, duration, layout
from appliance.observe.watch import AnsiScreen, LineScreen, RichScreen, render, screen, show
from tests.harness.aio import run
from tests.harness.wait import until_async
from tests.observe.stations import BLOCKED, ONLINE
from tests.observe.test_status import Station

json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(sorted(ONLINE)), inner, max_size=6),
    max_leaves=15,
)


def text(status: Status, look: Look | None = None) -> str:
    return "\n".join("".join(span.text for span in line) for line in layout(status, look or Look(90)))


def test_a_healthy_station_is_told_in_a_few_lines() -> None:
    assert text(ONLINE).splitlines()[0] == " ● kitchen is online for 2 h 3 min"
    told = text(ONLINE)
    assert "home at wss://intercom.example.org (udp host, 4 ms there and back)" in told
    assert re.search(r"microphone  ■+·+▪·+   -18 dB  plughw:CARD=Device", told)
    assert re.search(r"bob         ■+·+    -9 dB  volume 1.5, 31 ms waiting", told)
    assert re.search(r"charlie     ·+   silent", told)
    assert "101 ms in (45 jitter buffer + 31 mixer + 25 speaker)" in told
    assert "3 underruns, 1 reconnects, 0.1 % lost in" in told
    assert "stopped delivering" in told
    assert "→ check its plug" in told
    assert len(told.splitlines()) < 24


def test_a_blocked_station_says_first_why_and_what_to_do() -> None:
    assert text(BLOCKED).splitlines()[:4] == [
        " ✖ kitchen is blocked for 41 s",
        "   the server refuses the key: 401",
        "   → check livekit.api_key and livekit.api_secret",
        "   next try in 17 s (try 3)",
    ]
    assert "speaker     off: not wanted by alto.yaml" in text(BLOCKED)


def test_a_station_that_runs_with_the_last_good_configuration_says_so() -> None:
    problem = "alto.yaml:1:1: found: an empty file"
    shown = text({**ONLINE, "config_kept_at": 1_795_000_000.0, "config_problems": [problem]})
    assert "running with the last good one, kept on 18 Nov" in shown
    assert f"not in force: {problem}" in shown
    assert "last good" not in text(ONLINE)


def test_a_quiet_clean_line_says_so() -> None:
    status = {**ONLINE, "participants": [], "errors": [], "metrics": {"network": {"reconnects": 0}}}
    assert "nobody else" in text(status)
    assert "clean: nothing lost" in text(status)


def test_more_people_than_fit_are_counted() -> None:
    people = [{"identity": f"p{n}", "volume": 1.0, "level_dbfs": -20.0} for n in range(20)]
    assert "and 8 more" in text({**ONLINE, "participants": people})


def test_who_is_not_played_in_a_large_room_is_named_after_those_who_are() -> None:
    people = [{"identity": f"p{n}", "volume": 1.0, "parked": n < 2} for n in range(5)]
    shown = text({**ONLINE, "participants": people})
    assert "2 of 5 are not played: audio.max_streams" in shown
    assert shown.index("p4") < shown.index("p0")
    assert shown.count("not played now") == 2
    assert "not played" not in text(ONLINE)


def test_a_terminal_without_unicode_gets_ascii_and_long_texts_go_on_below() -> None:
    told = text(BLOCKED, Look(50, unicode=False))
    assert told.isascii()
    assert "missing: no capture device" in told
    assert '"Built-in Audio of the Thin' in told


def test_a_name_cannot_steer_the_terminal() -> None:
    told = text({**ONLINE, "participants": [{"identity": "\x1b[2Jevil\nnext\u202e", "volume": 1.0}], "detail": "\x07"})
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "?[2Jevil" in told


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(ONLINE)), json_like), st.integers(40, 200), st.booleans())
def test_whatever_a_station_of_another_version_says_it_is_shown_within_the_width(
    changed: dict[str, Any], width: int, unicode: bool
) -> None:
    for line in layout({**ONLINE, **changed}, Look(width, unicode)):
        assert columns("".join(span.text for span in line)) <= width


@given(st.text(max_size=40), st.integers(1, 30))
def test_a_fitted_text_has_exactly_its_columns(name: str, wanted: int) -> None:
    assert columns(fit(name, wanted, Look())) == wanted


@given(st.none() | st.floats(), st.integers(1, 60), st.none() | st.floats(-200, 20))
def test_a_meter_has_exactly_its_cells(level: float | None, cells: int, peak: float | None) -> None:
    assert sum(len(span.text) for span in meter(level, cells, Look(), peak_dbfs=peak)) == cells


def test_a_meter_grows_with_the_level_and_turns_red_at_the_end() -> None:
    lit = [sum(span.text.count("■") for span in meter(level, 30, Look())) for level in (-90, -60, -30, -12, 0, 10)]
    assert lit == sorted(lit)
    assert (lit[0], lit[-1]) == (0, 30)
    assert [span.style for span in meter(0.0, 30, Look())] == ["good", "warn", "bad"]


def test_a_held_peak_falls_and_disappears() -> None:
    peaks = Peaks()
    assert peaks.hold("mic", -10.0, 0.0) == -10.0
    assert peaks.hold("mic", -50.0, 1.0) == -30.0
    assert peaks.hold("mic", -20.0, 1.5) == -20.0
    assert peaks.hold("mic", None, 10.0) is None
    assert FLOOR_DBFS == -60.0


def test_durations_are_told_in_two_units() -> None:
    assert [duration(s) for s in (0, 41.9, 723, 7432, 442800, None)] == [
        "0 s",
        "41 s",
        "12 min 3 s",
        "2 h 3 min",
        "5 d 3 h",
        "?",
    ]


# ---- on a terminal --------------------------------------------------------------------------------------------------


class Wall:
    """A screen that remembers, and presses Ctrl-C after so many views."""

    interval_s = 0.0
    look = Look(90)

    def __init__(self, views: int) -> None:
        self.views: list[str] = []
        self.closed = False
        self._wanted = views

    def draw(self, lines: list[Line], status: Status) -> None:
        self.views.append("\n".join("".join(span.text for span in line) for line in lines))
        if len(self.views) >= self._wanted:
            raise KeyboardInterrupt

    def close(self) -> None:
        self.closed = True


def test_a_station_that_goes_away_and_comes_back_is_followed() -> None:
    turns = iter(["up", "down", "down", "up"])

    def looks(_interval_s: float) -> Iterator[Status]:
        if next(turns) == "up":
            yield ONLINE
        raise client.NoStation("no station runs at /run/alto/kitchen.sock", fix='start it with "alto run"')

    wall, pauses = Wall(5), list[float]()
    show(looks, wall, pause=pauses.append)
    assert ["kitchen is online" in view for view in wall.views] == [True, False, False, False, True]
    assert '→ start it with "alto run"' in wall.views[1]
    assert pauses == [1.0, 1.0, 1.0]
    assert wall.closed


def test_text_for_a_file_has_no_colours_and_for_a_terminal_it_has() -> None:
    assert "\x1b" not in render(ONLINE, out=io.StringIO(), env={"TERM": "xterm"})
    assert "\x1b[32m" in on_terminal(lambda out: out.write(render(ONLINE, out=out, env={"TERM": "xterm"})))
    plain = on_terminal(lambda out: out.write(render(ONLINE, out=out, env={"TERM": "xterm", "NO_COLOR": "1"})))
    assert "\x1b" not in plain
    assert "●" in plain


def on_terminal(draw: Callable[[Any], object], encoding: str = "utf-8") -> str:
    """What arrives at the other end of a real terminal."""
    ours, theirs = pty.openpty()
    got: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:
                return
            if not chunk:
                return
            got.append(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w", encoding=encoding) as out:
        draw(out)
    reader.join(10)
    os.close(ours)
    return b"".join(got).decode(encoding, "replace")


def test_the_live_view_gives_the_terminal_back_as_it_was() -> None:
    def draw(out: Any) -> None:
        with_ansi = AnsiScreen(out, colours=True)
        with_ansi.draw(layout(ONLINE, with_ansi.look), ONLINE)
        with_ansi.close()

    told = on_terminal(draw)
    assert told.startswith("\x1b[?1049h\x1b[?25l")
    assert told.endswith("\x1b[?25h\x1b[?1049l")
    assert "kitchen" in told
    assert "\x1b[32m" in told


def test_the_live_view_by_rich_has_a_frame_and_gives_the_terminal_back() -> None:
    def draw(out: Any) -> None:
        with_rich = RichScreen(out, force_terminal=True, width=90, height=30)
        with_rich.draw(layout(ONLINE, with_rich.look), ONLINE)
        with_rich.close()

    told = on_terminal(draw)
    assert "╭─" in told
    assert "alto" in told
    assert "kitchen" in told
    assert "Ctrl-C ends" in told
    assert told.endswith("\x1b[?25h\x1b[?1049l")


def test_the_screen_is_the_best_that_the_terminal_can_do() -> None:
    kinds: list[str] = []

    def choose(env: dict[str, str]) -> Callable[[Any], None]:
        def draw(out: Any) -> None:
            chosen = screen(out, env)
            kinds.append(type(chosen).__name__)
            chosen.close()

        return draw

    on_terminal(choose({"TERM": "xterm"}))
    on_terminal(choose({"TERM": "dumb"}))
    kinds.append(type(screen(io.StringIO(), {"TERM": "xterm"})).__name__)
    assert kinds == ["RichScreen", "LineScreen", "LineScreen"]


def test_without_rich_the_plain_view_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    kinds: list[str] = []

    def draw(out: Any) -> None:
        chosen = screen(out, {"TERM": "xterm"})
        kinds.append(type(chosen).__name__)
        chosen.close()

    on_terminal(draw)
    assert kinds == ["AnsiScreen"]


def test_where_nothing_can_be_redrawn_there_is_a_line_for_each_look() -> None:
    out = io.StringIO()
    lines = LineScreen(out)
    lines.draw([], ONLINE)
    lines.draw([], BLOCKED)
    lines.draw([], {"state": "away", "detail": "no station runs"})
    first, second, third = out.getvalue().splitlines()
    assert "online  input -18 dB  output -24 dB  bob  charlie" in first
    assert "the server refuses the key" in second
    assert "no station runs" in third


def test_a_real_station_is_watched_over_its_socket(tmp_path: Path) -> None:
    import asyncio

    path = tmp_path / "s.sock"

    async def story() -> None:
        station = Station()
        server = StatusServer(path=path, provider=station, recorder=station)
        await server.start()
        wall = Wall(3)

        def look() -> None:
            show(lambda _: client.watch(path, interval_s=0.05), wall)

        await asyncio.to_thread(look)
        assert ["kitchen is online" in view for view in wall.views] == [True] * 3
        await until_async(lambda: not server._clients, 10, "the watcher's leave")
        await server.close()

    run(story())
