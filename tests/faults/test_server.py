"""The server dies, freezes, is restarted, forgets the room or changes its keys in the middle of a call."""

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


def test_whatever_the_server_does_the_call_comes_back_and_the_log_says_so_once(
    tmp_path: Path, sound: VirtualSound
) -> None:
    dies = (rows.KILLED_2, rows.KILLED_30)
    hangs_and_changes = (rows.FROZEN_20, rows.DRAINED, rows.DELETED, rows.OTHER_KEYS)
    print(perform(tmp_path, sound, dies, hangs_and_changes))
