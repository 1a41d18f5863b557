"""A station under systemd: in its sandbox, watched, configured by files that change, with cards that come and go."""

from __future__ import annotations

import json

import pytest
from asked import journal, show, until_online
from machine import Machine

SECRET = "hush-hush-0123456789-abcdefghijklmnop"  # noqa: S105 (made up)


def systemd(machine: Machine) -> int:
    """Its version."""
    return int(machine.run("systemctl --version").split()[1])


def test_the_sandbox_is_in_force(running: Machine) -> None:
    pid = show(running, "MainPID")
    status = dict(line.split(":", 1) for line in running.run(f"cat /proc/{pid}/status").splitlines())
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert int(status["CapBnd"], 16) == int(status["CapEff"], 16) == 0
    assert running.run(f"stat -c %U /proc/{pid}").strip() == "alto"
    inside = f"nsenter -m -t {pid} --"
    assert "ro" in running.run(f"{inside} findmnt -no OPTIONS -T /etc").split(",")
    running.run("systemd-analyze security --threshold=19 --no-pager alto.service")


def test_the_audio_threads_are_real_time(running: Machine) -> None:
    policies = running.run(f"ps -L -o cls= -p {show(running, 'MainPID')}").split()
    assert policies.count("RR") + policies.count("FF") >= 2, policies


def test_every_line_of_the_journal_is_json_and_has_its_priority(running: Machine) -> None:
    running.run("journalctl -b -t alto -o cat | jq -e . >/dev/null")
    lines = running.run("journalctl -b -t alto -o json").splitlines()
    priorities = {"debug": "7", "info": "6", "warning": "4", "error": "3"}
    for line in lines:
        entry = json.loads(line)
        assert entry["PRIORITY"] == priorities[json.loads(entry["MESSAGE"])["level"]], entry["MESSAGE"]


def test_nothing_listens_but_webrtc_for_the_calls_media(running: Machine) -> None:
    pid = show(running, "MainPID")
    for line in running.run("ss -Htlnp").splitlines():
        address = line.split()[3]
        media = f"pid={pid}," in line or ("livekit-server" in line and address == "*:7881")
        assert address.startswith("127.0.0.1:") or media, line


def test_memory_stays_below_its_bound(running: Machine) -> None:
    rss_kib = int(running.run(f"awk '/^VmRSS/ {{print $2}}' /proc/{show(running, 'MainPID')}/status"))
    assert rss_kib < 120 * 1024


def test_a_mistake_on_the_card_is_told_beside_it_and_changes_nothing(running: Machine) -> None:
    running.run("EDITOR='sed -i s/^identity/identiti/' alto-card edit; test $? = 78")
    try:
        running.until("grep -q 'line 1: identiti: unknown key' /boot/firmware/alto.status.txt", 120, "the verdict")
        assert until_online(running)["identity"] == "kitchen"
    finally:
        running.run("EDITOR='sed -i s/^identiti/identity/' alto-card edit")
    running.until("grep -q 'is valid and in use' /boot/firmware/alto.status.txt", 120, "the verdict")


def test_a_new_file_is_taken_by_the_station_that_runs_and_its_secret_leaves_the_card(running: Machine) -> None:
    applied = len(journal(running, '.event == "config.applied"'))
    more = f"\\n  token_endpoint_headers: {{X-Key: {SECRET}}}"
    editor = f"""sed -i -e 's/^livekit: .*/livekit:\\n  url: embedded{more}/' -e 's/interval_s: 5/interval_s: 7/'"""
    running.run(
        f"printf '%s\\n' '#!/bin/sh' \"$(cat <<'X'\nexec {editor} \"$1\"\nX\n)\" > /run/editor; chmod +x /run/editor"
    )
    running.run("EDITOR=/run/editor alto-card edit")
    running.until(
        f"test $(journalctl -b -t alto -o cat | grep -c config.applied) -gt {applied}", 60, "the change to be in force"
    )
    assert SECRET in running.run("cat /var/lib/alto/alto.yaml")
    assert running.run("stat -c '%U %a' /var/lib/alto/alto.yaml").split() == ["alto", "600"]
    assert SECRET not in running.run("cat /boot/firmware/*; journalctl -b -o cat -u alto -u alto-card")


def test_reload_ends_when_the_station_is_ready_again(running: Machine) -> None:
    assert show(running, "Type") == ("notify-reload" if systemd(running) >= 253 else "notify")
    pid = show(running, "MainPID")
    running.run("systemctl reload alto", 60)
    assert show(running, "MainPID") == pid
    assert show(running, "ActiveState") == "active"


def test_a_station_that_stands_still_is_ended_and_started_again(running: Machine) -> None:
    restarts = int(show(running, "NRestarts"))
    running.run(f"kill -STOP {show(running, 'MainPID')}")
    running.until(f"test $(systemctl show --value -p NRestarts alto) -gt {restarts}", 90, "the watchdog")
    until_online(running)


def test_a_full_disk_does_not_end_the_call(running: Machine) -> None:
    pid = show(running, "MainPID")
    running.run("fallocate -l $(df --output=avail -B1 / | tail -1) /var/tmp/all; df / | tail -1")
    try:
        running.run("systemctl reload alto", 60)
        assert until_online(running)["pid"] == int(pid)
        running.run("systemctl restart alto", 60)
        until_online(running)
    finally:
        running.run("rm /var/tmp/all")


def test_a_secret_that_systemd_hands_in_needs_no_file_of_ours(running: Machine) -> None:
    if systemd(running) < 254:
        pytest.skip("systemd before 254 has no ImportCredential: there it is livekit.api_secret_file")
    running.run(f"mkdir -p /etc/credstore; umask 077; printf %s {SECRET} > /etc/credstore/alto.api_secret")
    running.run("systemctl restart alto", 60)
    told = running.run(f"nsenter -m -t {show(running, 'MainPID')} -- ls /run/credentials/alto.service")
    assert "alto.api_secret" in told
    running.run("rm /etc/credstore/alto.api_secret; systemctl restart alto", 60)
    until_online(running)
