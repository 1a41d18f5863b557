"""The image as a board would run it, in QEMU: its kernel, its root, its card. `deploy/image/boot-test`, as root.

    virt     a machine without a model name, with a sound card that QEMU writes to a file: a whole call
    raspi3b  the Pi 3's own devices and device tree, as far as QEMU has them: no sound, USB network

Everything is slower than on a board by a factor of ten or so: times say how the steps relate, not how long they take.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.harness.netns import Machine, Switch
from tests.harness.peer import SdkPeer
from tests.harness.processes import end, spawn
from tests.harness.server import LiveKitServer

ROOT: Final = Path(__file__).resolve().parents[2]
BUILT: Final = ROOT / ".cache/image/alto.img"
CARD_AT: Final = 4 << 20  # where the image has its first partition
BOOT_S: Final = 900.0  # 57-76 s and 3 min on an idle machine with two cores
ONLINE_S: Final = 600.0
CALL_S: Final = 60.0
SETTLED_S: Final = 40.0  # what ext4 and the kernel write on their own accord is written within 30 s
TONE_HZ: Final = 600.0
LINES: Final = "journalctl -b -t alto -o cat"
ONLINE: Final = f"{LINES} | jq -e 'select(.to == \"online\")'"
HEARD: Final = f"{LINES} | jq -e 'select(.mixer.per_stream.kitchen.level_dbfs > -40)'"
POLITE: Final = """
mkdir -p /run/systemd/system/alto.service.d
printf '[Service]\\nLimitRTPRIO=0\\n' > /run/systemd/system/alto.service.d/polite.conf
systemctl daemon-reload
systemctl restart alto
"""
"""On an emulated processor a station that goes before everything leaves no time for whoever looks in."""

STATION: Final = """\
identity: porch
room: home
livekit:
  url: {url}
  api_key: {key}
  api_secret: {secret}
audio:
  block_ms: 50          # sound is emulated too
  input: {{enabled: false}}
