"""Pure: a station's status → the lines that a person at a wall, or over SSH, understands.

One layout for `alto status` and its live view. Every key may be missing: the station may be of another version.
"""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from appliance.observe.meter import Line, Look, Peaks, Span, columns, fit, level_text, meter, printable

LABEL: Final = 12  # columns of the names at the left
MOST_PEOPLE: Final = 12

_STATE: Final = {
    # state: (sign, its plain form, style)
    "online": ("●", "*", "good"),
    "degraded": ("◐", "!", "warn"),
    "recovering": ("◌", "o", "warn"),
    "connecting": ("◌", "o", "warn"),
    "waiting": ("◌", "o", "warn"),
    "starting": ("◌", "o", "warn"),
    "blocked": ("✖", "X", "bad"),
    "stopping": ("○", "-", "dim"),
    "stopped": ("○", "-", "dim"),
}

Status = Mapping[str, Any]


def layout(status: Status, look: Look, *, peaks: Peaks | None = None, now: float = 0.0) -> list[Line]:
    """All lines, none wider than `look.width`."""
    view = _View(status, look, peaks or Peaks(), now)
    lines = [
        *view.headline(),
        [],
        *view.room(),
        *view.leg("input", "microphone"),
        *view.leg("output", "speaker"),
        [],
        *view.people(),
        [],
        *view.delay(),
        *view.losses(),
        *view.process(),
        *view.config(),
        *view.last_error(),
    ]
    return [_clipped(line, look) for line in _without_double_gaps(lines)]


def duration(seconds: object) -> str:
    """`41 s`, `12 min 3 s`, `2 h 3 min`, `5 d 2 h`: two units are enough."""
    number = _number(seconds)
    if number is None:
        return "?"
    left = max(int(number), 0)
    parts: list[str] = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


