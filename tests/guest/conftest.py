"""One booted guest for all its tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.guest.boot import HOW_TO_GET_ONE, KERNEL_VARIABLE, Guest


@pytest.fixture(scope="session")
def guest() -> Iterator[Guest]:
    """A kernel with sound cards; without one these scenarios cannot run here, and say so."""
    if not os.environ.get(KERNEL_VARIABLE):
        pytest.skip(HOW_TO_GET_ONE)
    with Guest() as booted:
        yield booted