metrics: {{interval_s: 10}}
"""


class BootError(AssertionError):
    """The image does not do what it is for."""


class Board:
    """One emulated machine that runs the image, on a cable of its own. `with` it; main thread."""

    def __init__(self, folder: Path, machine: Machine, kind: str) -> None:
        self._folder, self._machine, self._kind = folder, machine, kind
        self.card = folder / "card.img"
        self.heard = folder / "heard.wav"
        self._key = folder / "key"
        self._qmp: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        subprocess.run(["cp", "--sparse=always", BUILT, self.card], check=True)
        os.truncate(self.card, 4 << 30)  # a card's size is a power of two
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self._key], check=True)

    # ---- the card, in a computer

    def put(self, name: str, data: bytes) -> None:
        file = self._folder / "to-card"
        file.write_bytes(data)
        self._mtools("mcopy", "-o", "-i", f"{self.card}@@{CARD_AT}", str(file), f"::{name}")

    def take(self, name: str) -> bytes:
        file = self._folder / "from-card"
        file.unlink(missing_ok=True)
        self._mtools("mcopy", "-n", "-i", f"{self.card}@@{CARD_AT}", f"::{name}", str(file))
        return file.read_bytes()

    def spoil_data(self) -> None:
        """As a card that wears out: nothing is left of how the data partition begins."""
        table = json.loads(subprocess.check_output(["sfdisk", "--json", self.card]))["partitiontable"]
        with self.card.open("r+b") as card:
            card.seek(int(table["partitions"][2]["start"]) * 512)
            card.write(bytes(4 << 20))

    def put_key(self) -> None:
        """Our own, so that we may look in, as its owner would."""
        self.put("authorized_keys", self._key.with_suffix(".pub").read_bytes().replace(b"\n", b"\r\n"))

    # ---- life

    def switch_on(self) -> float:
        """Boot until it takes a login; seconds."""
        for name in ("vmlinuz", "initrd.img", "cmdline.txt"):
            (self._folder / name).write_bytes(self.take(name))
        began = time.monotonic()
        self._process = spawn([*self._machine.words, *self._command()], stderr=(self._folder / "qemu.log").open("wb"))
        while not self.try_run("true"):
            if self._process.poll() is not None:
                raise BootError((self._folder / "qemu.log").read_text())
            if time.monotonic() - began > BOOT_S:
                raise BootError(f"no login within {BOOT_S:g} s; the console's end:\n{self.console()[-4000:]}")
            time.sleep(2)
        return time.monotonic() - began

    def switch_off(self) -> None:
        if self._process is not None:
            self.try_run("systemctl poweroff", 30)
            subprocess.run(
                ["ssh", "-o", f"ControlPath={self._folder}/ssh", "-O", "exit", "x"], capture_output=True, check=False
            )
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(120)
            end(self._process)
        self._process = None

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            end(self._process)

    # ---- looking in

    def try_run(self, script: str, deadline_s: float = 120.0) -> subprocess.CompletedProcess[str] | None:
        """As root over SSH; None when that did not succeed."""
        done = self._ssh(script, deadline_s)
        return done if done is not None and done.returncode == 0 else None

    def run(self, script: str, deadline_s: float = 120.0) -> str:
        done = self._ssh(script, deadline_s)
        if done is None or done.returncode != 0:
            raise BootError(f"{script}\n{done.stdout + done.stderr if done else 'no answer'}")
        return done.stdout

    def until(self, script: str, deadline_s: float, what: str) -> str:
        stop = time.monotonic() + deadline_s
        while True:
            if (done := self.try_run(script)) is not None:
                return done.stdout
            if time.monotonic() > stop:
                last = self._ssh(f"{script}; journalctl -b -t alto -o cat | tail -20", 120)
                raise BootError(f"waited {deadline_s:g} s for {what}:\n{last.stdout + last.stderr if last else ''}")
            time.sleep(2)

    def written_bytes(self) -> int:
        """To the card, by QEMU's own count."""
        answer = self._monitor("query-blockstats")
        return sum(int(device["stats"]["wr_bytes"]) for device in answer)

    def console(self) -> str:
        return "".join(file.read_text(errors="replace") for file in sorted(self._folder.glob("console*.log")))

    # ---- pieces

    def _command(self) -> list[str]:
        words: list[str | Path] = ["qemu-system-aarch64", "-display", "none", "-nodefaults", "-no-user-config"]
        line = (self._folder / "cmdline.txt").read_text().strip().replace(" quiet", "")
        drive = f"file={self.card},format=raw,cache=unsafe"
        net = "user,id=net,hostfwd=tcp:127.0.0.1:2222-:22"
        files = {name: self._folder / name for name in ("vmlinuz", "initrd.img")}
        words += ["-kernel", files["vmlinuz"], "-initrd", files["initrd.img"], "-netdev", net]
        words += ["-qmp", f"unix:{self._folder}/qmp,server=on,wait=off"]
        if self._kind == "virt":
            words += ["-M", "virt,gic-version=2", "-cpu", "cortex-a72", "-smp", "2", "-m", "1024"]
            words += ["-accel", "tcg,thread=multi", "-append", f"{line} console=ttyAMA0"]
            words += ["-drive", f"{drive},if=none,id=card", "-device", "virtio-blk-pci,drive=card"]
            words += ["-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci"]
            words += ["-audiodev", f"wav,id=sound,path={self.heard},out.frequency=48000"]
            words += ["-device", "intel-hda", "-device", "hda-output,audiodev=sound"]
            words += ["-serial", f"file:{self._folder}/console.log"]
        else:
            tree = self._folder / "board.dtb"
            tree.write_bytes(self.take("bcm2837-rpi-3-b.dtb"))
            words += ["-M", "raspi3b", "-dtb", tree, "-drive", f"{drive},if=sd"]
            # QEMU's watchdog knows no time: the machine is reset the moment that it is armed.
            line += " systemd.watchdog_sec=0 console=ttyS1,115200 console=ttyAMA0,115200 dwc_otg.lpm_enable=0"
            words += ["-append", line, "-no-reboot"]
            words += ["-usb", "-device", "usb-net,netdev=net"]
            words += ["-serial", f"file:{self._folder}/console0.log", "-serial", f"file:{self._folder}/console1.log"]
        return [str(word) for word in words]

    def _ssh(self, script: str, deadline_s: float) -> subprocess.CompletedProcess[str] | None:
        # One login for all: emulated arithmetic is slow, and the station goes before it.
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=90"]
        options += ["ControlMaster=auto", f"ControlPath={self._folder}/ssh", "ControlPersist=yes"]
        words: list[str] = [*self._machine.words, "ssh", "-i", str(self._key), "-p", "2222"]
        words += [word for option in options for word in ("-o", option)]
        with contextlib.suppress(subprocess.TimeoutExpired):
            return subprocess.run(
                [*words, "root@127.0.0.1", script], capture_output=True, text=True, timeout=deadline_s, check=False
            )
        return None

    def _monitor(self, command: str) -> Any:
        if self._qmp is None:
            self._qmp = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._qmp.connect(f"{self._folder}/qmp")
            self._lines = self._qmp.makefile("rw")
            self._lines.readline()
            self._ask("qmp_capabilities")
        return self._ask(command)

    def _ask(self, command: str) -> Any:
        self._lines.write(json.dumps({"execute": command}) + "\n")
        self._lines.flush()
        while "return" not in (answer := json.loads(self._lines.readline())):
            if "error" in answer:
                raise BootError(str(answer))
        return answer["return"]

    @staticmethod
    def _mtools(*words: str) -> None:
        env = {**os.environ, "MTOOLS_SKIP_CHECK": "1"}
        done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BootError(f"{' '.join(words)}: {done.stderr.strip()}")


