"""A station's status as Prometheus reads it: the text format 0.0.4, made from the table of figures. Pure.

The names follow from the table: `input.callback_ms_p99` is `alto_input_callback_p99_seconds`. Base units only, nothing
for each voice: a label may not name who happens to be in the room.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from appliance.observe.events import Metric, metrics
from appliance.observe.status import StatusReport

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

LEG_STATES: Final = ("off", "ok", "missing")

_UNITS: Final[Mapping[str, tuple[str, str, float]]] = {
    # unit of the table → the word that stands for it in the figure's name, Prometheus' word, factor
    "ms": ("ms", "seconds", 1e-3),
    "s": ("s", "seconds", 1.0),
    "bytes": ("bytes", "bytes", 1.0),
    "ppm": ("ppm", "ratio", 1e-6),
    "Hz": ("hz", "hertz", 1.0),
    "dBFS": ("dbfs", "dbfs", 1.0),
    "0 to 1": ("ratio", "ratio", 1.0),
    "1 = one core": ("ratio", "ratio", 1.0),
}
_WORDS: Final = frozenset({"name", "word", "words"})
"""Figures of these units become the label of an `…_info`."""


@dataclass(frozen=True, slots=True)
class Series:
    """How one figure of the table is exported."""

    name: str
    kind: str
    """gauge or counter."""
    label: str
    """The label that holds the figure when it is a word; else empty."""
    factor: float


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name: labels → value."""

    name: str
    kind: str
    says: str
    samples: tuple[tuple[Mapping[str, str], float], ...]


def series(metric: Metric) -> Series | None:
    """How this figure is exported; None: left out, because there is one for each voice."""
    section, _, figure = metric.path.partition(".")
    if figure.startswith("per_stream"):
        return None
    if metric.unit in _WORDS:
        return Series(f"alto_{section}_{figure}_info", "gauge", figure, 1.0)
    word, unit, factor = _UNITS.get(metric.unit, ("", "", 1.0))
    words = [one for one in figure.split("_") if one != word] + [unit, "total" if metric.counts else ""]
    name = "_".join(one for one in ("alto", section, *words) if one)
    return Series(name, "counter" if metric.counts else "gauge", "", factor)


def render(report: StatusReport, states: Iterable[str]) -> bytes:
    """The answer to a scrape. `states` are all that `report["state"]` can be. What is not known is not there."""
    families = (*_station(report, states), *_figures(report.get("metrics", {})))
    return "".join(_text(family) for family in families if family.samples).encode(errors="replace")


# ---- the station -------------------------------------------------------------------------------------------------


def _station(report: StatusReport, states: Iterable[str]) -> Iterator[Family]:
    versions = {"version": report["version"], "python": platform.python_version()}
    names = {"identity": report["identity"], "name": report["name"], "room": report["room"]}
    yield _one("alto_build_info", "Version of alto and of its Python.", 1.0, versions)
    yield _one("alto_station_info", "Whose figures these are.", 1.0, names)
    why = {"reason": report["reason"]}
    yield _one("alto_state_info", "The stable word for why the station is in its state.", 1.0, why)
    yield _states("alto_state", "1 for the state that the station is in.", {"": report["state"]}, tuple(states))
    yield _one("alto_state_duration_seconds", "Time in this state.", report["since_s"])
    legs = {name: leg["state"] for name, leg in report["legs"].items()}
    yield _states("alto_leg_state", "1 for the state of microphone (input) and speaker (output).", legs, LEG_STATES)
    if "config_problems" in report:
        good = not report["config_problems"] and "config_kept_at" not in report
        says = "0: alto.yaml as it lies there is refused, an earlier one is in force."
        yield _one("alto_config_last_reload_successful", says, good)
    if "clock_s" in report:
        yield _one("alto_clock_timestamp_seconds", "What time it is for the station.", report["clock_s"])
    if "token_ends_at" in report:
        says = "When the ready token ends; only with livekit.token or token_file."
        yield _one("alto_token_expiry_timestamp_seconds", says, report["token_ends_at"])
    if "watchdog_bit" in report:
        yield _one(
            "alto_watchdog_bit", "1: the process before this one stood still and was ended.", report["watchdog_bit"]
        )


def _one(name: str, says: str, value: float, labels: Mapping[str, str] = MappingProxyType({})) -> Family:
    return Family(name, "gauge", says, ((labels, float(value)),))


def _states(name: str, says: str, now: Mapping[str, str], states: tuple[str, ...]) -> Family:
    """One sample for each state that could be, so that each series is there from the start. `now`: leg → state."""
    samples = tuple(
        ({**({"leg": leg} if leg else {}), "state": state}, float(state == current))
        for leg, current in now.items()
        for state in states
    )
    return Family(name, "gauge", says, samples)


# ---- the figures -------------------------------------------------------------------------------------------------


def _figures(sections: Mapping[str, Mapping[str, object]]) -> Iterator[Family]:
    for metric in metrics().values():
        section, _, figure = metric.path.partition(".")
        how, value = series(metric), sections.get(section, {}).get(figure)
        if how is not None:
            yield Family(how.name, how.kind, f"{metric.meaning}.", tuple(_samples(how, value)))


def _samples(how: Series, value: object) -> Iterator[tuple[Mapping[str, str], float]]:
    if how.label:
        if value:
            yield {how.label: str(value)}, 1.0
    elif isinstance(value, (bool, int, float)) and math.isfinite(value):
        yield {}, value * how.factor


# ---- the format --------------------------------------------------------------------------------------------------


def _text(family: Family) -> str:
    says = f"{family.says[0].upper()}{family.says[1:]}".replace("\\", r"\\").replace("\n", r"\n")
    lines = [f"# HELP {family.name} {says}", f"# TYPE {family.name} {family.kind}"]
    lines += [f"{family.name}{_labels(labels)} {value:.15g}" for labels, value in family.samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
