"""Runs in the guest: takes calls from the shared directory, each in a process of its own, and writes the answers."""

from __future__ import annotations

import faulthandler
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Final

# Loaded once here: a call's process need not load them again.
import tests.guest.inside_cards
import tests.guest.inside_formats  # noqa: F401

LOOK_S: Final = 0.02  # hostfs tells nobody about new files
STACKS_S: Final = 2.0  # for a process that is to be ended to write where its threads stand


def main(share: Path) -> None:
    """Answer calls until the file `stop` appears."""
    number = 0
    (share / "ready").write_text("")
    while not (share / "stop").exists():
        request = share / f"{number}.request"
        if not request.exists():
            time.sleep(LOOK_S)
            continue
        _answer(json.loads(request.read_text()), share / f"{number}.answer")
        number += 1


def _answer(request: dict[str, Any], path: Path) -> None:
    reader, writer = os.pipe()
    stacks = path.with_suffix(".stacks")
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setpgid(0, 0)
        faulthandler.enable(stacks.open("w"))
        _run(request, writer)
    os.close(writer)
    text = _read(reader, child, request["deadline_s"], stacks)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    answer = text or json.dumps({"error": _ended(status, stacks), "value": None})
    part = path.with_suffix(".part")
    part.write_text(answer)
    part.rename(path)


def _ended(status: int, stacks: Path) -> str:
    """Why there is no answer: a signal that it died of comes with where its threads stood."""
    code = os.waitstatus_to_exitcode(status)
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"its process {how} without an answer; it stood in\n{stacks.read_text()}"


def _run(request: dict[str, Any], writer: int) -> None:
    """The child: never returns. `os._exit` because PortAudio's and other threads must not hold it up."""
    try:
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        answer = {"error": "", "value": function(**request["arguments"])}
        text = json.dumps(answer)
    except BaseException:
        text = json.dumps({"error": traceback.format_exc(), "value": None})
    with os.fdopen(writer, "w") as pipe:
        pipe.write(text)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _read(reader: int, child: int, deadline_s: float, stacks: Path) -> str:
    """What the child wrote; at the deadline its process group is ended, after it told where its threads stand."""
    end = time.monotonic() + deadline_s
    data = b""
    while (left := end - time.monotonic()) > 0:
        ready, _, _ = select.select([reader], [], [], left)
        chunk = os.read(reader, 1 << 16) if ready else b""
        if ready and not chunk:
            return data.decode()
        data += chunk
    os.kill(child, signal.SIGABRT)  # faulthandler's: written even where the interpreter stands
    select.select([reader], [], [], STACKS_S)
    os.killpg(child, signal.SIGKILL)
    stood = stacks.read_text()
    return json.dumps(
        {"error": f"took longer than {deadline_s:g} s and was ended; it stood in\n{stood}", "value": None}
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
