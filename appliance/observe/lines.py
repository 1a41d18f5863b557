"""One event as one line: JSON for machines, or coloured text for a person, with the journal's priority in front."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final

from appliance.observe.values import Json, cut, field, key_text

SEVERITY: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

PRIORITY: Final = {"debug": b"<7>", "info": b"<6>", "warning": b"<4>", "error": b"<3>", "critical": b"<2>"}
"""sd-daemon(3): what the journal strips off the front of a line and keeps as PRIORITY."""

LONGEST_LINE: Final = 45_000  # bytes; journald splits lines at LineMax=48K, and half a JSON object is no JSON object

_BREAKS: Final = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}  # characters that some readers break lines at

Fields = MutableMapping[str, Any]
Render = Callable[[str, str, Fields], bytes]
"""(level, event, fields) → a whole line with its line end."""


def timestamp(seconds: float) -> str:
    """ISO 8601, UTC, milliseconds, Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def with_traceback(fields: Fields) -> Fields:
    """Turn structlog's `exc_info` (True, an exception or a triple) into the text field `traceback`."""
    fields.pop("stack_info", None)
    error = fields.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        fields["traceback"] = "".join(traceback.format_exception(error)).rstrip()
    return fields


def json_line(seconds: float, level: str, event: str, fields: Fields, *, prefix: bool) -> bytes:
    """timestamp, level, event, then the fields in the order the caller wrote them. Never raises."""
    head: dict[str, Json] = {"timestamp": timestamp(seconds), "level": level, "event": cut(str(event), 200)}
    for longest in (8192, 1024, 120):
        body = {
            key_text(name): field(name, value, longest=longest) for name, value in fields.items() if name not in head
        }
        line = _encoded(head | body)
        if len(line) <= LONGEST_LINE:
            break
    else:
        line = _encoded(head | {"cut": True})
    return (PRIORITY[level] if prefix else b"") + line + b"\n"


def _encoded(data: dict[str, Json]) -> bytes:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(", ", ": "))
    return text.translate(_BREAKS).encode("utf-8", "backslashreplace")  # lone surrogates become valid JSON escapes


class ConsoleLines:
    """Lines for a person, by structlog's own console renderer."""

    def __init__(self, *, colours: bool) -> None:
        from structlog.dev import ConsoleRenderer

        self._render = ConsoleRenderer(colors=colours, pad_event_to=24, sort_keys=False)

    def line(self, seconds: float, level: str, event: str, fields: Fields, *, prefix: bool) -> bytes:
        """As `json_line`; a traceback follows on lines of its own, each with the priority when `prefix`."""
        shown: dict[str, Any] = {
            "timestamp": timestamp(seconds)[11:23],
            "level": level,
            "event": cut(str(event), 200),
            **{
                key_text(name): field(name, value)
                for name, value in fields.items()
                if name not in ("timestamp", "level")
            },
        }
        if "traceback" in shown:
            shown["exception"] = shown.pop("traceback")
        text = str(self._render(None, level, shown))
        mark = PRIORITY[level] if prefix else b""
        return b"".join(mark + row.encode("utf-8", "backslashreplace") + b"\n" for row in text.split("\n"))
