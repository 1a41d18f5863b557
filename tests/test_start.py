"""What a start costs: alto's own code, beside the SDK that it loads."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Final

import pytest

SDK: Final = "import livekit.rtc, livekit.api"
STATION: Final = f"from appliance import cli; cli.leave_out_what_no_station_needs(); {SDK}; import appliance.run"
"""As `alto run` loads it."""

MOST: Final = 1.1
"""A station's loading, in loadings of the SDK as anybody loads it: 0.87 measured, 1.40 with the collector and with all
libraries; each within 0.01 in three runs. Both in processor time, which a busy machine stretches alike."""

ROUNDS: Final = 7


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def processor_s(code: str) -> float:
    """Of a whole process that loads this, the interpreter's own start included."""
    return float(said(f"{code}; import time; print(time.process_time())"))


def test_alto_itself_loads_in_a_fraction_of_what_the_sdk_takes() -> None:
    both = [(processor_s(STATION), processor_s(SDK)) for _ in range(ROUNDS)]
    station_s, sdk_s = (statistics.median(column) for column in zip(*both, strict=True))
    assert station_s / sdk_s < MOST, f"{1000 * station_s:.0f} ms, the SDK alone {1000 * sdk_s:.0f} ms"


@pytest.mark.parametrize("module", ["rich.console", "pycparser", "appliance.doctor"])
def test_a_station_does_not_load_what_it_never_uses(module: str) -> None:
    assert said(f"{STATION}; import sys; print({module!r} in sys.modules)").strip() == "False"