class _View:
    def __init__(self, status: Status, look: Look, peaks: Peaks, now: float) -> None:
        self._status = status
        self._look = look
        self._peaks = peaks
        self._now = now
        self._metrics = _mapping(status.get("metrics"))
        # The bar takes what the label, the level, a gap and a device's name leave.
        self._cells = max(8, min(32, look.width - LABEL - 9 - 22))

    def headline(self) -> Iterator[Line]:
        state = str(self._status.get("state", "unknown"))
        pretty, plain, style = _STATE.get(state, ("?", "?", "warn"))
        yield [
            Span(f" {self._look.sign(pretty, plain)} ", style),
            Span(self._text("identity", "alto"), "bold"),
            Span(" is "),
            Span(state, style),
            Span(f" for {duration(self._status.get('since_s'))}", "dim"),
        ]
        why = self._text("detail") or self._text("reason")
        if why and state != "online":
            yield from self._wrapped("   ", why, style)
        if fix := self._text("fix"):
            yield from self._wrapped("   ", f"{self._arrow} {fix}", "accent")
        if (again_s := self._status.get("retry_in_s")) is not None:
            yield [Span(f"   next try in {duration(again_s)} (try {self._status.get('attempt', '?')})", "dim")]

    def room(self) -> Iterator[Line]:
        network = _mapping(self._metrics.get("network"))
        path = ", ".join(part for part in (str(network.get("path") or ""), _ms(network.get("rtt_ms"))) if part)
        text = f"{self._text('room', '?')} at {self._text('url', '?')}" + (f" ({path})" if path else "")
        yield from self._sentence("room", text)

    def leg(self, leg: str, name: str) -> Iterator[Line]:
        state = _mapping(_mapping(self._status.get("legs")).get(leg))
        figures = _mapping(self._metrics.get(leg))
        device = str(state.get("device") or figures.get("device") or "")
        match state.get("state"):
            case "off":
                yield from self._sentence(name, "off: not wanted by alto.yaml", "dim")
            case "missing":
                yield from self._sentence(name, f"missing: {state.get('detail', '')}", "warn")
                yield from self._fix(state)
            case _ if state or figures:
                yield self._meter_row(name, leg, _number(figures.get("level_dbfs")), figures.get("peak_dbfs"), device)

    def people(self) -> Iterator[Line]:
        people = _list(self._status.get("participants"))
        if not people and self._status.get("state") in ("online", "degraded"):
            yield from self._sentence("here", "nobody else", "dim")
        people.sort(key=lambda person: bool(_mapping(person).get("parked")))  # those that are heard come first
        for person in people[:MOST_PEOPLE]:
            one = _mapping(person)
            identity = str(one.get("identity", "?"))
            facts = f"volume {_number(one.get('volume')) or 0:g}"
            if (buffer_ms := _number(one.get("buffer_ms"))) is not None:
                facts += f", {buffer_ms:.0f} ms waiting"
            if one.get("volume") is None:
                facts = "no microphone"
            if one.get("parked"):
                facts = "not played now"
            yield self._meter_row(identity, f"who {identity}", _number(one.get("level_dbfs")), None, facts)
        if len(people) > MOST_PEOPLE:
            yield from self._sentence("", f"and {len(people) - MOST_PEOPLE} more", "dim")
        if parked := sum(bool(_mapping(person).get("parked")) for person in people):
            text = (
                f"{parked} of {len(people)} are not played: audio.max_streams; who speaks takes the place of the silent"
            )
            yield from self._sentence("", text, "dim")

    def delay(self) -> Iterator[Line]:
        """What is known here of a voice's way; the other station's half is not."""
        out_ms = _number(_mapping(self._metrics.get("input")).get("latency_ms"))
        network = _mapping(self._metrics.get("network"))
        waiting = [_number(one.get("buffer_ms")) or 0.0 for one in self._people_with_sound()]
        way_in = (
            ("jitter buffer", _number(network.get("jitter_buffer_ms"))),
            ("mixer", max(waiting) if waiting else None),
            ("speaker", _number(_mapping(self._metrics.get("output")).get("latency_ms"))),
        )
        known = [(name, ms) for name, ms in way_in if ms]
        parts = [f"{out_ms:.0f} ms microphone"] if out_ms else list[str]()
        if known:
            way = " + ".join(f"{ms:.0f} {name}" for name, ms in known)
            parts.append(f"{sum(ms for _, ms in known):.0f} ms in ({way})")
        if parts:
            yield from self._sentence("delay", self._look.sign(" · ", ", ").join(parts))

    def losses(self) -> Iterator[Line]:
        network, mixer = _mapping(self._metrics.get("network")), _mapping(self._metrics.get("mixer"))
        speaker, microphone = _mapping(self._metrics.get("output")), _mapping(self._metrics.get("input"))
        counts = (
            ("underruns", mixer.get("underruns", speaker.get("underruns"))),
            ("overruns", microphone.get("overruns")),
            ("clipped", microphone.get("clipped")),
            ("reconnects", network.get("reconnects")),
        )
        parts = [f"{_short(count)} {name}" for name, count in counts if isinstance(count, (int, float)) and count]
        for name, key in (
            ("lost in", "loss_in_ratio"),
            ("lost out", "loss_out_ratio"),
            ("made up", "concealment_ratio"),
        ):
            if (ratio := _number(network.get(key))) is not None and ratio >= 0.0005:
                parts.append(f"{ratio * 100:.1f} % {name}")
        if self._metrics:
            yield from self._sentence("quality", ", ".join(parts) or "clean: nothing lost, nothing late")

    def process(self) -> Iterator[Line]:
        process = _mapping(self._metrics.get("process"))
        parts = [f"alto {version}"] if (version := self._text("version")) else list[str]()
        parts += [f"up {duration(self._status.get('uptime_s'))}"] if "uptime_s" in self._status else []
        if (cpu := _number(process.get("cpu_ratio"))) is not None:
            parts.append(f"{cpu * 100:.0f} % of a core")
        if (rss := _number(process.get("rss_bytes"))) is not None:
            parts.append(f"{rss / 1e6:.0f} MB")
        if parts:
            yield from self._sentence("process", ", ".join(parts), "dim")

    def config(self) -> Iterator[Line]:
        if file := self._text("config_file"):
            yield from self._sentence("config", file, "dim")
        if (kept_at := _number(self._status.get("config_kept_at"))) is not None:
            yield from self._sentence("", f"running with the last good one, kept on {_when(kept_at)}", "warn")
        for problem in _list(self._status.get("config_problems")):
            yield from self._sentence("", f"not in force: {problem}", "bad")
        for warning in _list(self._status.get("config_warnings")):
            yield from self._sentence("", str(warning), "warn")

    def last_error(self) -> Iterator[Line]:
        errors = _list(self._status.get("errors"))
        if not errors:
            return
        error = _mapping(errors[0])
        at = _number(error.get("at"))
        when = f"{_when(at)}: " if at else ""
        yield from self._sentence("last error", f"{when}{error.get('detail', '')}")
        yield from self._fix(error)

    # ---- pieces

    def _meter_row(self, name: str, key: str, level: float | None, peak: object, facts: str) -> Line:
        held = self._peaks.hold(key, _number(peak) if peak is not None else level, self._now)
        style = "dim" if level is None or level_text(level).endswith("silent") else ""
        return self._row(
            name,
            [
                *meter(level, self._cells, self._look, peak_dbfs=held),
                Span(level_text(level), style),
                Span("  " + printable(facts, self._look), "dim"),
            ],
        )

    def _fix(self, trouble: Mapping[str, Any]) -> Iterator[Line]:
        if fix := trouble.get("fix"):
            yield from self._sentence("", f"{self._arrow} {fix}", "accent")

    def _sentence(self, label: str, text: str, style: str = "") -> Iterator[Line]:
        """A label and text that goes on under itself when it is long."""
        rows = self._wrapped("", text, style, self._look.width - LABEL - 1) or [[]]
        yield from (self._row(label if number == 0 else "", row) for number, row in enumerate(rows))

    def _wrapped(self, indent: str, text: str, style: str, width: int | None = None) -> list[Line]:
        rows = textwrap.wrap(printable(" ".join(text.split()), self._look), max(20, (width or self._look.width) - 3))
        return [[Span(indent + row, style)] for row in rows]

    def _row(self, label: str, rest: Line) -> Line:
        return [Span(" " + fit(label, LABEL - 1, self._look) + " ", "label"), *rest]

    def _text(self, key: str, default: str = "") -> str:
        value = self._status.get(key)
        return default if value is None else str(value)

    @property
    def _arrow(self) -> str:
        return self._look.sign("→", "->")

    def _people_with_sound(self) -> list[Mapping[str, Any]]:
        people = map(_mapping, _list(self._status.get("participants")))
        return [one for one in people if _number(one.get("buffer_ms"))]


def _when(at: float) -> str:
    return time.strftime("%d %b %H:%M:%S", time.localtime(at))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: object) -> float | None:
    """A finite number, or None."""
    return (
        float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15 else None
    )


def _ms(value: object) -> str:
    number = _number(value)
    return "" if number is None else f"{number:.0f} ms there and back"


def _short(count: float) -> str:
    return f"{count:g}" if count < 100_000 else f"{count / 1000:.0f}k"


def _without_double_gaps(lines: Sequence[Line]) -> list[Line]:
    out: list[Line] = []
    for line in lines:
        if line or (out and out[-1]):
            out.append(line)
    return out if not out or out[-1] else out[:-1]


def _clipped(line: Line, look: Look) -> Line:
    """Cut at the right edge."""
    out: Line = []
    left = look.width
    for span in line:
        width = columns(span.text)
        if width > left:
            return [*out, Span(fit(span.text, left, look), span.style)] if left else out
        out.append(span)
        left -= width
    return out
