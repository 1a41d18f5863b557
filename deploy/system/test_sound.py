"""Sound cards under a station in its sandbox: pulled and put back elsewhere, taken by other programs, made quieter."""

from __future__ import annotations

from typing import Final

from asked import journal, until_it_says, until_online
from conftest import STATION
from machine import Machine

DRIVER: Final = "/sys/bus/platform/drivers/snd_aloop"
PULL: Final = "(echo snd_aloop.{0} > " + DRIVER + "/unbind) & sleep 0.2"
PUT: Final = "echo snd_aloop.{0} > " + DRIVER + "/bind"
HOLDERS: Final = "find /proc/[0-9]*/fd -lname /dev/snd/pcmC0D1c 2>/dev/null"
SUBDEVICES: Final = 2
"""Programs that a loopback card serves at once, as the machine is started."""

RECOVERED: Final = '.event == "audio.recovered"'
OPEN: Final = "find /proc/[0-9]*/fd -lname '/dev/snd/pcm*' -printf '%l\\n' 2>/dev/null | sort -u"
TONE: Final = "speaker-test -D plughw:CARD=Loopback -c 1 -t sine -f 600 >/dev/null & echo $!"
WITH_VOLUME: Final = STATION.replace('DEV=1"}', 'DEV=1", volume: 0.5}')


def test_a_card_that_comes_back_under_another_index_is_used_again(running: Machine) -> None:
    assert "/dev/snd/pcmC1D0p" in running.run(OPEN)
    before = len(journal(running, RECOVERED))  # the cards may have come after the station
    running.run(f"{PULL.format(2)}; {PULL.format(1)}")
    until_it_says(running, '.legs.output.state == "missing"')
    running.run(PUT.format(2))
    assert "2 [Loopback_1" in running.run("cat /proc/asound/cards")
    until_it_says(running, '.legs.output.state == "ok"')
    assert "/dev/snd/pcmC2D0p" in running.run(OPEN)
    assert {line["leg"] for line in journal(running, RECOVERED)[before:]} == {"output"}

    running.run(f"{PULL.format(2)}; sleep 0.5; {PUT.format(1)}; {PUT.format(2)}")
    until_it_says(running, '.legs.output.state == "ok"')


def test_a_card_that_other_programs_hold_is_named_busy_and_taken_when_it_is_free(running: Machine) -> None:
    held = "plughw:CARD=Loopback,DEV=1"
    running.run("systemctl stop alto")
    take = f"arecord -q -D {held} /dev/null >/dev/null 2>&1 & echo $!"
    holders = running.run("\n".join([take] * SUBDEVICES))
    running.until(f"test $({HOLDERS} | wc -l) = {SUBDEVICES}", 30, "the other programs to have all of it")
    running.run("systemctl start alto")
    told = until_it_says(running, '.legs.input.reason == "device_busy"', 180)
    assert isinstance(told["legs"], dict)
    assert held in told["legs"]["input"]["detail"]
    running.run(f"kill {' '.join(holders.split())}")
    until_it_says(running, '.legs.input.state == "ok"')
    until_online(running)


def test_a_volume_that_is_saved_on_the_card_is_heard_at_once(running: Machine) -> None:
    player = running.run(TONE).strip()
    try:
        level = steady_level_dbfs(running)
        save_on_card(running, WITH_VOLUME)
        until_it_says(running, f".metrics.input.level_dbfs - {level} + 6.02 | fabs < 0.5")
    finally:
        running.run(f"kill {player}")
        save_on_card(running, STATION)


def steady_level_dbfs(machine: Machine) -> float:
    """Of the microphone, when it does not change any more: the first look has silence from before the tone in it."""
    before = -200.0
    while True:
        metrics = until_it_says(machine, ".metrics.input.level_dbfs > -40")["metrics"]
        assert isinstance(metrics, dict)
        level = float(metrics["input"]["level_dbfs"])
        if abs(level - before) < 0.1:
            return level
        before = level


def save_on_card(machine: Machine, text: str) -> None:
    (machine.share / "alto.yaml").write_text(text)
    machine.run("EDITOR='cp /host/alto.yaml' alto-card edit")
