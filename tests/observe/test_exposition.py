"""What Prometheus is told: every figure of the table, by its conventions, and as its own parser reads it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from prometheus_client import Metric as Parsed
from prometheus_client.parser import text_string_to_metric_families as parse

from appliance.observe.events import metrics
from appliance.observe.exposition import render, series
from appliance.supervisor import State
from tests.observe.stations import BLOCKED, ONLINE

NOT_BASE_UNITS = {"ms", "us", "s", "milliseconds", "minutes", "hours", "percent", "ppm", "hz", "mb", "kb", "megabytes"}


def families(report: dict[str, Any]) -> dict[str, Parsed]:
    text = render(report, State).decode()  # type: ignore[arg-type]
    return {family.name: family for family in parse(text)}


def value(report: dict[str, Any], name: str, **labels: str) -> float | None:
    """The one sample of this name and these labels; None: there is none."""
    found = [s for family in families(report).values() for s in family.samples if s.name == name and s.labels == labels]
    assert len(found) <= 1
    return float(found[0].value) if found else None


def test_every_figure_of_the_table_is_exported_but_those_of_single_voices() -> None:
    left_out = {path for path, metric in metrics().items() if series(metric) is None}
    assert left_out == {path for path in metrics() if path.startswith("mixer.per_stream")}


def test_names_are_prometheus_and_no_two_are_alike() -> None:
    exported = [how for metric in metrics().values() if (how := series(metric))]
    names = [how.name for how in exported]
    assert len(set(names)) == len(names)
    for how in exported:
        assert re.fullmatch(r"alto(_[a-z0-9]+)+", how.name)
        assert not NOT_BASE_UNITS & set(how.name.split("_"))
        assert how.name.endswith("_total") == (how.kind == "counter")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("input.callback_ms_p99", "alto_input_callback_p99_seconds"),
        ("mixer.trimmed_ms", "alto_mixer_trimmed_seconds_total"),
        ("mixer.drift_ppm", "alto_mixer_drift_ratio"),
        ("input.drift_ppm", "alto_input_drift_ratio"),
        ("network.loss_in_ratio", "alto_network_loss_in_ratio"),
        ("network.path", "alto_network_path_info"),
        ("output.rate_hz", "alto_output_rate_hertz"),
        ("process.rss_bytes", "alto_process_rss_bytes"),
        ("process.uptime_s", "alto_process_uptime_seconds"),
        ("input.frames", "alto_input_frames_total"),
        ("process.gc_stalls", "alto_process_gc_stalls_total"),
    ],
)
def test_a_figures_name_follows_from_the_table(path: str, name: str) -> None:
    how = series(metrics()[path])
    assert how is not None
    assert how.name == name


def test_values_are_in_base_units_and_words_are_labels() -> None:
    assert value(ONLINE, "alto_network_rtt_seconds") == pytest.approx(0.0042)
    assert value(ONLINE, "alto_input_level_dbfs") == -18.4
    assert value(ONLINE, "alto_network_reconnects_total") == 1
    assert value(ONLINE, "alto_network_path_info", path="udp host") == 1
    assert value(ONLINE, "alto_process_rss_bytes") == 92_000_000


def test_the_station_is_in_one_of_its_states() -> None:
    (state,) = [family for name, family in families(BLOCKED).items() if name == "alto_state"]
    assert {s.labels["state"]: s.value for s in state.samples} == {one.value: float(one == "blocked") for one in State}
    assert value(BLOCKED, "alto_state_info", reason="rejected") == 1
    assert value(BLOCKED, "alto_leg_state", leg="input", state="missing") == 1
    assert value(BLOCKED, "alto_leg_state", leg="output", state="missing") == 0
    assert value(BLOCKED, "alto_leg_state", leg="output", state="off") == 1


def test_a_configuration_that_is_not_in_force_is_told() -> None:
    name = "alto_config_last_reload_successful"
    assert value(ONLINE, name) == 1
    assert value({**ONLINE, "config_problems": ["alto.yaml:3:1: …"]}, name) == 0
    assert value({**ONLINE, "config_kept_at": 1.0}, name) == 0


def test_what_is_not_known_is_not_there() -> None:
    unknown = {**ONLINE, "metrics": {"network": {"rtt_ms": None, "loss_in_ratio": float("nan"), "path": ""}}}
    assert not [name for name in families(unknown) if name.startswith("alto_network")]
    assert value(ONLINE, "alto_token_expiry_timestamp_seconds") is None
    ends = {**ONLINE, "token_ends_at": 1_900_000_000.5}
    assert value(ends, "alto_token_expiry_timestamp_seconds") == 1_900_000_000.5


def test_nobody_in_the_room_is_named() -> None:
    voices = {"bob": {"owner": "bob", "level_dbfs": -20.0}}
    talking = {**ONLINE, "metrics": {"mixer": {"streams": 1, "per_stream": voices}}}
    assert b"bob" not in render(talking, State)  # type: ignore[arg-type]


@pytest.mark.parametrize("room", ['the "blue" room', "back\\slash", "two\nlines", "Küche 🔔", "\udcff"])
def test_any_name_is_read_back_as_it_was(room: str) -> None:
    (info,) = families({**ONLINE, "room": room})["alto_station_info"].samples
    assert info.labels["room"] == room.replace("\udcff", "?")
