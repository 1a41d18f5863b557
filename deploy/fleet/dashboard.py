"""The Grafana dashboard of a fleet: python deploy/fleet/dashboard.py > deploy/fleet/dashboard.json.

First all stations, and who is silent; then one of them. `station` and `room` are the labels of targets.json. Panels
are placed in rows of 24 units from left to right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

SOURCE: Final = {"type": "prometheus", "uid": "${source}"}
WIDTH: Final = 24
ALL: Final = 'room=~"$room"'
ONE: Final = 'station="$station"'

GOOD, WARN, BAD = "green", "orange", "red"

Panel = dict[str, Any]
Query = tuple[str, str]
"""An expression, and how its series are called."""


def dashboard() -> dict[str, Any]:
    """As Grafana imports it."""
    return {
        "uid": "alto-fleet",
        "title": "alto: intercom stations",
        "description": "Made by deploy/fleet/dashboard.py of alto.",
        "tags": ["alto"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": variables()},
        "annotations": {"list": [alerts()]},
        "panels": placed([*overview(), *station()]),
    }


def variables() -> list[dict[str, Any]]:
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    room = variable("room", "Room", "label_values(alto_station_info, room)")
    room |= {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return [source, room, variable("station", "Station", f"label_values(alto_station_info{{{ALL}}}, station)")]


def variable(name: str, label: str, query: str) -> dict[str, Any]:
    wanted = {"query": query, "refId": name}
    # 2: asked anew when the time range changes, so that a new station shows up. 1: by name.
    fixed = {"name": name, "label": label, "type": "query", "datasource": SOURCE, "refresh": 2, "sort": 1}
    return {**fixed, "definition": query, "query": wanted}


def alerts() -> dict[str, Any]:
    expression = 'ALERTS{alertstate="firing", alertname=~"Alto.+", station=~"$station|"}'
    shown = {"titleFormat": "{{alertname}}", "textFormat": "{{station}}", "iconColor": BAD, "enable": True}
    return {"name": "Alerts", "datasource": SOURCE, "expr": expression, "step": "60s", **shown}


# ---- all of them -----------------------------------------------------------------------------------------------------


def overview() -> Iterator[Panel]:
    yield row("Who is silent")
    in_room = f'sum(alto_state{{{ALL}, state=~"online|degraded"}})'
    yield stat("In their room", in_room, steps=[(None, BAD), (1, GOOD)])
    away = f'count(up{{job="alto", {ALL}}}) - (sum(alto_state{{{ALL}, state=~"online|degraded"}}) or vector(0))'
    yield stat("Not in their room", away)
    yield stat("Waiting for a person", f'sum(alto_state{{{ALL}, state="blocked"}})')
    yield stat("Devices missing", f'sum(alto_leg_state{{{ALL}, state="missing"}})')
    yield stat("Bad alto.yaml", f"count(alto_config_last_reload_successful{{{ALL}}} == 0) or vector(0)")
    yield stat("Alerts", 'count(ALERTS{alertstate="firing", alertname=~"Alto.+"}) or vector(0)')
    yield every_station()
    yield timeline(
        "In the room",
        [(f'sum by (station) (alto_state{{{ALL}, state=~"online|degraded"}})', "{{station}}")],
        {"0": ("away", BAD), "1": ("in the room", GOOD)},
    )
    yield curves(
        "Loudest sound into each microphone", [(f"alto_input_peak_dbfs{{{ALL}}}", "{{station}}")], "dB", width=12
    )
    lost = f"rate(alto_output_underruns_total{{{ALL}}}[5m]) + rate(alto_output_xruns_total{{{ALL}}}[5m])"
    lost += f" + rate(alto_input_overruns_total{{{ALL}}}[5m])"
    yield curves("Blocks of sound lost, each second", [(lost, "{{station}}")], "short", width=12)


COLUMNS: Final = (
    # title, expression with a label station, unit
    ("State", f"alto_state{{{ALL}}} == 1", "string"),
    ("Why", f"alto_state_info{{{ALL}}}", "string"),
    ("Microphone", f"alto_input_peak_dbfs{{{ALL}}}", "dB"),
    ("Speaker", f"alto_output_peak_dbfs{{{ALL}}}", "dB"),
    ("Others", f"alto_network_participants{{{ALL}}}", "short"),
    ("Round trip", f"alto_network_rtt_seconds{{{ALL}}}", "s"),
    ("Lost", f"alto_network_loss_in_ratio{{{ALL}}}", "percentunit"),
    ("Up", f"alto_process_uptime_seconds{{{ALL}}}", "s"),
    ("Memory", f"alto_process_rss_bytes{{{ALL}}}", "bytes"),
    ("Version", f"alto_build_info{{{ALL}}}", "string"),
)
WORD_OF: Final = {"State": "state", "Why": "reason", "Version": "version"}
"""Columns that show a label of their series instead of its value."""


def every_station() -> Panel:
    """A table: a line for each station, joined by its name."""
    targets = []
    for at, (_, expression, _) in enumerate(COLUMNS):
        targets.append(
            target(expression, "", chr(ord("A") + at)) | {"format": "table", "instant": True, "range": False}
        )
    kept = {"station": "Station"}
    overrides = []
    for at, (title, _, unit) in enumerate(COLUMNS):
        letter = chr(ord("A") + at)
        name = WORD_OF.get(title, f"Value #{letter}")
        kept[name] = title
        if title not in WORD_OF:
            overrides.append({"matcher": matcher(name), "properties": [{"id": "unit", "value": unit}]})
    transformations = [
        {"id": "joinByField", "options": {"byField": "station", "mode": "outer"}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(kept)}}},
        {
            "id": "organize",
            "options": {"renameByName": kept, "indexByName": {name: at for at, name in enumerate(kept)}},
        },
    ]
    return {
        **panel("Every station", "table", WIDTH, 9),
        "targets": targets,
        "transformations": transformations,
        "fieldConfig": {"defaults": {}, "overrides": overrides},
        "options": {"showHeader": True, "sortBy": [{"displayName": "State", "desc": False}]},
    }


def matcher(name: str) -> dict[str, str]:
    return {"id": "byName", "options": name}


# ---- one of them -----------------------------------------------------------------------------------------------------


def station() -> Iterator[Panel]:
    yield row("$station")
    yield timeline("State", [(f"alto_state{{{ONE}}} == 1", "{{state}}")], {"1": ("now", GOOD)}, height=5)
    yield curves(
        "Level",
        [(f"alto_input_level_dbfs{{{ONE}}}", "microphone"), (f"alto_output_level_dbfs{{{ONE}}}", "speaker")],
        "dB",
    )
    sent, received = (
        f"rate(alto_network_frames_sent_total{{{ONE}}}[1m])",
        f"rate(alto_network_frames_received_total{{{ONE}}}[1m])",
    )
    yield curves("Frames of 10 ms, each second", [(sent, "sent"), (received, "received, all voices")], "short")
    yield curves(
        "Others in the room",
        [(f"alto_network_participants{{{ONE}}}", "people"), (f"alto_mixer_sounding{{{ONE}}}", "who sound")],
        "short",
    )
    causes = (
        ("alto_output_underruns_total", "no sound for the speaker in time"),
        ("alto_output_xruns_total", "the sound card ran dry"),
        ("alto_input_overruns_total", "the microphone was read too late"),
        ("alto_network_silence_frames_total", "no microphone, silence sent"),
        ("alto_network_frames_dropped_total", "came and was not taken"),
        ("alto_mixer_bridged_total", "late, bridged"),
    )
    yield curves(
        "Gaps, by cause, each second", [(f"rate({name}{{{ONE}}}[5m])", words) for name, words in causes], "short"
    )
    ratios = (("loss_in", "lost on the way here"), ("loss_out", "lost on the way there"), ("concealment", "made up"))
    yield curves(
        "Packets lost", [(f"alto_network_{name}_ratio{{{ONE}}}", words) for name, words in ratios], "percentunit"
    )
    times = (
        ("alto_network_rtt_seconds", "round trip"),
        ("alto_network_jitter_buffer_seconds", "held back against jitter"),
    )
    yield curves("Delay of the network", [(f"{name}{{{ONE}}}", words) for name, words in times], "s")
    late = [
        (f"alto_{leg}_callback_{name}_seconds{{{ONE}}}", f"{who}: {words}")
        for leg, who in (("input", "microphone"), ("output", "speaker"))
        for name, words in (("p99", "call, 99 %"), ("gap_max", "longest between two"))
    ]
    yield curves("Audio threads", [*late, (f"alto_process_loop_lag_max_seconds{{{ONE}}}", "event loop late")], "s")
    yield curves("Processor", [(f"alto_process_cpu_ratio{{{ONE}}}", "of one core")], "percentunit")
    yield curves("Memory", [(f"alto_process_rss_bytes{{{ONE}}}", "resident")], "bytes")
    yield curves("Clocks: speaker against ours", [(f"alto_mixer_drift_ratio{{{ONE}}} * 1e6", "ppm")], "short")


# ---- kinds of panels -------------------------------------------------------------------------------------------------


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


def curves(title: str, queries: list[Query], unit: str, *, width: int = 8, height: int = 8) -> Panel:
    return {
        **panel(title, "timeseries", width, height),
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"unit": unit, "custom": {"showPoints": "never"}}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom"},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def timeline(title: str, queries: list[Query], words: dict[str, tuple[str, str]], *, height: int = 8) -> Panel:
    mapped = {
        value: {"text": text, "color": colour, "index": at} for at, (value, (text, colour)) in enumerate(words.items())
    }
    return {
        **panel(title, "state-timeline", WIDTH, height),
        "targets": targets(queries),
        "fieldConfig": {"defaults": {"mappings": [{"type": "value", "options": mapped}]}, "overrides": []},
        "options": {"showValue": "never", "mergeValues": True, "legend": {"showLegend": False}},
    }


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


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
