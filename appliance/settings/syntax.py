"""What PyYAML stumbled over, in words for a person who edits a file and does not know YAML."""

from __future__ import annotations

import re
from typing import Final

from yaml.error import Mark, MarkedYAMLError

from appliance.settings.problems import Problem

ALLOWED: Final = '"key: value" lines, indented with spaces'

_COLON: Final = "a colon where none can be"
_INDENTED: Final = "a line that is indented otherwise than those above it"
_AFTER_THE_END: Final = "text after the end of the document"
_LINE_FIX: Final = 'write "key: value", or # before it if it is a note'

# What PyYAML says (a part of it) → whether the place where the construct began is the one to show, what was found,
# what to do. The first one that fits counts.
_WORDS: Final = (
    ("found character '\\t'", False, "a tab", "replace the tab by spaces"),
    ("found character '@'", False, "a value that begins with @", "put the value in quotes"),
    ("found character '`'", False, "a value that begins with `", "put the value in quotes"),
    ("found character '%'", False, "a value that begins with %", "put the value in quotes"),
    ("mapping values are not allowed", False, _COLON, ""),
    (
        "could not find expected ':'",
        True,
        "a line without a colon",
        'write "key: value", or # before it if it is a note',
    ),
    ("sequence entries are not allowed", False, "a - where none can be", "delete the -: alto.yaml has no lists"),
    ("mapping keys are not allowed", False, "a ? where none can be", "delete the ?, or put the value in quotes"),
    ("scanning a quoted scalar", True, "a quote that is never closed", "close the quote at the end of the value"),
    ("scanning a double-quoted scalar", False, "a backslash", "use 'single quotes', or write \\\\ for one backslash"),
    (
        "flow sequence",
        True,
        "a [ that is never closed",
        "alto.yaml has no lists; put a value that begins with [ in quotes",
    ),
    ("flow mapping", True, "a { that is never closed", "close the brace, with a comma between two entries"),
    ("scanning an alias", False, "a value that begins with *", "put the value in quotes"),
    ("scanning an anchor", False, "a value that begins with &", "put the value in quotes"),
    ("scanning a block scalar", False, "a value that begins with | or >", "put the value in quotes"),
    ("a tag", False, "a value that begins with !", "put the value in quotes"),
    ("tag handle", False, "a value that begins with !", "put the value in quotes"),
    ("directive", False, "a line that begins with %", "delete the line"),
    ("incompatible YAML document", False, "a %YAML line of another version", "delete the line"),
    ("expected '<document start>'", False, _AFTER_THE_END, "delete the line with ... before it"),
    ("expected <block end>", False, _INDENTED, ""),
    ("expected the node content", False, "a sign where a value should be", "put the value in quotes"),
)
_OTHERWISE: Final = (False, "something that is not YAML", "compare the line with config/alto.reference.yaml")


def problem(error: MarkedYAMLError, text: str, file: str) -> Problem:
    """The error as a located Problem. The file's text is looked at for the fix, never quoted."""
    said = f"{error.context or ''} {error.problem or ''}"
    at_start, found, fix = next((words for part, *words in _WORDS if part in said), _OTHERWISE)
    mark = (error.context_mark if at_start else None) or error.problem_mark or error.context_mark
    return located(mark, str(found), str(fix), text, file)


def located(mark: Mark | None, found: str, fix: str, text: str, file: str) -> Problem:
    """A syntax problem at a mark of PyYAML's, or at the place beside it that the lines themselves suggest."""
    lines = text.split("\n")
    # The end of the file counts as its last line that holds something: that is where somebody has to look.
    line = min(mark.line if mark else 0, _last_written(lines, len(lines)))
    column = mark.column if mark and mark.line == line else len(lines[line].rstrip())
    seen = (
        _no_break_space(lines, line)
        or _tab(lines, line)
        or _misplaced(lines, line, column, found)
        or _ended_early(lines, line, found)
    )
    line, column, found, fix = seen or (line, column, found, fix)
    return Problem(file, line + 1, column + 1, "", found, ALLOWED, fix)


_Seen = tuple[int, int, str, str]
"""Line and column (from 0), what was found, what to do."""


def _no_break_space(lines: list[str], line: int) -> _Seen | None:
    column = lines[line].find("\N{NO-BREAK SPACE}")
    if column < 0:
        return None
    return line, column, "a no-break space (U+00A0)", "replace it by an ordinary space"


def _tab(lines: list[str], line: int) -> _Seen | None:
    column = _indent(lines[line]).find("\t")
    return (line, column, "a tab", "replace the tab by spaces") if column >= 0 else None


def _misplaced(lines: list[str], line: int, column: int, found: str) -> _Seen | None:
    """What is wrong around a colon, or an indentation, that PyYAML did not expect."""
    if found not in (_COLON, _INDENTED):
        return None
    here, start = lines[line], len(_indent(lines[line]))
    if here.strip().startswith(":"):
        return line, start, "a colon without a key before it", "write the key, or delete the line"
    if re.match(r"\s*-(\s|$)", here):
        return line, start, "a list (a line that begins with -)", "delete the -: alto.yaml has no lists"
    if _has_key(here[:column]):
        if found == _COLON:
            return line, column, found, "put the value in quotes: it holds a colon and a space"
        return line, column, "text after the end of a value", "put the whole value in one pair of quotes"
    before = _last_written(lines, line)
    if found == _COLON and before < line and not _has_key(lines[before]) and not _continues(lines[before]):
        return before, len(_indent(lines[before])), "a line without a colon and a space", _LINE_FIX
    if _has_key(lines[before]) and not _opens(lines[before]) and len(_indent(lines[before])) < start:
        fix = f"delete the value behind the colon in line {before + 1}, or the spaces at the beginning of this line"
        return line, start, "a line below a key that has a value already", fix
    return line, start, _INDENTED, "indent it exactly like the other keys of its section, with spaces"


def _ended_early(lines: list[str], line: int, found: str) -> _Seen | None:
    """The first thing in the file was a document of its own: it was indented, or it was not a key at all."""
    before = [at for at in range(line) if lines[at].strip() and not re.match(r"\s*#|---|%", lines[at])]
    if found != _AFTER_THE_END or not before or any(lines[at].startswith("...") for at in before):
        return None
    first = before[0]
    if start := len(_indent(lines[first])):
        return first, start, "an indented line that belongs to no section", "delete the spaces at its beginning"
    return first, 0, "a value without a key", _LINE_FIX


def _opens(line: str) -> bool:
    """Whether nothing but a comment stands behind the line's colon: a section begins."""
    return re.search(r":\s*(#.*)?$", line) is not None


def _has_key(line: str) -> bool:
    return re.search(r":(\s|$)", line) is not None


def _continues(line: str) -> bool:
    return line.strip()[-1:] in ("{", "[", ",")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _last_written(lines: list[str], before: int) -> int:
    """The last line before `before` that holds more than a comment."""
    written = (at for at in range(before - 1, -1, -1) if lines[at].strip() and not lines[at].strip().startswith("#"))
    return next(written, 0)
