"""What the tests of deploy/fleet share: its modules, and a fleet of a few stations."""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
FLEET: Final = ROOT / "deploy/fleet"
SECRET: Final = "a-secret-of-the-fleet-that-is-long-enough"  # noqa: S105 (looked for in all that is written)
TEMPLATE: Final = """\
room: home
livekit: {url: "wss://intercom.example.org"}
audio: {output: {volume: 0.8}}
"""
TABLE: Final = 'identity,name,room,audio.output.volume\nkitchen,Kitchen,,0.5\nhall,"Hall, first floor",upstairs,\n'


sys.path.insert(0, str(FLEET))  # as Python does for a program that lies there
command: Final[Any] = importlib.import_module("make")


class Ended(NamedTuple):
    """What a run came to."""

    returncode: int
    stdout: str
    stderr: str


class Fleet:
    """A folder with template, table and key, and the command on them."""

    def __init__(self, folder: Path, *, template: str = TEMPLATE, table: str = TABLE) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.template = self._file("alto.yaml", template)
        self.table = self._file("stations.csv", table)
        self.keys = self._file("keys", f"APIkey: {SECRET}\n")
        self.out = folder / "cards"

    def words(self, *, keys: bool = True) -> list[str]:
        """The arguments of the command."""
        words = ["--template", self.template, "--table", self.table, "--out", self.out]
        return [str(word) for word in words + (["--keys", self.keys] if keys else [])]

    def make(self, *more: str, keys: bool = True) -> Ended:
        """What `deploy/fleet/make` does, in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = command.main([*self.words(keys=keys), *more], env={})
        return Ended(code, out.getvalue(), err.getvalue())

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
