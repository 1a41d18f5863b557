"""`deploy/dev run`: a measured call that takes nothing else with it and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.harness.call import real_card
from tests.harness.processes import descendants, is_running
from tests.harness.wait import until

ROOT: Final = Path(__file__).resolve().parents[2]
FRESH: Final = ("ALSA_CONFIG_PATH", "PULSE_SERVER", "PULSE_COOKIE")  # of this run's own virtual card


def start_call(*words: str) -> subprocess.Popen[str]:
    env = {key: value for key, value in os.environ.items() if key not in FRESH}
    command = [sys.executable, "-m", "tests.harness.call", "--virtual", *words]
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.device
def test_two_calls_side_by_side_are_heard_and_write_nothing_but_json_and_a_summary() -> None:
    running = [start_call("--seconds", "8") for _ in range(2)]
    for call in running:
        out, err = call.communicate(timeout=90)
        lines = out.splitlines()
        summary = [line for line in lines if line.startswith("# ")]
        assert call.returncode == 0, f"{out}\n{err}"
        assert err == ""
        assert [line for line in lines if line not in summary and not is_json(line)] == []
        assert len(summary) <= 8
        for listener, speaker in (("porch", "kitchen"), ("kitchen", "porch")):
            told = re.search(rf"{listener} heard {speaker}: .* mouth to ear p50 (\d+) ms, p95 (\d+) ms", out)
            assert told, out
            assert 20 < int(told.group(1)) < 500


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.device
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_call_that_is_interrupted_takes_all_its_processes_along(number: signal.Signals) -> None:
    call = start_call()
    assert call.stdout is not None
    with call:
        for line in call.stdout:
            if '"station": "porch"' in line and '"to": "online"' in line:
                break
        family = descendants(call.pid)
        assert len(family) >= 4, "PulseAudio, two stations, a server"
        call.send_signal(number)
        call.communicate(timeout=20)
    until(lambda: not any(is_running(pid) for pid in family), 5.0, f"the end of {family}")


def test_a_sound_card_is_recognised_by_the_kernels_listing(tmp_path: Path) -> None:
    listing = tmp_path / "cards"
    assert real_card(listing) is None
    listing.write_text("--- no soundcards ---\n")
    assert real_card(listing) is None
    listing.write_text(" 0 [Headset        ]: USB-Audio - Logi USB Headset\n                      Logi USB Headset\n")
    assert real_card(listing) == "USB-Audio - Logi USB Headset"