# ---- what is tried -----------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(prog="deploy/image/boot-test", description="Boot the image in QEMU.")
    parser.add_argument("kinds", nargs="*", default=["virt", "raspi3b"], help="virt, raspi3b; default: both")
    args = parser.parse_args()
    tools()
    if not BUILT.exists():
        print("boot-test: no image: run deploy/image/build first", file=sys.stderr)
        return 66
    failed = []
    for kind in args.kinds:
        with tempfile.TemporaryDirectory(prefix="alto-image-", dir=BUILT.parent) as folder, Switch() as switch:
            try:
                TRIALS[kind](Path(folder), switch)
            except BootError as error:
                failed.append(kind)
                tell(f"{kind}: FAILED: {error}")
                keep(Path(folder), kind)
    tell("not good: " + ", ".join(failed) if failed else "all good")
    return 1 if failed else 0


def virt(folder: Path, switch: Switch) -> None:
    """A whole call, from the card in somebody's computer to the loudspeaker."""
    with call(switch) as (server, peer), Board(folder, switch.machine(), "virt") as board:
        put_station(board, server)
        board.put("hostname.txt", b"\xef\xbb\xbfback-porch\r\n")
        tell(f"virt: login after {board.switch_on():.0f} s")
        board.run(POLITE, ONLINE_S)
        peer.say(TONE_HZ)
        board.until(ONLINE, ONLINE_S, "the station to be online")
        check_journal(board)
        steps(board)
        check_card(board)
        check_system(board, "back-porch")
        board.until(HEARD, ONLINE_S, "the other one to be heard")
        check_writes(board)
        usage(board)
        board.switch_off()
        check_sound(board)
        check_state_stays(board)
        check_life_without_data(board, server)


def raspi3b(folder: Path, switch: Switch) -> None:
    """The Pi 3's device tree, SD card and USB. QEMU has no sound for it: the station waits for its loudspeaker."""
    with call(switch) as (server, _), Board(folder, switch.machine(), "raspi3b") as board:
        put_station(board, server)
        tell(f"raspi3b: login after {board.switch_on():.0f} s")
        model = board.run("tr -d '\\0' < /proc/device-tree/model").strip()
        board.until(
            f"{LINES} | jq -e 'select(.event == \"room.connected\")'", ONLINE_S, "the station to be in its room"
        )
        check_journal(board)
        steps(board)
        check_card(board)
        check_system(board, "station")
        state = board.run(
            f'{LINES} | jq -r \'select(.event == "state.changed") | .to + ": " + .reason\' | tail -1'
        ).strip()
        watchdog = board.run("cat /sys/class/watchdog/watchdog0/identity 2>/dev/null || echo none").strip()
        tell(f"raspi3b: {model}; station {state}; watchdog: {watchdog}")
        board.switch_off()


