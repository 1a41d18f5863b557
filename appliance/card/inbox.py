"""What becomes of alto.yaml on the card: looked at, taken to where the station reads it, its secrets blanked.

In this order, so that a power cut between any two steps loses nothing: the station has the new content whole before
the card is touched, and what is left to do is found again at the next look.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from appliance.card import secrets
from appliance.card.mount import CardStuck, Mount
from appliance.errors import ConfigError
from appliance.settings.files import Unreadable, read_small_file, sync_directory, write_private, write_whole
from appliance.settings.kept import Kept
from appliance.settings.keys import Kind, root
from appliance.settings.load import LIMIT_BYTES, load
from appliance.settings.nodes import Mapping as Section
from appliance.settings.nodes import Scalar, compose
from appliance.settings.problems import Problem, in_order
from appliance.settings.text import decode

NAMES: Final = ("alto.yaml", "alto.yaml.txt")
"""What is looked for, the first that is there: Windows hides the end of a name, and editors add one."""

MOST_LOOKS: Final = 5  # at a file that somebody saves again and again; the next change is noticed anyway

PRIVATE: Final = os.stat_result((stat.S_IFREG | 0o600, *[0] * 9))
"""How the file will lie where the station reads it, whatever FAT says of the one on the card."""

STATION_FILE: Final = "alto.yaml"
"""In the state directory: what the station runs with."""


class Outcome(StrEnum):
    """What became of the file on the card."""

    TAKEN = "taken"
    UNCHANGED = "unchanged"
    REJECTED = "rejected"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One look at the card."""

    outcome: Outcome
    name: str = NAMES[0]
    """The file that was looked at."""
    problems: tuple[str, ...] = ()
    """`line 7: …`, in file order; never a secret."""
    warnings: tuple[str, ...] = ()
    blanked: bool = False
    """Stand-ins are on the card where secrets were."""
    stuck: str = ""
    """Why secrets are still on the card, when they should not be."""
    first: bool = False
    """The station had no such file before: it has to be started anew to find it."""
    digest: str = ""
    """Of the file as it lies on the card now; empty: none."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """The card's folder and the station's."""

    card: Path
    state: Path
    mount: Mount
    owner: tuple[int, int] | None = None
    """User and group that the station's file is given to; None: left as it is made."""
    env: Mapping[str, str] | None = None
    """What the station has besides the file: systemd's credentials."""
    keep: str = ""
    """Why the secrets are to stay on the card; empty: they are not."""

    @property
    def station_file(self) -> Path:
        return self.state / STATION_FILE

    def take(self) -> Verdict:
        """Look at the card, and take what is new and valid. Raises OSError when the state cannot be written."""
        for _ in range(MOST_LOOKS):
            verdict = self._look()
            if self.digest() == verdict.digest:
                break  # else somebody saved it again meanwhile
        return verdict

    def digest(self) -> str:
        """Of what lies there now; empty when there is nothing."""
        name = self._found()
        return "" if name is None else _digest(self._read(name)[0])

    def _look(self) -> Verdict:
        name = self._found()
        if name is None:
            return Verdict(Outcome.ABSENT)
        data, problem = self._read(name)
        if problem:
            return Verdict(Outcome.REJECTED, name, (problem,), digest=_digest(data))
        text, problems = decode(data, name)
        if text is None:
            return Verdict(Outcome.REJECTED, name, _told(problems), digest=_digest(data))
        return self._understood(name, text, data)

    def _found(self) -> str | None:
        return next((name for name in NAMES if os.path.lexists(self.card / name)), None)

    def _read(self, name: str) -> tuple[bytes, str]:
        """The content, or in its place what is there instead, and that in words."""
        try:
            return read_small_file(self.card / name, limit_bytes=LIMIT_BYTES)[0], ""
        except Unreadable as error:
            return error.found.encode(), f"{error.found}; {error.fix}"

    def _understood(self, name: str, text: str, data: bytes) -> Verdict:
        before = self._taken_before()
        # Written alike each time, whatever the quotes on the card: the same secrets are then the same text.
        whole = secrets.filled(secrets.blanked(text), {**secrets.known(before or ""), **secrets.known(text)})
        try:
            if strange := secrets.orphans(whole, name) + relative_paths(whole, name):
                raise ConfigError(in_order(strange))
            loaded = load(Path(name), env=self.env or {}, kept=Kept(Path(name), whole.encode(), PRIVATE, at=0.0))
        except ConfigError as error:
            return Verdict(Outcome.REJECTED, name, _told(error.problems), digest=_digest(data))
        if news := whole != before:
            self._hand_over(whole)
        lies, stuck = self._blank(name, text, data)
        return Verdict(
            Outcome.TAKEN if news else Outcome.UNCHANGED,
            name,
            warnings=_told(loaded.warnings),
            blanked=secrets.TAKEN.encode() in lies,
            stuck=stuck,
            first=before is None,
            digest=_digest(lies),
        )

    def _taken_before(self) -> str | None:
        try:
            return read_small_file(self.station_file, limit_bytes=2 * LIMIT_BYTES)[0].decode()
        except (Unreadable, UnicodeDecodeError):
            return None

    def _hand_over(self, text: str) -> None:
        """Whole, on the disk, and its new owner's, before it has the name that the station reads."""
        ready = self.state / ".taken"
        write_private(ready, text.encode())
        if self.owner is not None:
            os.chown(ready, *self.owner)
        ready.replace(self.station_file)
        sync_directory(self.state)

    def _blank(self, name: str, text: str, data: bytes) -> tuple[bytes, str]:
        """(the content that lies on the card afterwards, why the secrets could not be taken off it)."""
        fresh = secrets.blanked(text)
        if fresh == text:
            return data, ""
        if self.keep:
            return data, self.keep
        lies = as_before(fresh, data)
        try:
            with self.mount.writable():
                write_whole(self.card / name, lies)
        except (CardStuck, OSError) as error:
            return data, f"the card cannot be written: {error}"
        return lies, ""


def as_before(text: str, data: bytes) -> bytes:
    """The text with the line ends and the byte order mark that the owner's editor wrote."""
    windows = b"\r\n" in data
    mark = b"\xef\xbb\xbf" if data.startswith(b"\xef\xbb\xbf") else b""
    return mark + (text.replace("\n", "\r\n") if windows else text).encode()


def relative_paths(text: str, name: str) -> list[Problem]:
    """Files that are named as if they lay beside alto.yaml: it is taken elsewhere, and FAT keeps no secret."""
    found: list[Problem] = []
    document = compose(text, name).root
    livekit = _entry(document, "livekit") if isinstance(document, Section) else None
    for key, value in livekit.entries if isinstance(livekit, Section) else ():
        known = root().at(("livekit", key.text))
        if known is None or known.kind is not Kind.PATH or not isinstance(value, Scalar):
            continue
        if value.text and not value.text.startswith(("/", "~")):
            place, dotted = value.place, f"livekit.{key.text}"
            fix = "write the secret itself into alto.yaml: alto takes it off the card"
            found.append(
                Problem(name, place.line, place.column, dotted, "a path without a folder", "/a/whole/path", fix)
            )
    return found


def _entry(section: Section, name: str) -> object:
    return next((value for key, value in section.entries if key.text == name), None)


def _told(problems: Iterable[object]) -> tuple[str, ...]:
    """`alto.yaml:7:3: audio.inpt: …` → `line 7: audio.inpt: …`."""
    return tuple(re.sub(r"^[^:]*:(\d+):\d+: ", r"line \1: ", str(problem)) for problem in problems)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
