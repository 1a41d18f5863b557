"""What the tests of deploy/fleet share: its modules, and a fleet of a few stations."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
FLEET: Final = ROOT / "deploy/fleet"
SECRET: Final = "a-secret-of-the-fleet-that-is-long-enough"  # noqa: S105 (looked for in all that is written)
TEMPLATE: Final = """\
room: home
livekit: {url: "wss://intercom.example.org"}
audio: {output: {volume: 0.8}}
"""
TABLE: Final = 'identity,name,room,audio.output.volume\nkitchen,Kitchen,,0.5\nhall,"Hall, first floor",upstairs,\n'


class Fleet:
    """A folder with template, table and key, and the command on them."""

    def __init__(self, folder: Path, *, template: str = TEMPLATE, table: str = TABLE) -> None:
        self.folder = folder
        self.template = self._file("alto.yaml", template)
        self.table = self._file("stations.csv", table)
        self.keys = self._file("keys", f"APIkey: {SECRET}\n")
        self.out = folder / "cards"

    def make(self, *more: str, keys: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `deploy/fleet/make`."""
        words = ["--template", self.template, "--table", self.table, "--out", self.out]
        words += ["--keys", self.keys] if keys else []
        env = {name: value for name, value in os.environ.items() if not name.startswith("LIVEKIT_")}
        command = [sys.executable, FLEET / "make.py", *words, *more]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)

    def made(self, *more: str) -> str:
        """The same, and it went well: what it said."""
        done = self.make(*more)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    def refused(self, *more: str, keys: bool = True) -> list[str]:
        """What is wrong, without the folder's name; nothing was written."""
        before = self.contents()
        done = self.make(*more, keys=keys)
        assert done.returncode == 78, done.stderr
        assert "Traceback" not in done.stderr
        assert SECRET not in done.stdout + done.stderr
        assert self.contents() == before
        said = done.stderr.replace(f"{self.folder}/", "").splitlines()
        assert said[-1].endswith("nothing was written")
        return [line for line in said if not line.startswith("make: ")]

    def contents(self) -> dict[str, bytes]:
        """Every file that was made."""
        return {str(p.relative_to(self.out)): p.read_bytes() for p in sorted(self.out.rglob("*")) if p.is_file()}

    def _file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path
