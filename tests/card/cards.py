"""A card and a state directory in a folder, and a mount that counts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from appliance.card.inbox import Inbox
from appliance.card.mount import CardStuck

SECRET: Final = "hush-hush-0123456789-abcdefghijklmnop"  # noqa: S105 (made up)
VALID: Final = f'''\
identity: kitchen
livekit:
  url: wss://example.org
  api_key: APIkey
  api_secret: "{SECRET}"
'''


class FakeMount:
    """`Mount` over a folder that takes writes only while it is open."""

    def __init__(self, card: Path) -> None:
        self._card = card
        self.openings = 0
        self.stuck = ""
        self.is_open = True

    @contextlib.contextmanager
    def writable(self) -> Iterator[None]:
        if self.stuck:
            raise CardStuck(self.stuck)
        self.openings += 1
        was, self.is_open = self.is_open, True
        try:
            yield
        finally:
            self.is_open = was

    def close(self) -> None:
        self.is_open = False


class Bench:
    """A card, a station's state, and looks at them."""

    def __init__(self, root: Path) -> None:
        self.card, self.state = root / "card", root / "state"
        self.card.mkdir()
        self.state.mkdir()
        self.mount = FakeMount(self.card)
        self.inbox = Inbox(self.card, self.state, self.mount)

    @property
    def taken(self) -> str:
        """What the station runs with; empty: nothing."""
        file = self.state / "alto.yaml"
        return file.read_text() if file.exists() else ""

    def save(self, content: str | bytes, name: str = "alto.yaml") -> None:
        (self.card / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def lies(self, name: str = "alto.yaml") -> bytes:
        return (self.card / name).read_bytes()
