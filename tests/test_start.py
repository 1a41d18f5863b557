"""What a start costs: alto's own code, beside the SDK that it loads."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

SDK: Final = "import livekit.rtc"
STATION: Final = f"from appliance import cli; cli.leave_out_what_no_station_needs(); {SDK}; import appliance.run"
"""As `alto run` loads it."""

MOST_MODULES: Final = 290
"""That a station loads beyond the SDK's 347: 272, 101 of them our own; 353 with what no station needs."""

MOST_COLLECTIONS: Final = 60
"""20 are made until we come to switch them off; 191 in all where nobody does."""


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def modules(code: str) -> int:
    return int(said(f"{code}; import sys; print(len(sys.modules))"))


def test_alto_itself_loads_few_modules_beyond_the_sdk() -> None:
    assert modules(STATION) - modules(SDK) <= MOST_MODULES


def test_nothing_is_collected_while_a_station_loads() -> None:
    """Half of what loading costs: each collection looks through all that is loaded for good."""
    assert (
        int(said(f"{STATION}; import gc; print(sum(one['collections'] for one in gc.get_stats()))")) <= MOST_COLLECTIONS
    )


@pytest.mark.parametrize("module", ["aiohttp", "livekit.api", "rich.console", "pycparser", "appliance.doctor"])
def test_a_station_does_not_load_what_it_never_uses(module: str) -> None:
    assert said(f"{STATION}; import sys; print({module!r} in sys.modules)").strip() == "False"
