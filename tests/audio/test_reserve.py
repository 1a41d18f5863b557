"""When a device is asked to hold more: after accidents again and again, and never without end."""

from __future__ import annotations

from appliance.audio.reserve import ACCIDENT_S, AGAIN, TIMES_MAX, WITHIN_S, Reserve

LOOK_S = 0.25


class Device:
    """Looked at four times a second for so long; it has an accident each `every_s`."""

    def __init__(self) -> None:
        self.reserve = Reserve()
        self.counted = 0
        self.now_s = 100.0

    def runs(self, seconds: float, *, every_s: float, each: int = 1) -> int:
        """How often it was asked to hold more."""
        grown, due_s, end_s = 0, self.now_s, self.now_s + seconds
        while self.now_s < end_s:
            if self.now_s >= due_s:
                self.counted += each
                due_s += every_s
            grown += self.reserve.look(self.counted, self.now_s)
            self.now_s += LOOK_S
        return grown


def test_what_runs_dry_each_second_is_given_more_until_it_is_enough() -> None:
    device = Device()
    assert device.runs(AGAIN * ACCIDENT_S, every_s=ACCIDENT_S) == 1
    assert device.reserve.times == 2
    assert device.runs(60, every_s=100) == 0


def test_it_is_never_given_more_than_helps() -> None:
    device = Device()
    device.runs(300, every_s=ACCIDENT_S)
    assert device.reserve.times == TIMES_MAX


def test_one_bad_moment_is_one_accident_however_many_are_counted() -> None:
    device = Device()
    assert device.runs(ACCIDENT_S, every_s=LOOK_S, each=50) == 0
    assert device.runs(60, every_s=100) == 0
    assert device.reserve.times == 1


def test_what_happens_seldom_is_left_alone() -> None:
    assert Device().runs(3600, every_s=WITHIN_S / (AGAIN - 1) + LOOK_S) == 0
    assert Device().runs(WITHIN_S + 1, every_s=WITHIN_S / (AGAIN - 1) - LOOK_S) == 1


def test_what_was_counted_before_it_was_opened_is_no_accident_of_now() -> None:
    device = Device()
    device.runs((AGAIN - 1) * ACCIDENT_S, every_s=ACCIDENT_S)
    device.counted += 1
    device.reserve.opened(device.counted)
    assert device.runs(1, every_s=100) == 0
    assert device.reserve.times == 1


def test_another_device_begins_with_what_is_usual() -> None:
    device = Device()
    device.runs(10, every_s=ACCIDENT_S)
    device.reserve.begin_anew()
    assert device.reserve.times == 1
