"""The SDK's log lines, made fit for ours."""

from __future__ import annotations

import logging
from typing import Final

from appliance.network import explain

REPORTED_BY_US: Final = ("livekit::rtc_engine", "livekit_ffi::room_apis", "livekit_signaling", "task cancelled")


class SdkLogFilter(logging.Filter):
    """Takes tokens out of the SDK's lines, and makes debug lines of what alto reports itself.

    The SDK logs the server's answer to a refused token, which quotes the token, at error level on every attempt, and
    each of its reconnect attempts as two errors more.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; False drops it."""
        record.msg, record.args = explain.redact(_text(record)), ()
        if record.levelno <= logging.INFO or record.msg.startswith(REPORTED_BY_US):
            record.levelno, record.levelname = logging.DEBUG, "DEBUG"
            return logging.getLogger(record.name).isEnabledFor(logging.DEBUG)
        return True


def _text(record: logging.LogRecord) -> str:
    """The whole line. A filter must not raise: it would raise into the SDK's own call."""
    try:
        return record.getMessage()
    except (TypeError, ValueError):  # arguments that do not fit the text: show both
        return f"{record.msg!r} {record.args!r}"


def quieten() -> None:
    """Put the filter before the SDK's logger. Idempotent."""
    logger = logging.getLogger("livekit")
    if not any(isinstance(present, SdkLogFilter) for present in logger.filters):
        logger.addFilter(SdkLogFilter())
