"""What several files of fault tests begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.home import Home
from tests.harness.server import LiveKitServer
from tests.harness.sound import VirtualSound


@pytest.fixture
def home(tmp_path: Path, livekit_server: LiveKitServer, sound: VirtualSound) -> Iterator[Home]:
    """A room of its own; everything in it ends with the test."""
    one = Home(tmp_path, livekit_server, sound)
    try:
        yield one
    finally:
        one.close()
