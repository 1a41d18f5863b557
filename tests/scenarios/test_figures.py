"""What Prometheus sees of a real station, from its first call to its next address."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.harness.ports import free_ports
from tests.harness.wait import until
from tests.scenarios.conftest import Call

pytestmark = [pytest.mark.slow, pytest.mark.server, pytest.mark.device]


def figures(port: int) -> dict[str, float]:
    """By name and labels as they are written."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        families = parse(answer.read().decode())
    return {
        ",".join([sample.name, *sample.labels.values()]): sample.value
        for family in families
        for sample in family.samples
    }


def test_prometheus_sees_a_call_a_refused_file_and_the_way_to_the_next_address(call: Call) -> None:
    first, second = free_ports(2)
    station = call.station("kitchen", metrics={"interval_s": 1, "listen": f"127.0.0.1:{first}"})
    call.peer("bob")
    seen = until(lambda: (now := figures(first)).get("alto_network_participants") and now, 10, "bob is counted")
    assert seen["alto_state,online"] == 1
    assert seen["alto_leg_state,input,ok"] == 1
    assert seen["alto_config_last_reload_successful"] == 1
    assert "alto_token_expiry_timestamp_seconds" not in seen  # it makes its own tokens
    until(lambda: figures(first)["alto_input_blocks_total"] > seen["alto_input_blocks_total"], 5, "the counters move")

    good = station.config_path.read_text()
    station.config_path.write_text(good.replace("audio:", "audoi:"))
    until(lambda: figures(first)["alto_config_last_reload_successful"] == 0, 5, "the refused file is seen")
    station.config_path.write_text(good.replace(str(first), str(second)))
    station.wait_event("exporter.listening", 5, address=f"127.0.0.1:{second}")
    assert figures(second)["alto_config_last_reload_successful"] == 1
    with pytest.raises(urllib.error.URLError):
        figures(first)
    assert not station.events("state.changed", to="recovering")
