"""The filter before the SDK's logger: tokens go, and nothing is raised into the SDK."""

from __future__ import annotations

import logging

from appliance.network.sdk_log import SdkLogFilter

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJraXRjaGVuIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"  # noqa: S105 (made up)


def _record(text: str, *arguments: object, level: int = logging.ERROR) -> logging.LogRecord:
    return logging.LogRecord("livekit", level, __file__, 1, text, arguments, None)


def test_a_token_in_a_line_is_taken_out() -> None:
    record = _record("401: %s", f"invalid token: {TOKEN}")
    assert SdkLogFilter().filter(record)
    assert TOKEN not in record.getMessage()


def test_a_line_whose_arguments_do_not_fit_is_shown_and_raises_nothing() -> None:
    record = _record("%d items", "many")
    assert SdkLogFilter().filter(record)
    assert "many" in record.getMessage()
