"""The pieces of a simulated station's surroundings that faults push around, and that may overlap on one piece."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.fakes.backend import FakeBackend, usb_card
from tests.fakes.room import Answer, FakeServer, FakeTrack
from tests.simulation.surroundings import WatchedServer

CARD: Final = "Device"
OTHER_CARD: Final = "Other"
FRAME: Final = np.zeros(480, np.int16)
FRAME.flags.writeable = False


class Sky:
    """What lies over the way to the server: several conditions at once, of which the worst is felt. A deaf one answers
    questions, and keeps silent when somebody wants to join."""

    WORST: Final = (
        ("killed", Answer.REFUSE),
        ("drained", Answer.REFUSE),
        ("frozen", Answer.SILENT),
        ("unavailable", Answer.REFUSE),
        ("rejecting", Answer.REJECT),
        ("deaf", Answer.SILENT),
        ("late", Answer.LATE),
    )

    def __init__(self, server: WatchedServer) -> None:
        self._server = server
        self._on: set[str] = set()

    def set(self, condition: str) -> None:
        self._on.add(condition)
        if condition == "killed":
            self._server.kill()
        elif condition == "frozen":
            self._server.freeze()
        elif condition == "drained":
            self._server.close_room("the server shuts down")
        self._feel()

    def clear(self, condition: str) -> None:
        self._on.discard(condition)
        if condition in ("killed", "frozen") and not self._on & {"killed", "frozen"}:
            self._server.start()
            if "rejecting" in self._on:  # it came back with other keys: whoever reconnects is refused
                self._server.close_room("the token is not good any more")
        self._feel()

    def _feel(self) -> None:
        name, felt = next((worst for worst in self.WORST if worst[0] in self._on), ("", Answer.ACCEPT))
        self._server.default_answer = felt
        self._server.shows_front_page = name == "deaf"


class Rack:
    """The station's card, with all that can be wrong with it at the same time."""

    def __init__(self, cards: FakeBackend, rng: random.Random) -> None:
        self._cards = cards
        self._rng = rng
        self._wrong: Counter[str] = Counter()

    def pull(self) -> None:
        if not self._wrong["pulled"]:
            self._cards.unplug(CARD)
        self._wrong["pulled"] += 1

    def replug(self) -> None:
        """The last one who pulled it puts it back, under whatever index."""
        self._wrong["pulled"] -= 1
        if not self._wrong["pulled"]:
            self._cards.plug(usb_card(CARD), index=self._rng.choice((0, 2, 5)))
            self._handle()

    def hold(self) -> None:
        self._change("held", 1)

    def release(self) -> None:
        self._change("held", -1)

    def stop(self) -> None:
        self._change("stopped", 1)

    def resume(self) -> None:
        self._change("stopped", -1)

    def _change(self, what: str, by: int) -> None:
        self._wrong[what] += by
        self._handle()

    def _handle(self) -> None:
        if self._wrong["pulled"]:
            return
        (self._cards.hold if self._wrong["held"] else self._cards.release)(CARD)
        (self._cards.stop if self._wrong["stopped"] else self._cards.resume)(CARD)


class Crowd:
    """Other people, who come, talk and go."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._number = 0
        self._speakers: list[FakeTrack] = []

    def come(self, count: int) -> None:
        for _ in range(count):
            self._number += 1
            person = self._server.join(f"person{self._number}")
            self._speakers.append(person.publish())
            if self._number % 3 == 0:
                self._speakers.append(person.publish(is_microphone=False))

    def go(self) -> None:
        """Everybody leaves but bob, who always talks."""
        for identity in list(self._server.participants):
            if identity.startswith("person"):
                self._server.participants[identity].leave()
        self._speakers = []

    def beat(self, bob: FakeTrack) -> None:
        """A frame of everybody's."""
        for track in (bob, *self._speakers):
            for room in self._server.sessions():
                if not room.muffled and (voice := room.voices.get(track.sid)):
                    voice.put(FRAME)


class SavedFile:
    """alto.yaml as somebody edits it."""

    def __init__(self, path: Path, values: Mapping[str, Any], saved: Callable[[str], None]) -> None:
        self.path = path
        self.values = dict(values)
        self._saved = saved
        self.write()

    def change(self, **values: Any) -> None:
        self.values.update(values)
        self.write()

    def write(self) -> None:
        self.path.write_text(self.text())
        self._saved(", ".join(f"{key}={value}" for key, value in self.values.items()))

    def spoil(self, rng: random.Random) -> None:
        """What a power cut, an editor or a person may leave."""
        text = self.text()
        half = text[: rng.randint(0, len(text) - 1)]
        unknown = text.replace("room", "rom")
        self.path.write_text(rng.choice((half, "", "audio: [\n", text + "\nvolume: loud\n", unknown)))
        self._saved("something that cannot be used")

    def text(self) -> str:
        return TEMPLATE.format(**{key: json.dumps(value) for key, value in self.values.items()})


TEMPLATE: Final = """\
identity: kitchen
room: {room}
livekit:
  url: ws://fake.invalid:7880
  api_key: devkey
  api_secret: not-a-secret-but-long-enough-for-hs256-even-when-half-of-the-file-is-lost
audio:
  block_ms: {block_ms}
  input: {{enabled: {input_enabled}, device: {input_device}}}
  output: {{device: {output_device}, volume: {output_volume}}}
  volumes: {{bob: {bob}}}
supervisor:
  retry_max_s: {retry_max_s}
  recovery_patience_s: {recovery_patience_s}
"""
