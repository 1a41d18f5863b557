"""The Grafana dashboard of a fleet: python deploy/fleet/dashboard.py > deploy/fleet/dashboard.json.

First all stations, and who is silent; then one of them. `station` and `room` are the labels of targets.json. Panels
are placed in rows of 24 units from left to right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from panels import (
    BAD,
    BY_NAME,
    COLOURED,
    FEW,
    GOOD,
    LEVEL,
    REASON,
    SHORT,
    SOURCE,
    STATES,
    WARN,
    Panel,
    asked_once,
    chosen,
    curves,
    mapped,
    matcher,
    panel,
    placed,
    row,
    sized,
    stat,
    timeline,
    words,
)

ALL: Final = 'room=~"$room"'
ONE: Final = 'station="$station"'


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
    # From `up`, and not from what a station says of itself: one that never answered is found as well.
    room = variable("room", "Room", 'label_values(up{job="alto"}, room)')
    room |= {"multi": True, "includeAll": True, "allValue": ".*", "current": {"text": ["All"], "value": ["$__all"]}}
    return [source, room, variable("station", "Station", f'label_values(up{{job="alto", {ALL}}}, station)')]


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
    in_room = f'(sum(alto_state{{{ALL}, state=~"online|degraded"}}) or vector(0))'
    yield stat("In their room", in_room, steps=[(None, BAD), (1, GOOD)])
    yield stat("Not in their room", f'count(up{{job="alto", {ALL}}}) - {in_room}')
    yield stat("Waiting for a person", f'sum(alto_state{{{ALL}, state="blocked"}}) or vector(0)')
    yield stat("Devices missing", f'sum(alto_leg_state{{{ALL}, state="missing"}}) or vector(0)')
    yield stat("Bad alto.yaml", f"count(alto_config_last_reload_successful{{{ALL}}} == 0) or vector(0)")
    yield stat("Alerts", f'count(ALERTS{{{ALERTS}, alertstate="firing"}}) or vector(0)')
    yield every_station()
    yield every_alert()
    yield timeline("States", [(state_of(ALL), "{{station}}")], height=9)
    quiet = f"bottomk(10, max_over_time(alto_input_peak_dbfs{{{ALL}}}[5m]))"
    yield curves(
        "The ten quietest microphones: loudest sound of five minutes",
        [(quiet, "{{station}}")],
        "dB",
        LEVEL | BY_NAME,
        width=12,
    )
    lost = " + ".join(f"rate(alto_{name}_total{{{ALL}}}[5m])" for name in LOST)
    yield curves(
        "The ten that lose most blocks of sound, each second",
        [(f"topk(10, {lost})", "{{station}}")],
        "short",
        FEW | BY_NAME,
        width=12,
    )


LOST: Final = ("output_underruns", "output_xruns", "input_overruns")
ALERTS: Final = 'alertname=~"Alto.+", room=~"$room|"'


def state_of(whom: str) -> str:
    """The place of each station's state in STATES: 0 for one that does not answer."""
    places = [f'alto_state{{{whom}, state="{state}"}} * {at}' for at, (state, _) in enumerate(STATES) if at]
    return f'sum by (station, room) ({" or ".join(places)} or up{{job="alto", {whom}}} == 0)'


def every_alert() -> Panel:
    shown = {"alertname": "Alert", "station": "Station", "alertstate": "State", "severity": "Severity"}
    # One that is pending waits for its `for`: most mend themselves before.
    colours = {"firing": ("firing", BAD), "pending": ("pending", WARN)}
    properties = [{"id": "mappings", "value": mapped(colours)}, *COLOURED]
    return {
        **panel("Alerts, each with its cure in alerts.yml", "table", 8, 9),
        "targets": [asked_once(f"ALERTS{{{ALERTS}}}", "A")],
        "transformations": chosen(shown),
        "fieldConfig": {
            # Nothing to show is good here, unlike in any other panel.
            "defaults": {"noValue": "Nothing is wrong"},
            "overrides": [
                *sized({"alertname": 200, "station": 90, "alertstate": 80}),
                {"matcher": matcher("alertstate"), "properties": properties},
            ],
        },
        "options": {"showHeader": True, "sortBy": [{"displayName": "State", "desc": False}]},
    }


COLUMNS: Final = (
    # title, expression with a label station, unit, width in pixels
    ("State", state_of(ALL), "string", 100),
    ("Why", f"max by (station, reason) (alto_state_info{{{ALL}}})", "string", 185),
    ("Microphone", f"max by (station) (alto_input_peak_dbfs{{{ALL}}})", "dB", 95),
    ("Speaker", f"max by (station) (alto_output_peak_dbfs{{{ALL}}})", "dB", 80),
    ("Others", f"max by (station) (alto_network_participants{{{ALL}}})", "short", 70),
    ("Round trip", f"max by (station) (alto_network_rtt_seconds{{{ALL}}})", "s", 90),
    ("Lost", f"max by (station) (alto_network_loss_in_ratio{{{ALL}}})", "percentunit", 60),
    ("Up", f"max by (station) (alto_process_uptime_seconds{{{ALL}}})", "s", 85),
    ("Memory", f"max by (station) (alto_process_rss_bytes{{{ALL}}})", "bytes", 85),
    ("Version", f"max by (station, version) (alto_build_info{{{ALL}}})", "string", None),
)
WORD_OF: Final = {"Why": "reason", "Version": "version"}
"""Columns that show a label of their series instead of its value."""