TRIALS: Final = {"virt": virt, "raspi3b": raspi3b}


@contextlib.contextmanager
def call(switch: Switch) -> Iterator[tuple[LiveKitServer, SdkPeer]]:
    """A server on the network, and somebody in the room."""
    machine = switch.machine()
    with LiveKitServer(machine) as server, SdkPeer(server, "kitchen", machine=switch.machine()) as peer:
        yield server, peer


def put_station(board: Board, server: LiveKitServer) -> None:
    text = STATION.format(url=server.url, key=server.api_key, secret=server.api_secret)
    board.put("alto.yaml", text.replace("\n", "\r\n").encode())
    board.put_key()


def check_card(board: Board) -> None:
    """The card's alto.yaml was taken: it says so, and the secret has left it."""
    told = board.until("cat /boot/firmware/alto.status.txt", 300, "word on the card")
    expect("is valid and in use" in told, f"alto.status.txt says:\n{told}")
    card = board.run("cat /boot/firmware/alto.yaml")
    expect("(taken by alto)" in card, "the secret is still on the card")
    board.run(f"{LINES} | jq -e 'select(.station == \"porch\")'")


def check_system(board: Board, name: str) -> None:
    """Read-only below a layer in memory; no swap; nothing that a card wears out by."""
    root = board.run("findmnt -no FSTYPE,SOURCE /; findmnt -no FSTYPE,OPTIONS /media/root-ro").split()
    expect(root[0] == "overlay", f"the root is {root}")
    expect(root[2] == "squashfs", f"below the root is {root}")
    expect(board.try_run("touch /media/root-ro/x") is None, "the root can be written")
    expect("ro" in board.run("findmnt -no OPTIONS /boot/firmware").split(","), "the card can be written")
    expect(board.run("tail -n +2 /proc/swaps").strip() == "", "there is swap")
    expect(board.run("findmnt -no FSTYPE /var/lib/alto").strip() == "ext4", "what the station keeps is not on the card")
    expect(board.run("findmnt -no FSTYPE /opt/alto").strip() == "overlay", "versions are not kept on the card")
    expect(board.run("hostname").strip() == name, "the host name on the card was not taken")
    expect("yes" in board.run("resolvectl mdns"), "there is no mDNS")
    expect("/run/log/journal" in board.run("journalctl --header | grep '^File path'"), "the journal is not in memory")
    expect(board.run("passwd -S root").split()[1] == "L", "root has a password")
    bad = board.run("systemctl list-units --failed --no-legend --plain").strip()
    expect(bad == "", f"units failed:\n{bad}")


def check_journal(board: Board) -> None:
    """Every line of the station's is JSON."""
    lines = board.run(LINES).splitlines()
    other = [line for line in lines if not line.startswith("{")]
    expect(not other, "lines that are no JSON:\n" + "\n".join(other))
    for line in lines:
        json.loads(line)
    tell(f"journal: {len(lines)} lines, each JSON")


def check_writes(board: Board) -> None:
    board.run("sync")
    time.sleep(SETTLED_S)
    before = board.written_bytes()
    time.sleep(CALL_S)
    written = board.written_bytes() - before
    tell(f"written to the card in {CALL_S:g} s of call: {written} bytes")
    expect(written == 0, board.run("find /data /boot/firmware -xdev -type f -mmin -3"))


