"""What the doctor finds on boxes with one thing wrong, and on healthy ones."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.doctor import Context, Result, Verdict, as_json, box, checks, exit_code, render, run_checks
from appliance.doctor.probes import Disk, Machine, Software, SoundNode
from appliance.errors import Rejected
from appliance.observe import client
from appliance.ports import DeviceInfo, Direction, Grant
from appliance.settings.load import Loaded, load
from appliance.settings.model import Settings
from tests.harness.aio import run
from tests.harness.server import LiveKitServer
from tests.observe.stations import BLOCKED, ONLINE

USB = DeviceInfo(
    pcm="plughw:CARD=Device",
    name="USB Speakerphone",
    card_id="Device",
    input_channels=1,
    output_channels=2,
    default=True,
)
SETTINGS = Settings.model_validate({"identity": "kitchen", "livekit": {"url": "ws://127.0.0.1:1", "api_key": "k"}})


def with_audio(**audio: Any) -> Settings:
    return Settings.model_validate({"livekit": {"url": "ws://127.0.0.1:1"}, "audio": audio})


def only(results: Sequence[Result]) -> Result:
    assert len(results) == 1, results
    return results[0]


def verdict(results: Sequence[Result]) -> str:
    return only(results).verdict.value


# ---- decisions: the station and its sound ---------------------------------------------------------------------------


def test_a_station_that_is_online_is_well_and_one_that_is_not_tells_its_own_fix() -> None:
    assert verdict(checks.station([ONLINE])) == "ok"
    found = only(checks.station([BLOCKED]))
    assert found.verdict == "fail"
    assert "blocked for 41 s: the server refuses the key" in found.found
    assert found.fix == "check livekit.api_key and livekit.api_secret"


def test_two_stations_of_one_name_are_told_to_take_two_names() -> None:
    found = only(checks.station([{**BLOCKED, "reason": "evicted"}]))
    assert "give one of the two another identity" in found.fix


def test_no_station_is_a_warning_and_one_that_hangs_a_failure() -> None:
    assert verdict(checks.station(client.NoStation("none", fix="start it"))) == "warn"
    assert verdict(checks.station(client.StationSilent("hangs", fix="look"))) == "fail"
    assert verdict(checks.station([])) == "fail"


def test_a_saved_file_that_is_not_in_force_is_told() -> None:
    found = checks.station([{**ONLINE, "config_problems": ["alto.yaml:3:1: rom: unknown key"]}])
    assert [result.verdict for result in found] == [Verdict.OK, Verdict.FAIL]
    assert "alto.yaml:3:1" in found[1].found


def test_without_the_group_audio_that_is_what_is_told() -> None:
    found = only(checks.sound_devices([], [SoundNode("/dev/snd/pcmC1D0c", usable=False)]))
    assert found.verdict == "fail"
    assert "usermod -aG audio" in found.fix
    assert verdict(checks.sound_devices([], [])) == "fail"
    assert "USB Speakerphone" in only(checks.sound_devices([USB], [SoundNode("/dev/snd/pcmC1D0c", True)])).found


def test_a_microphone_is_found_missing_busy_or_in_the_stations_own_hands() -> None:
    missing = with_audio(input={"device": "Headset"})
    assert "Headset" in only(checks.device(Direction.INPUT, missing, [USB], [])).found
    assert verdict(checks.device(Direction.INPUT, missing, [USB], [])) == "fail"
    busy = replace(USB, busy="firefox (4711)")
    assert "firefox" in only(checks.device(Direction.INPUT, SETTINGS, [busy], [])).found
    assert verdict(checks.device(Direction.INPUT, SETTINGS, [busy], [ONLINE])) == "ok"
    assert verdict(checks.device(Direction.INPUT, SETTINGS, [USB], [])) == "ok"
    assert verdict(checks.device(Direction.INPUT, with_audio(input={"enabled": False}), [USB], [])) == "skip"
    assert verdict(checks.device(Direction.OUTPUT, SETTINGS, [], [])) == "skip"


AMIXER = """\
Simple mixer control 'Speaker',0
  Capabilities: pvolume pswitch pswitch-joined
  Playback channels: Front Left - Front Right
  Limits: Playback 0 - 37
  Mono:
  Front Left: Playback 20 [54%] [-17.00dB] [on]
  Front Right: Playback 20 [54%] [-17.00dB] [on]
