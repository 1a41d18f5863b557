"""The image's files agree with each other, and say of what is inside what is inside."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

IMAGE: Final = Path(__file__).resolve().parents[2] / "deploy/image"
sys.path.insert(0, str(IMAGE))

import describe  # noqa: E402 (a script of deploy, not a package)

STATUS: Final = """\
Package: libc6
Status: install ok installed
Version: 2.41-12+deb13u1

Package: gone
Status: deinstall ok config-files
Version: 1

Package: python3
Status: install ok installed
Version: 3.13.5-1
Description: a language
 with a second line
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)
    for folder in ("shared", "python3.11", "python3.13"):
        wheel = tmp_path / f"usr/lib/alto/tree/lib/{folder}/Some_Thing-1.2.dist-info"
        wheel.mkdir(parents=True)
        (wheel / "METADATA").write_text(
            "Metadata-Version: 2.4\nName: Some_Thing\nVersion: 1.2\nLicense-Expression: MIT\n"
        )
    return tmp_path


def test_every_installed_package_and_wheel_is_named_once(root: Path) -> None:
    parts = sorted({*describe.debian_packages(root), *describe.wheels(root)})
    assert [part.purl for part in parts] == [
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=arm64",
        "pkg:deb/debian/python3@3.13.5-1?arch=arm64",
        "pkg:pypi/some-thing@1.2",
    ]
    assert parts[2].licence == "MIT"


def test_the_server_is_named_with_the_version_that_is_built(root: Path) -> None:
    assert list(describe.server(root, IMAGE.parent / "dev")) == []
    (root / "usr/lib/alto/tree/bin").mkdir()
    (root / "usr/lib/alto/tree/bin/livekit-server").touch()
    [part] = describe.server(root, IMAGE.parent / "dev")
    assert re.fullmatch(r"v\d+\.\d+\.\d+", part.version)


def test_the_same_parts_make_the_same_document_in_which_every_name_is_unique(root: Path) -> None:
    parts = sorted({*describe.debian_packages(root), *describe.wheels(root)})
    made = datetime(2026, 1, 2, tzinfo=UTC)
    document = describe.spdx(parts, "0.1.0", made)
    assert json.dumps(document) == json.dumps(describe.spdx(parts, "0.1.0", made))
    packages = document["packages"]
    assert isinstance(packages, list)
    names = [package["SPDXID"] for package in packages]
    assert len(set(names)) == len(names) == 4
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", name) for name in names)


def test_labels_of_partitions_and_mounts_agree() -> None:
    build = (IMAGE / "build").read_text()
    labels = set(re.findall(r"^LABEL=(\S+)", (IMAGE / "root/etc/fstab").read_text(), re.MULTILINE))
    assert labels == {"ALTO-BOOT", "alto-data"}
    assert "-n ALTO-BOOT" in build
    assert "-L alto-data" in build


def test_the_root_is_found_whatever_the_card_is_called_and_has_a_layer_in_memory() -> None:
    line = (IMAGE / "card/cmdline.txt").read_text()
    assert line.count("\n") == 1, "the firmware reads one line"
    assert "root=PARTUUID=@DISK@-02" in line.split()
    assert "overlayroot=tmpfs:recurse=0" in line.split()
    packages = (IMAGE / "packages").read_text().split()
    assert {"overlayroot", "busybox"} <= set(packages)


def test_what_the_firmware_shall_load_is_what_the_build_puts_there() -> None:
    config = dict(
        re.split("[= ]", line, maxsplit=1)
        for line in (IMAGE / "card/config.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    build = (IMAGE / "build").read_text()
    assert f"mv vmlinuz-* {config['kernel']} &&" in build
    assert config["initramfs"].split()[0] in build


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """Where `board` believes that it is root on a board."""
    for folder in ("card", "etc/wpa_supplicant", "run/alto-board", "proc/sys/kernel", "data"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path / "card"


def board(card: Path) -> str:
    place = card.parent
    script = (IMAGE / "root/usr/lib/alto/board").read_text().replace("card=/boot/firmware", f"card={card}")
    script = re.sub(r"(?<![\w.])/(etc|run|proc|data)/", rf"{place}/\1/", script)
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=20).stdout


def test_a_host_name_from_windows_is_taken(card: Path) -> None:
    (card / "hostname.txt").write_bytes(b"\xef\xbb\xbfback-porch \r\n")
    board(card)
    assert (card.parent / "etc/hostname").read_text() == "back-porch\n"
    assert (card.parent / "proc/sys/kernel/hostname").read_text() == "back-porch"


def test_what_is_no_host_name_is_named_and_left(card: Path) -> None:
    (card / "hostname").write_text("back porch!\n")
    assert 'hostname on the card: "backporch!" is no host name' in board(card)
    assert not (card.parent / "etc/hostname").exists()


def test_a_wireless_network_is_for_root_alone_and_without_carriage_returns(card: Path) -> None:
    (card / "wpa_supplicant.conf").write_bytes(b'country=DE\r\nnetwork={\r\n    ssid="x"\r\n}\r\n')
    board(card)
    file = card.parent / "etc/wpa_supplicant/wpa_supplicant-wlan0.conf"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().splitlines()[1] == "country=DE"
    assert "\r" not in file.read_text()


def test_without_a_key_nobody_may_log_in(card: Path) -> None:
    board(card)
    assert not (card.parent / "run/alto-board/authorized_keys").exists()
    (card / "authorized_keys").write_text("ssh-ed25519 AAAA me\r\n")
    board(card)
    assert (card.parent / "run/alto-board/authorized_keys").read_text() == "ssh-ed25519 AAAA me\n"
    assert (card.parent / "data/ssh/ssh_host_ed25519_key").exists()