def check_sound(board: Board) -> None:
    """What came out of the sound card has the other one's voice in it."""
    data = np.frombuffer(board.heard.read_bytes()[44:], np.int16).astype(float)[::2]  # the header is written at the end
    loud = np.flatnonzero(np.abs(data) > 300)
    expect(len(loud) > 0, "nothing came out of the loudspeaker")
    part = data[loud[0] : loud[0] + 5 * 48_000]
    peak_hz = np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * 48_000 / len(part)
    sounding = np.mean(np.abs(data) > 100)
    tell(f"the loudspeaker: {len(data) / 48_000:.0f} s, {sounding:.0%} of it sounding, {peak_hz:.0f} Hz")
    expect(bool(abs(peak_hz - TONE_HZ) < 5), "it is not the voice that was sent")


def check_state_stays(board: Board) -> None:
    """The second boot has the configuration of the first: the secret is not on the card any more."""
    tell(f"virt, second boot: login after {board.switch_on():.0f} s")
    board.run(POLITE, ONLINE_S)
    board.until(ONLINE, ONLINE_S, "the station to be online again")
    board.switch_off()


def check_life_without_data(board: Board, server: LiveKitServer) -> None:
    """A data partition that is rubbish: the image's own version, with what the card says at each start."""
    board.spoil_data()
    put_station(board, server)
    tell(f"virt, without the data partition: login after {board.switch_on():.0f} s")
    board.run(POLITE, ONLINE_S)
    board.until(ONLINE, ONLINE_S, "the station to be online without its data")
    board.until("grep 'data partition' /boot/firmware/alto.status.txt", 300, "word of it on the card")
    expect(server.api_secret in board.run("cat /boot/firmware/alto.yaml"), "the secret was taken, and would be lost")
    board.switch_off()


def steps(board: Board) -> None:
    """From the kernel's first moment to the room, in seconds."""
    asked = "systemctl show --value -p {0} {1}"
    units = {"card": "boot-firmware.mount", "data": "data.mount", "host name and keys": "alto-board.service"}
    found = {"systemd": float(board.run("systemctl show --value -p UserspaceTimestampMonotonic")) / 1e6}
    for name, unit in units.items():
        found[name] = float(board.run(asked.format("ActiveEnterTimestampMonotonic", unit))) / 1e6
    found["alto.yaml taken"] = float(board.run(asked.format("InactiveEnterTimestampMonotonic", "alto-card"))) / 1e6
    found["process"] = float(board.run(asked.format("ExecMainStartTimestampMonotonic", "alto"))) / 1e6
    for line in board.run("journalctl -b -t alto -o json").splitlines():
        entry = json.loads(line)
        told = json.loads(entry["MESSAGE"])
        name = "online" if told.get("to") == "online" else told["event"]
        if name in ("appliance.started", "audio.opened", "room.connected", "online"):
            found.setdefault(name, int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6)
    tell("seconds after the kernel began: " + ", ".join(f"{name} {at:.1f}" for name, at in found.items()))


def usage(board: Board) -> None:
    pid = "$(systemctl show --value -p MainPID alto)"
    rss = int(board.run(f"awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status")) / 1024
    free = int(board.run("awk '/^MemAvailable/ {print $2}' /proc/meminfo")) / 1024
    tell(f"RSS of the station {rss:.0f} MiB; {free:.0f} MiB of 1024 are free")


# ---- words -------------------------------------------------------------------------------------------------------


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise BootError(otherwise)


def tell(text: str) -> None:
    print(f"boot-test: {text}", flush=True)


def keep(folder: Path, kind: str) -> None:
    """The console of a boot that failed."""
    for file in folder.glob("*.log"):
        shutil.copy(file, BUILT.parent / f"{kind}-{file.name}")
    tell(f"its console is in {BUILT.parent}/{kind}-*.log")


def tools(words: Sequence[str] = ("qemu-system-aarch64", "mcopy", "ssh")) -> None:
    """What QEMU and SSH need, from Debian."""
    if all(shutil.which(word) for word in words):
        return
    packages = ["qemu-system-arm", "mtools", "openssh-client"]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *packages]):
        subprocess.run(["apt-get", *command], env=env, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