Simple mixer control 'Mic',0
  Capabilities: pvolume cvolume cvolume-joined pswitch pswitch-joined cswitch cswitch-joined
  Playback channels: Mono
  Capture channels: Mono
  Limits: Playback 0 - 31 Capture 0 - 35
  Mono: Playback 23 [74%] [-12.00dB] [off] Capture 19 [54%] [10.00dB] [on]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [off]
"""


@pytest.mark.parametrize(
    ("direction", "said", "expected"),
    [
        (Direction.INPUT, AMIXER, "ok"),
        (Direction.OUTPUT, AMIXER, "ok"),
        (Direction.INPUT, AMIXER.replace("[10.00dB] [on]", "[10.00dB] [off]"), "warn"),
        (Direction.INPUT, AMIXER.replace("19 [54%]", "0 [0%]"), "warn"),
        (Direction.OUTPUT, AMIXER.replace("[-17.00dB] [on]", "[-17.00dB] [off]"), "warn"),
        (Direction.OUTPUT, "", "ok"),
        (Direction.OUTPUT, None, "skip"),
    ],
)
def test_a_muted_card_is_found_in_what_amixer_says(direction: Direction, said: str | None, expected: str) -> None:
    found = only(checks.mixer(direction, "Device", said))
    assert found.verdict == expected
    if expected == "warn":
        assert found.fix.startswith("amixer -c Device sset ")


def look(**figures: dict[str, Any]) -> dict[str, Any]:
    return {**ONLINE, "metrics": figures}


def test_a_microphone_without_even_noise_is_taken_for_muted() -> None:
    dead = [look(input={"open": True, "level_dbfs": -96.0})] * 3
    noisy = [look(input={"open": True, "level_dbfs": level}) for level in (-96.0, -58.0, -90.0)]
    closed = [look(input={"open": False, "level_dbfs": -96.0})]
    first = [checks.levels(SETTINGS, looks)[0].verdict.value for looks in (dead, noisy, closed, [])]
    assert first == ["warn", "ok", "skip", "skip"]


def test_a_volume_of_zero_is_told() -> None:
    for audio, word in (
        ({"output": {"volume": 0.0}}, "audio.output.volume"),
        ({"input": {"volume": 0.0}}, "audio.input.volume"),
        ({"volumes": {"bob": 0.0}}, "silences bob"),
    ):
        found = checks.levels(with_audio(**audio), [])[1]
        assert found.verdict == "warn"
        assert word in found.found
    assert checks.levels(SETTINGS, [])[1].verdict == "ok"


def test_an_echo_is_asked_about_where_nothing_keeps_it_away() -> None:
    cancelled = with_audio(input={"processing": {"echo_cancellation": True}})
    for settings, expected, word in (
        (SETTINGS, "skip", "audio.duplex: half"),
        (cancelled, "ok", "kept away"),
        (with_audio(duplex="half"), "ok", "kept away"),
        (with_audio(output={"enabled": False}), "skip", "none without both"),
    ):
        found = only(checks.echo(settings))
        assert (found.verdict, word in found.found) == (expected, True)


def test_a_call_that_breaks_up_right_now_is_told() -> None:
    def quality(first: dict[str, Any], last: dict[str, Any]) -> str:
        return verdict(checks.quality([look(**first), look(**last)]))

    assert quality({"mixer": {"underruns": 3}}, {"mixer": {"underruns": 3}}) == "ok"
    assert quality({"mixer": {"underruns": 3}}, {"mixer": {"underruns": 5}}) == "warn"
    assert quality({}, {"network": {"loss_in_ratio": 0.2}}) == "warn"
    assert verdict(checks.quality([])) == "skip"


# ---- decisions: the box ---------------------------------------------------------------------------------------------

NOON = 1_795_521_600.0


@pytest.mark.parametrize(
    ("now", "synchronised", "server", "expected"),
    [
        (NOON, True, NOON, "ok"),
        (NOON, False, NOON + 5, "ok"),
        (NOON, True, NOON + 3600, "fail"),
        (NOON, False, None, "warn"),
        (NOON, None, None, "ok"),
        (0.0, False, None, "fail"),
    ],
)
def test_a_clock_that_would_cost_the_token_is_told(
    now: float, synchronised: bool | None, server: float | None, expected: str
) -> None:
    assert verdict(box.clock(now, synchronised, server)) == expected


@pytest.mark.parametrize(
    ("flags", "expected"), [(None, "skip"), (0, "ok"), (0x50005, "fail"), (0x50000, "warn"), (0x4, "warn")]
)
def test_a_weak_supply_is_told(flags: int | None, expected: str) -> None:
    assert verdict(box.power(flags)) == expected


@pytest.mark.parametrize(
    ("software", "expected"),
    [
        (Software((3, 11), 64, "aarch64", ("glibc", "2.36")), "ok"),
        (Software((3, 11), 32, "armv7l", ("glibc", "2.36")), "fail"),
        (Software((3, 9), 64, "aarch64", ("glibc", "2.31")), "fail"),
        (Software((3, 12), 64, "x86_64", ("", "")), "fail"),
        (Software((3, 12), 64, "x86_64", ("glibc", "2.27")), "fail"),
    ],
)
def test_a_system_that_the_sdk_does_not_run_on_is_told(software: Software, expected: str) -> None:
    assert verdict(box.software(software)) == expected


def test_heat_memory_disk_journal_and_network_are_judged() -> None:
    assert [verdict(box.temperature(c)) for c in (None, 55.0, 84.0)] == ["skip", "ok", "warn"]
    assert [verdict(box.memory(m)) for m in (None, 10**9, 10**7)] == ["skip", "ok", "warn"]
    disks = (None, Disk(Path("/s"), 10**9, True), Disk(Path("/s"), 10**6, True), Disk(Path("/s"), 10**9, False))
    assert [verdict(box.state_directory(d, needed=True)) for d in disks] == ["skip", "ok", "warn", "fail"]
    assert verdict(box.state_directory(disks[3], needed=False)) == "warn"
    assert [verdict(box.journal(j)) for j in (None, True, False)] == ["skip", "ok", "warn"]
    assert [verdict(box.network(up)) for up in (["eth0"], [])] == ["ok", "fail"]


def test_what_answers_is_told_apart_from_livekit() -> None:
    url = "wss://host.example"
    answers = (box.Answer(200, "OK"), box.Answer(200, "<html>"), box.Answer(502, "bad gateway"), box.Answer(302, ""))
    assert [verdict(box.server(url, answer)) for answer in answers] == ["ok", "fail", "fail", "fail"]
    tokens = (box.Answer(200, "success"), box.Answer(401, "invalid API key: k"), box.Answer(404, ""))
    assert [verdict(box.token(url, answer)) for answer in tokens] == ["ok", "fail", "skip"]
    assert "livekit.api_key" in only(box.token(url, tokens[1])).fix


# ---- probes on a machine made of files ------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path) -> Callable[..., Machine]:
    def make(**files: str) -> Machine:
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Machine(tmp_path)

    return make


def test_a_machine_is_read_from_its_files(machine: Callable[..., Machine], tmp_path: Path) -> None:
    pi = machine(
        sys__class__net__lo__operstate="unknown\n",
        sys__class__net__wlan0__operstate="up\n",
        sys__class__net__eth0__operstate="down\n",
        sys__class__thermal__thermal_zone0__temp="48312\n",
        sys__class__thermal__thermal_zone1__temp="51000\n",
        sys__devices__platform__soc__x="",
        proc__meminfo="MemTotal: 400000 kB\nMemAvailable: 300000 kB\n",
        dev__snd__pcmC0D0p="",
        dev__snd__controlC0="",
        run__systemd__timesync__synchronized="",
    )
    assert pi.interfaces_up() == ["wlan0"]
    assert pi.temperature_c() == 51.0
    assert pi.memory_available_bytes() == 300_000 * 1024
    assert pi.sound_nodes() == [SoundNode("/dev/snd/pcmC0D0p", usable=True)]
    assert pi.clock_synchronised() is True
    assert pi.power_flags() is None
    assert pi.journal() is None
    disk = pi.disk(tmp_path / "var" / "lib" / "alto")
    assert disk is not None
    assert disk.writable


def test_the_firmwares_complaints_are_read_where_a_pi_has_them(tmp_path: Path) -> None:
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware/get_throttled"
    firmware.parent.mkdir(parents=True)
    firmware.write_text("50005\n")
    assert Machine(tmp_path).power_flags() == 0x50005
    firmware.unlink()
    hwmon = tmp_path / "sys/class/hwmon/hwmon1"
    hwmon.mkdir(parents=True)
    (hwmon / "name").write_text("rpi_volt\n")
    (hwmon / "in0_lcrit_alarm").write_text("1\n")
    assert Machine(tmp_path).power_flags() == 1


def test_a_journal_that_listens_and_one_that_does_not_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "run/systemd/journal").mkdir()
    assert Machine(tmp_path).journal() is False
    with socket.socket(socket.AF_UNIX) as journald:
        journald.bind(os.fspath(tmp_path / "run/systemd/journal/stdout"))
        journald.listen()
        assert Machine(tmp_path).journal() is True


def test_this_machine_can_be_looked_at() -> None:
    here = Machine()
    assert here.software().bits == 64
    assert (here.memory_available_bytes() or 0) > 0
    assert here.clock_synchronised() in (True, False, None)
    assert isinstance(here.interfaces_up(), list)
    assert here.mixer("no-such-card") is None
    here.power_flags()
    here.temperature_c()


# ---- the whole examination ------------------------------------------------------------------------------------------


def config_of(tmp_path: Path, text: str) -> Callable[[], Loaded]:
    path = tmp_path / "alto.yaml"
    path.write_text(text)
    path.chmod(0o600)
    return lambda: load(path, flags={}, env={})


async def no_grant(_settings: Settings) -> Grant:
    raise Rejected("no token", fix="make one")


def no_station(_path: Path) -> list[dict[str, Any]]:
    raise client.NoStation("no station runs", fix="start it")


def context(tmp_path: Path, yaml: str, machine: Machine | None = None, **more: Any) -> Context:
    whole: dict[str, Any] = {
        "load": config_of(tmp_path, yaml),
        "socket": lambda: tmp_path / "s.sock",
        "devices": lambda: [USB],
        "grant": no_grant,
        "embedded_binary": lambda _settings: "/usr/bin/livekit-server",
        "state_dir": tmp_path,
        "station": no_station,
        "machine": machine or Machine(tmp_path),
        **more,
    }
    return Context(**whole)


def by_check(results: Sequence[Result]) -> dict[str, Result]:
    return {result.check: result for result in results}


EMBEDDED = "livekit: {url: embedded}\n"


def test_a_healthy_box_with_its_own_server_has_no_problems(tmp_path: Path) -> None:
    (tmp_path / "sys/class/net/eth0").mkdir(parents=True)
    (tmp_path / "sys/class/net/eth0/operstate").write_text("up")
    results = run(run_checks(context(tmp_path, EMBEDDED, station=lambda _: [ONLINE, ONLINE])))
    assert exit_code(results) == 0, render(results)
    assert [result.check for result in results][:3] == ["configuration", "station", "sound devices"]


def test_a_broken_file_is_the_first_problem_and_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    results = run(run_checks(context(tmp_path, "room: home\nlivekit: {url: 7}\naudio: {inptu: 1}\n")))
    assert exit_code(results) == 78
    assert results[0].check == "configuration"
    assert "alto.yaml:2" in results[0].found
    assert results[0].fix
    assert by_check(results)["server"].verdict == "skip"
    assert by_check(results)["sound devices"].verdict == "ok"


def test_the_embedded_server_without_its_program_is_a_problem(tmp_path: Path) -> None:
    def missing(_settings: Settings) -> object:
        raise Rejected("no livekit-server", fix="deploy/dev setup")

    results = by_check(run(run_checks(context(tmp_path, EMBEDDED, embedded_binary=missing))))
    assert results["server"] == Result("server", Verdict.FAIL, "no livekit-server", "deploy/dev setup")


@pytest.mark.slow
def test_a_look_that_hangs_or_breaks_costs_its_own_result_only(tmp_path: Path) -> None:
    never = threading.Event()

    def hangs() -> list[DeviceInfo]:
        never.wait(30)
        return []

    def breaks(_path: Path) -> list[dict[str, Any]]:
        raise KeyError("what")

    began = time.monotonic()
    results = by_check(run(run_checks(context(tmp_path, EMBEDDED, devices=hangs, station=breaks))))
    never.set()
    assert time.monotonic() - began < 8
    assert results["sound devices"].found == "no answer within 3 s"
    assert "this check itself failed: KeyError" in results["station"].found
    assert results["software"].verdict in ("ok", "fail")


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


KEYS = "api_key: key, api_secret: secretsecretsecretsecretsecretsecret"


def server_yaml(url: str) -> str:
    return f'livekit: {{url: "{url}", {KEYS}}}\n'


def test_a_server_that_is_not_there_is_told_by_its_first_missing_step(tmp_path: Path, closed_port: int) -> None:
    results = by_check(run(run_checks(context(tmp_path, server_yaml(f"ws://127.0.0.1:{closed_port}")))))
    assert results["server name"].verdict == "ok"
    assert results["server port"].verdict == "fail"
    assert "refused" in results["server port"].found
    assert "server" not in results
    results = by_check(run(run_checks(context(tmp_path, server_yaml("ws://no-such-host.invalid")))))
    assert results["server name"].verdict == "fail"
    results = by_check(run(run_checks(context(tmp_path, server_yaml("ws://127.0.0.1:99999")))))
    assert "use 1 to 65535" in results["server port"].fix


def test_a_web_server_is_not_taken_for_livekit_and_its_clock_is_compared(tmp_path: Path) -> None:
    async def story() -> dict[str, Result]:
        async def web(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nContent-Length: 6\r\n\r\n<html>")
            writer.close()

        server = await asyncio.start_server(web, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return by_check(await run_checks(context(tmp_path, server_yaml(f"ws://127.0.0.1:{port}"))))
        finally:
            server.close()

    results = run(story())
    assert "it is not LiveKit" in results["server"].found
    assert "the server's differs by" in results["clock"].found
    assert results["clock"].verdict == "fail"


def test_plain_text_where_tls_was_expected_says_so(tmp_path: Path) -> None:
    async def story() -> dict[str, Result]:
        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return by_check(await run_checks(context(tmp_path, server_yaml(f"wss://127.0.0.1:{port}"))))
        finally:
            server.close()

    assert "use ws://" in run(story())["server"].fix


@pytest.mark.server
@pytest.mark.slow
def test_the_real_server_accepts_a_right_token_and_says_why_it_refuses_a_wrong_one(
    tmp_path: Path, livekit_server: LiveKitServer
) -> None:
    tokens = iter([livekit_server.token("kitchen", "doctor"), "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJub2JvZHkifQ.c2ln"])

    async def grant(_settings: Settings) -> Grant:
        return Grant(livekit_server.url, next(tokens))

    asked = context(tmp_path, server_yaml(livekit_server.url), grant=grant)
    right = by_check(run(run_checks(asked)))
    assert [right[name].verdict for name in ("server name", "server port", "server", "token", "clock")] == ["ok"] * 5
    wrong = by_check(run(run_checks(asked)))
    assert wrong["token"].verdict == "fail"
    assert "eyJ" not in wrong["token"].found
    assert wrong["token"].fix


# ---- how it is shown ------------------------------------------------------------------------------------------------

SOME = [
    Result("configuration", Verdict.OK, "alto.yaml is valid"),
    Result("station", Verdict.WARN, "no station runs", "start it"),
    Result("microphone", Verdict.FAIL, "a long story " * 12, "plug \x1b[2Jit in"),
    Result("power", Verdict.SKIP, "does not tell"),
]


def test_problems_come_first_each_with_its_fix() -> None:
    text = render(SOME)
    assert text.startswith("1 problem and 1 warning; the first is the likeliest cause.\n\n✖ microphone")
    assert "→ start it" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    assert render(SOME[:1]).startswith("Nothing is wrong with this box.")


def test_where_only_ascii_arrives_only_ascii_is_sent() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    assert render(SOME, out=out).isascii()


def test_programs_get_json_and_an_exit_code() -> None:
    assert json.loads(json.dumps(as_json(SOME)))["results"][0] == {
        "check": "configuration",
        "verdict": "ok",
        "found": "alto.yaml is valid",
        "fix": "",
    }
    assert as_json(SOME)["healthy"] is False
    assert [exit_code(SOME), exit_code(SOME[:2]), exit_code([replace(SOME[0], verdict=Verdict.FAIL)])] == [69, 0, 78]
