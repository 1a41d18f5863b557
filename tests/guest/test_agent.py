"""What calls into the guest keep to."""

from __future__ import annotations

import pytest

from tests.guest.boot import Guest, GuestError

pytestmark = [pytest.mark.guest]


def test_a_call_that_takes_too_long_tells_where_it_stood(guest: Guest) -> None:
    with pytest.raises(GuestError, match=r"took longer than 2 s(?s:.)*in check_call"):
        guest.call("subprocess:check_call", deadline_s=2.0, args=["sleep", "30"])
