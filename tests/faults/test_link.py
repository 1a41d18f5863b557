"""A station loses its link in the middle of a call: the cable, the interface, or what lies between."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rows
from tests.faults.programme import perform
from tests.harness.netns import NEEDS_ROOT, may_make_networks
from tests.harness.sound import VirtualSound

pytestmark = [
    pytest.mark.slow,
    pytest.mark.server,
    pytest.mark.device,
    pytest.mark.skipif(not may_make_networks(), reason=NEEDS_ROOT),
]


def test_a_link_that_breaks_is_noticed_and_the_call_is_back_soon_after_it_is_mended(
    tmp_path: Path, sound: VirtualSound
) -> None:
    out_of_the_wall = (rows.PULLED_20, rows.PULLED_3, rows.DOWN_3)
    elsewhere = (rows.SWALLOWED_20, rows.DOWN_20)
    print(perform(tmp_path, sound, out_of_the_wall, elsewhere))
