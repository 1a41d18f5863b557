"""The worlds that the room's contract suites run in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contracts.rooms import FakeWorld, RealWorld, World


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
    else:
        yield RealWorld(request.getfixturevalue("livekit_server"), direct=request.param == "real")


@pytest.fixture
def mortal_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """A server of the test's own, to be killed."""
    if request.param == "fake":
        yield FakeWorld()
    else:
        yield RealWorld(request.getfixturevalue("fresh_livekit_server"))
