"""A card's mount, fake and real: closed it takes no writes, opened it does, and afterwards it is as it was."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from appliance.card.mount import BootPartition, Mount, card_mount, own_file_system, read_only
from tests.card.cards import FakeMount

ROOT: Final = Path(__file__).resolve().parents[2]

STORY: Final = {"at first": True, "closed": False, "opened": True, "after it": False, "after a failure": False}


def story(mount: Mount, takes_writes: Callable[[], bool]) -> dict[str, bool]:
    """Whether the card takes writes, at each step of its life."""
    told = {"at first": takes_writes()}
    with mount.writable():
        assert takes_writes()
    assert takes_writes(), "as it was"
    mount.close()
    told["closed"] = takes_writes()
    with mount.writable():
        told["opened"] = takes_writes()
    told["after it"] = takes_writes()
    with contextlib.suppress(ZeroDivisionError), mount.writable():
        raise ZeroDivisionError
    told["after a failure"] = takes_writes()
    return told


def test_the_fake_card(tmp_path: Path) -> None:
    mount = FakeMount(tmp_path)
    assert story(mount, lambda: mount.is_open) == STORY


@pytest.mark.slow
@pytest.mark.parametrize("options", ["defaults", "ro,nofail"])
def test_a_real_mount_whose_fstab_names_what_a_sandbox_cannot_find(tmp_path: Path, options: str) -> None:
    """A tmpfs in a mount namespace of its own, which ends with it; a PARTUUID in the fstab, as Raspberry Pi OS has."""
    command = ["unshare", "--mount", sys.executable, "-m", "tests.contracts.test_card_mount", tmp_path, options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told == {"story": STORY, "marked": True, "bound folder": "Folder"}


def _inside(folder: Path, options: str) -> Iterator[tuple[str, object]]:
    card, closed, fstab = folder / "card", folder / "run/closed", folder / "fstab"
    card.mkdir()
    fstab.write_text(f"PARTUUID=0a17c0de-01 {card} tmpfs {options} 0 2\n")
    subprocess.run(["mount", "-t", "tmpfs", "card", card], check=True)
    subprocess.run(["mount", "--bind", fstab, "/etc/fstab"], check=True)
    mount = card_mount(card, closed)
    assert isinstance(mount, BootPartition)

    def takes_writes() -> bool:
        try:
            (card / "file").write_text("x")
        except OSError:
            assert read_only(card)
            return False
        assert not read_only(card)
        return True

    yield "story", story(mount, takes_writes)
    yield "marked", closed.exists()
    bound = folder / "bound"
    bound.mkdir()
    subprocess.run(["mount", "--bind", bound, bound], check=True)
    yield "bound folder", type(card_mount(bound, closed)).__name__


def test_a_folder_that_a_sandbox_bound_onto_itself_is_no_card(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "20 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
        "30 20 8:2 /boot/firmware /boot/firmware rw - ext4 /dev/sda2 rw\n"
        "31 20 8:1 / /mnt rw,relatime shared:9 - vfat /dev/sda1 ro,umask=0022\n"
    )
    assert not own_file_system(Path("/boot/firmware"), mounts)
    assert own_file_system(Path("/mnt"), mounts)
    assert not own_file_system(Path("/elsewhere"), mounts)
    assert read_only(Path("/mnt"), mounts), "the file system's own word counts"


if __name__ == "__main__":
    print(json.dumps(dict(_inside(Path(sys.argv[1]), sys.argv[2]))))
