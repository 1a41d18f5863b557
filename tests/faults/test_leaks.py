"""Nothing grows beyond what is stated: memory, threads and files over many sessions and many guests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.growth import Reading, fit
from tests.faults.leaks import PARTS, Household, Part, breaches
from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.device
@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS.keys())
def test_a_station_does_not_grow_beyond_its_bounds(
    part: Part, tmp_path: Path, fresh_livekit_server: LiveKitServer, sound: VirtualSound
) -> None:
    with Household(tmp_path, fresh_livekit_server, sound) as home:
        part.happens(home, part.short.times)
        if breaches(part.short, home.growth()):
            # Pools that were still filling come to an end; what is left behind each time is left behind again.
            part.happens(home, part.short.times)
        growth = home.growth()
    assert not breaches(part.short, growth), growth


def test_a_leak_shows_as_its_slope_and_noise_does_not() -> None:
    noise = [Reading(n, 100_000 + 300 * (n % 3) + (5_000 if n < 10 else 9_000), 20 + n % 2, 40) for n in range(40)]
    leak = [Reading(one.count, one.rss_kb + 1_000 * one.count, one.threads, 40 + one.count) for one in noise]
    flat, grew = fit(noise, warm_up=10), fit(leak, warm_up=10)
    run = PARTS["left"].short
    assert not breaches(run, {"station": flat, "bare": flat})
    assert abs(grew.rss_kb_each - 1_000) < 20
    assert abs(grew.fds_each - 1) < 0.01
    assert len(breaches(run, {"station": grew, "bare": flat})) == 2


def test_one_reading_at_an_odd_moment_bends_no_line() -> None:
    odd = [Reading(n, 100_000, 6 if n == 3 else 20, 23 if n == 3 else 37) for n in range(12)]
    grew = fit(odd, warm_up=3)
    assert (grew.threads_each, grew.fds_each) == (0, 0)


def test_a_line_through_too_few_readings_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        fit([Reading(n, 1.0, 1, 1) for n in range(3)], warm_up=0)
