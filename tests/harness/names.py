"""A name server that says what a test wants, or nothing."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.netns import Machine

PORT: Final = 53
NO_SUCH_NAME: Final = ""
"""An answer: the name does not exist."""

_TYPE_A: Final = 1
_HEADER_BYTES: Final = 12
_FOUND, _NAME_ERROR = b"\x81\x80", b"\x81\x83"


class NameServer:
    """Answers for one machine of a test's network, at its own address, on a thread.

    `answer` is an IPv4 address for every name, NO_SUCH_NAME, or None for silence; `delay_s` is what it takes its time
    for. Both may be changed at any time.
    """

    def __init__(self, machine: Machine, answer: str | None, *, delay_s: float = 0.0) -> None:
        self.answer = answer
        self.delay_s = delay_s
        self.questions = 0
        self.address: Final = machine.address
        self._socket: Final = machine.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self._socket.bind((machine.address, PORT))
        threading.Thread(target=self._serve, name="names", daemon=True).start()

    def resolv_conf(self, directory: Path) -> Path:
        """A file to hand to `Machine.resolve_by`."""
        path = directory / "resolv.conf"
        path.write_text(f"nameserver {self.address}\n")
        return path

    def close(self) -> None:
        """Answer no more. Idempotent."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait for a question
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                question, asker = self._socket.recvfrom(4096)
                self.questions += 1
                if len(question) <= _HEADER_BYTES:
                    return
                threading.Thread(target=self._reply, args=(question, asker), daemon=True).start()

    def _reply(self, question: bytes, asker: tuple[str, int]) -> None:
        time.sleep(self.delay_s)
        if (answer := self.answer) is not None:
            with contextlib.suppress(OSError):
                self._socket.sendto(_reply(question, answer), asker)


def _reply(question: bytes, answer: str) -> bytes:
    """Only addresses are known, and of those only IPv4's: any other question has an empty answer."""
    end = question.index(b"\0", _HEADER_BYTES) + 5
    asked, kind = question[_HEADER_BYTES:end], int.from_bytes(question[end - 4 : end - 2], "big")
    flags = _FOUND if answer else _NAME_ERROR
    count = int(bool(answer) and kind == _TYPE_A)
    head = question[:2] + flags + b"\0\1" + count.to_bytes(2, "big") + b"\0\0\0\0"
    record = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + ipaddress.IPv4Address(answer).packed if count else b""
    return head + asked + record
