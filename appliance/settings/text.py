"""The bytes of a file → text, or located words about what kind of bytes they are."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterator
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
    data = data.removeprefix(codecs.BOM_UTF8)
    problems = [_not_utf8(data, at, file) for at in _first_of_each_line(data, _undecodable(data))]
    if problems:
        return None, problems
    text = data.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    matches = {text.count("\n", 0, match.start()): match for match in reversed(_found_forbidden(text))}
    problems = [_forbidden(text, line, match, file) for line, match in sorted(matches.items())]
    return (None if problems else text), problems[:MAX_TEXT_PROBLEMS]


def _other_unicode(data: bytes) -> str | None:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return name
    head = data[:64]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    # Latin letters in UTF-16 have a zero in every second byte, and in no other.
    return "UTF-16" if len(head) >= 4 and max(even, odd) > len(head) // 3 and min(even, odd) == 0 else None


def _undecodable(data: bytes) -> Iterator[int]:
    """Offset of every byte that is not UTF-8."""
    start = 0
    while start < len(data):
        try:
            data[start:].decode("utf-8")
        except UnicodeDecodeError as err:
            yield start + err.start
            start += err.end
        else:
            return


def _first_of_each_line(data: bytes, offsets: Iterator[int]) -> Iterator[int]:
    last_line, count = -1, 0
    for at in offsets:
        line = data.count(b"\n", 0, at)
        if line == last_line:
            continue
        if count == MAX_TEXT_PROBLEMS:
            return
        last_line, count = line, count + 1
        yield at


def _not_utf8(data: bytes, at: int, file: str) -> Problem:
    line = data.count(b"\n", 0, at) + 1
    column = len(data[data.rfind(b"\n", 0, at) + 1 : at].decode("utf-8", "replace")) + 1
    found = f"byte 0x{data[at]:02X}, which is not UTF-8 (the file was saved as Latin-1 or Windows-1252?)"
    return Problem(file, line, column, "", found, "UTF-8 text", _SAVE_AS)


def _found_forbidden(text: str) -> list[re.Match[str]]:
    return list(_FORBIDDEN.finditer(text))


def _forbidden(text: str, line: int, match: re.Match[str], file: str) -> Problem:
    column = match.start() - (text.rfind("\n", 0, match.start()) + 1) + 1
    char = match.group()
    name = "a NUL character" if char == "\0" else unicodedata.name(char, "a control character").lower()
    found = f"U+{ord(char):04X} ({name})"
    fix = "delete the invisible character, or write the line anew"
    if char == "\0":
        fix = "delete it; zero bytes in a file are often left by a power cut, then restore it from a copy"
    return Problem(file, line + 1, column, "", found, "visible text", fix)
