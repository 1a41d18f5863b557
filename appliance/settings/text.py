"""The bytes of a file → text, or located words about what kind of bytes they are."""

from __future__ import annotations

import codecs
import re
import unicodedata
from itertools import islice
from typing import Final

from appliance.settings.problems import Problem

MAX_TEXT_PROBLEMS: Final = 10  # a wrong encoding shows in every line; ten are enough to see the pattern

_BOMS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)

# What YAML forbids, what ends a line for YAML and for no editor, and what nobody can see: each makes a file mean
# something else than it shows.
_FORBIDDEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_SAVE_AS: Final = 'save the file as "UTF-8" (in the editor\'s save dialog)'


def decode(data: bytes, file: str) -> tuple[str | None, list[Problem]]:
    """UTF-8 text with plain line feeds; a byte order mark and Windows line ends are taken away.

    None when it is no usable text; then there is at least one problem.
    """
    if (encoding := _other_unicode(data)) is not None:
        found = f"{encoding} text"
        return None, [Problem(file, 1, 1, "", found, "UTF-8 text", _SAVE_AS)]
    if data and not data.strip(b"\0"):
        fix = "the file was lost in a power cut: restore it from a copy"
        return None, [Problem(file, 1, 1, "", f"{len(data)} zero bytes", "UTF-8 text", fix)]
    lines = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    bad = (_not_utf8(line, number, file) for number, line in enumerate(lines, 1))
    if problems := list(islice((problem for problem in bad if problem), MAX_TEXT_PROBLEMS)):
        return None, problems
    text = b"\n".join(lines).decode("utf-8")
    hidden = (_forbidden(line, number, file) for number, line in enumerate(text.split("\n"), 1))
    problems = list(islice((problem for problem in hidden if problem), MAX_TEXT_PROBLEMS))
    return (None if problems else text), problems


def _other_unicode(data: bytes) -> str | None:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    head = data[:64]
    if len(head) >= 8 and head.count(0) * 4 >= len(head) * 3 and head.strip(b"\0"):
        return "UTF-32"
    even, odd = head[0::2].count(0), head[1::2].count(0)
    # Latin letters in UTF-16 have a zero in every second byte, and in no other.
    return "UTF-16" if len(head) >= 4 and max(even, odd) > len(head) // 3 and min(even, odd) == 0 else None


def _not_utf8(line: bytes, number: int, file: str) -> Problem | None:
    """The first byte of the line that is not UTF-8."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as err:
        column = len(line[: err.start].decode("utf-8")) + 1
        found = f"byte 0x{line[err.start]:02X}, which is not UTF-8 (the file was saved as Latin-1 or Windows-1252?)"
        return Problem(file, number, column, "", found, "UTF-8 text", _SAVE_AS)
    return None


def _forbidden(line: str, number: int, file: str) -> Problem | None:
    """The first character of the line that must not be in it."""
    match = _FORBIDDEN.search(line)
    if match is None:
        return None
    char = match.group()
    name = "a NUL character" if char == "\0" else unicodedata.name(char, "a control character").lower()
    fix = "delete the invisible character, or write the line anew"
    if char == "\0":
        fix = "delete it; zero bytes in a file are often left by a power cut, then restore it from a copy"
    return Problem(file, number, match.start() + 1, "", f"U+{ord(char):04X} ({name})", "visible text", fix)