def every_station() -> Panel:
    """A table: a line for each station, joined by its name."""
    letters = [chr(ord("A") + at) for at in range(len(COLUMNS))]
    targets = [asked_once(column[1], letter) for column, letter in zip(COLUMNS, letters, strict=True)]
    kept, overrides = {"station": "Station"}, sized({"station": 110})
    for letter, (title, _, unit, width) in zip(letters, COLUMNS, strict=True):
        name = WORD_OF.get(title, f"Value #{letter}")
        kept[name] = title
        overrides += sized({name: width} if width else {})
        if title == "State":
            coloured = [{"id": "mappings", "value": mapped(words())}, *COLOURED]
            overrides.append({"matcher": matcher(name), "properties": coloured})
        elif title not in WORD_OF:
            overrides.append({"matcher": matcher(name), "properties": [{"id": "unit", "value": unit}]})
    return {
        **panel("Every station, the worst first", "table", 16, 9),
        "targets": targets,
        "transformations": [{"id": "joinByField", "options": {"byField": "station", "mode": "outer"}}, *chosen(kept)],
        "fieldConfig": {"defaults": {}, "overrides": overrides},
        "options": {"showHeader": True, "sortBy": [{"displayName": "State", "desc": False}]},
    }


# ---- one of them -----------------------------------------------------------------------------------------------------


def station() -> Iterator[Panel]:
    yield row("$station")
    why = f"max by (reason) (alto_state_info{{{ONE}}}) * {REASON}"
    yield timeline("State, and why", [(state_of(ONE), "state"), (why, "{{reason}}")], height=7)
    level = [(f"alto_input_level_dbfs{{{ONE}}}", "microphone"), (f"alto_output_level_dbfs{{{ONE}}}", "speaker")]
    yield curves("Level", level, "dB", LEVEL)
    frames = [
        (f"rate(alto_network_frames_sent_total{{{ONE}}}[1m])", "sent"),
        (f"rate(alto_network_frames_received_total{{{ONE}}}[1m])", "received, all voices"),
    ]
    yield curves("Frames of 10 ms, each second", frames, "short", {"min": 0, "custom": {"axisSoftMax": 120}})
    yield curves(
        "Others in the room",
        [(f"alto_network_participants{{{ONE}}}", "people"), (f"alto_mixer_sounding{{{ONE}}}", "who sound")],
        "short",
        {"min": 0, "decimals": 0, "custom": {"axisSoftMax": 4}},
    )
    yield gaps()
    yield audio_threads()
    ratios = (("loss_in", "lost on the way here"), ("loss_out", "lost on the way there"), ("concealment", "made up"))
    shares = [(f"alto_network_{name}_ratio{{{ONE}}}", words) for name, words in ratios]
    yield curves("Packets lost", shares, "percentunit", {"min": 0, "custom": {"axisSoftMax": 0.05}}, width=12)
    times = (
        ("alto_network_rtt_seconds", "round trip"),
        ("alto_network_jitter_buffer_seconds", "held back against jitter"),
    )
    yield curves("Delay of the network", [(f"{name}{{{ONE}}}", words) for name, words in times], "s", SHORT, width=12)
    cpu = [(f"alto_process_cpu_ratio{{{ONE}}}", "of one core")]
    yield curves("Processor", cpu, "percentunit", {"min": 0, "custom": {"axisSoftMax": 0.5}})
    yield curves("Memory", [(f"alto_process_rss_bytes{{{ONE}}}", "resident")], "bytes", {"min": 0})
    drift = [(f"alto_mixer_drift_ratio{{{ONE}}} * 1e6", "how much faster")]
    yield curves("Clocks: speaker against ours", drift, "ppm", {"custom": {"axisSoftMin": -200, "axisSoftMax": 200}})


def gaps() -> Panel:
    causes = (
        ("alto_output_underruns_total", "no sound for the speaker in time"),
        ("alto_output_xruns_total", "the sound card ran dry"),
        ("alto_input_overruns_total", "the microphone was read too late"),
        ("alto_network_silence_frames_total", "no microphone, silence sent"),
        ("alto_network_frames_dropped_total", "came and was not taken"),
        ("alto_mixer_bridged_total", "late, bridged"),
    )
    rates = [(f"rate({name}{{{ONE}}}[5m])", words) for name, words in causes]
    return curves("Gaps, by cause, each second", rates, "short", FEW, width=12)


def audio_threads() -> Panel:
    late = [
        (f"alto_{leg}_callback_{name}_seconds{{{ONE}}}", f"{who}: {words}")
        for leg, who in (("input", "microphone"), ("output", "speaker"))
        for name, words in (("p99", "call, 99 %"), ("gap_max", "longest between two"))
    ]
    late.append((f"alto_process_loop_lag_max_seconds{{{ONE}}}", "event loop late"))
    return curves("Audio threads", late, "s", SHORT, width=12)


if __name__ == "__main__":
    print(json.dumps(dashboard(), indent=1))
