"""Kinds of panels of the Grafana dashboard, as JSON wants them, and how a station's state looks in all of them."""

from __future__ import annotations

from typing import Any, Final

SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
WIDTH: Final = 24

GOOD, MIDDLING, WARN, BAD, BUSY, GREY = "green", "yellow", "orange", "red", "blue", "#8e8e8e"

STATES: Final = (
    # the worst first: what a row of the table is sorted by; state of a station, colour
    ("no answer", "purple"),
    ("blocked", BAD),
    ("waiting", WARN),
    ("recovering", BUSY),
    ("degraded", MIDDLING),
    ("connecting", BUSY),
    ("starting", BUSY),
    ("stopping", GREY),
    ("stopped", GREY),
    ("online", GOOD),
)
REASON: Final = len(STATES)
"""The value of what is drawn beside a state to tell why."""

Panel = dict[str, Any]
Query = tuple[str, str]
"""An expression, and how its series are called."""


def panel(title: str, kind: str, width: int, height: int) -> Panel:
    return {"title": title, "type": kind, "datasource": SOURCE, "gridPos": {"w": width, "h": height}}


def row(title: str) -> Panel:
    return {"title": title, "type": "row", "collapsed": False, "panels": [], "gridPos": {"w": WIDTH, "h": 1}}


def target(expression: str, legend: str, letter: str) -> dict[str, Any]:
    return {"refId": letter, "datasource": SOURCE, "expr": expression, "legendFormat": legend, "range": True}


def targets(queries: list[Query]) -> list[dict[str, Any]]:
    return [target(expression, legend, chr(ord("A") + at)) for at, (expression, legend) in enumerate(queries)]


def stat(title: str, expression: str, steps: list[tuple[int | None, str]] | None = None) -> Panel:
    """A number that is good while it is 0, unless `steps` say otherwise."""
    colours = [{"value": value, "color": colour} for value, colour in steps or [(None, GOOD), (1, BAD)]]
    return {
        **panel(title, "stat", 4, 4),
        "targets": targets([(expression, "")]),
        "fieldConfig": {"defaults": {"thresholds": {"mode": "absolute", "steps": colours}}, "overrides": []},
        "options": {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}},
    }


# An axis that always shows what is usual: else a flat line fills the panel with its own noise, or with nothing.
LEVEL: Final = {"min": -120, "max": 0}
FEW: Final = {"min": 0, "custom": {"axisSoftMax": 1}}
BY_NAME: Final = {"color": {"mode": "palette-classic-by-name"}}
"""A station has its colour in every panel. Not for other words: their colours would be too much alike."""
SHORT: Final = {"min": 0, "custom": {"axisSoftMax": 0.1}}


def curves(
    title: str, queries: list[Query], unit: str, axis: dict[str, Any], *, width: int = 8, height: int = 8
) -> Panel:
    custom = {"showPoints": "never", **axis.get("custom", {})}
    defaults = {"unit": unit, **axis, "custom": custom}
    return {
        **panel(title, "timeseries", width, height),
        "targets": targets(queries),
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def timeline(title: str, queries: list[Query], *, height: int) -> Panel:
    """Series whose values are places in STATES, or REASON."""
    return {
        **panel(title, "state-timeline", WIDTH, height),
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"mappings": mapped(words())}, "overrides": []},
        "options": {
            "showValue": "auto",
            "mergeValues": True,
            "perPage": 20,
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom"},
        },
    }


def words() -> dict[str, tuple[str, str]]:
    """What stands for a place in STATES."""
    return {**{str(at): state for at, state in enumerate(STATES)}, str(REASON): ("reason", GREY)}


def mapped(texts: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    options = {
        value: {"text": text, "color": colour, "index": at} for at, (value, (text, colour)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def placed(panels: list[Panel]) -> list[Panel]:
    """Each with an id, and its place behind the one before, in a new line where that is full."""
    x = y = height = 0
    for number, one in enumerate(panels, 1):
        place = one["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        one |= {"id": number, "gridPos": {**place, "x": x, "y": y}}
        x, height = x + place["w"], max(height, place["h"])
    return panels


# ---- tables ----------------------------------------------------------------------------------------------------------


COLOURED: Final = (
    {"id": "custom.cellOptions", "value": {"type": "color-background", "mode": "basic"}},
    {"id": "custom.align", "value": "left"},
)
"""How a cell wears the colour of its mapping."""


def asked_once(expression: str, letter: str) -> dict[str, Any]:
    return target(expression, "", letter) | {"format": "table", "instant": True, "range": False}


def chosen(titles: dict[str, str]) -> list[dict[str, Any]]:
    """These columns, in this order, under these titles."""
    order = {name: at for at, name in enumerate(titles)}
    return [
        {"id": "filterFieldsByName", "options": {"include": {"names": list(titles)}}},
        {"id": "organize", "options": {"renameByName": titles, "indexByName": order}},
    ]


def sized(widths: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"matcher": matcher(name), "properties": [{"id": "custom.width", "value": width}]}
        for name, width in widths.items()
    ]


def matcher(name: str) -> dict[str, str]:
    return {"id": "byName", "options": name}
