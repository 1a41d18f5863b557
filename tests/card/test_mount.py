"""The boot partition as a real mount, in a mount namespace of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.station import ROOT

OPEN_AND_SHUT = """
import sys
from pathlib import Path
from appliance.card.mount import BootPartition, card_mount, read_only

card, closed = (Path(word) for word in sys.argv[1:])
mount = card_mount(card, closed)
assert isinstance(mount, BootPartition)
mount.close()
assert read_only(card) and closed.exists()
with mount.writable():
    (card / "alto.status.txt").write_text("it works")
assert read_only(card)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("options", ["defaults", "ro,nofail"])
def test_a_card_is_opened_and_shut_where_its_fstab_names_what_cannot_be_found(tmp_path: Path, options: str) -> None:
    card, fstab = tmp_path / "card", tmp_path / "fstab"
    card.mkdir()
    fstab.write_text(f"PARTUUID=0a17c0de-01 {card} tmpfs {options} 0 2\n")
    made = f"mount -t tmpfs tmpfs {card} && mount --bind {fstab} /etc/fstab"
    inside = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{made} && exec "$@"', "sh"]
    words = [*inside, sys.executable, "-c", OPEN_AND_SHUT, card, tmp_path / "closed"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
