"""The table of stations: CSV with a header, each cell with its place. Semicolons, as some office programs write, do.

A column is a key of alto.yaml (`identity`, `room`, `audio.output.volume`), or a word of your own, which files of the
card may hold as `@word@`. An empty cell leaves what the template says.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.keys import Kind, root, split
from appliance.settings.problems import GIVEN_TWICE, MISSING, UNKNOWN_KEY, Problem
from appliance.settings.suggest import suggestion
from appliance.settings.text import decode

LIMIT_BYTES: Final = 4 * 1024 * 1024  # ten thousand stations with long names
IDENTITY: Final = "identity"
OWN_WORD: Final = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Cell:
    """What is written, and where: line and column from 1, the column in characters."""

    text: str
    line: int
    column: int


Row = dict[str, Cell]
"""By column; empty cells are not there."""


@dataclass(frozen=True, slots=True)
class Table:
    """As much of the table as could be read."""

    file: str
    columns: dict[str, Cell]
    rows: list[Row]
    problems: list[Problem]


def is_setting(column: str) -> bool:
    """Whether it is a key of alto.yaml that holds a value."""
    key = root().at(split(column))
    return key is not None and key.kind not in (Kind.SECTION, Kind.MAPPING)


def read_table(path: Path) -> Table:
    """Read it; never raises for what a person can write."""
    file = str(path)
    try:
        data, _ = read_small_file(path, limit_bytes=LIMIT_BYTES)
    except Unreadable as error:
        return Table(file, {}, [], [Problem(file, 1, 1, "", error.found, "a table of stations", error.fix)])
    text, problems = decode(data, file)
    if text is None:
        return Table(file, {}, [], problems)
    return _parsed(file, text)


def _parsed(file: str, text: str) -> Table:
    lines = [line for line in _lines(text) if any(cell.text for cell in line)]
    if not lines:
        problem = Problem(file, 1, 1, "", "an empty table", "a header and a line for each station", "write one")
        return Table(file, {}, [], [problem])
    header = lines[0]
    columns = {cell.text: cell for cell in header}
    problems = [*_open_quotes(file, text), *_header_problems(file, header)]
    rows = []
    for line in lines[1:]:
        if len(line) > len(header):
            problems.append(_one_too_many(file, line[len(header)], len(header)))
        names = (cell.text for cell in header)
        rows.append({name: cell for name, cell in zip(names, line, strict=False) if cell.text})
    problems += _identity_problems(file, columns, rows, [line[0] for line in lines[1:]])
    return Table(file, columns, rows, problems)


def _lines(text: str) -> Iterator[list[Cell]]:
    """Cells by line. Comment lines begin with #; a cell is on one line, because no value of alto.yaml has two."""
    first = next((line for line in text.split("\n") if line.strip() and not line.startswith("#")), "")
    comma = ";" if first.count(";") > first.count(",") else ","
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not line.startswith("#"):
            texts = next(csv.reader([line], delimiter=comma, skipinitialspace=True), [])
            starts = _starts(line, comma)
            yield [Cell(cell.strip(), number, starts[min(at, len(starts) - 1)]) for at, cell in enumerate(texts)]


def _open_quotes(file: str, text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count('"') % 2 and not line.startswith("#"):
            fix = "end it on this line; a quote inside a quoted cell is written twice"
            yield Problem(file, number, line.rfind('"') + 1, "", "a quote that does not end", "pairs of quotes", fix)


def _starts(line: str, comma: str) -> list[int]:
    """Where the cells begin, from 1: behind each separator that is not inside quotes."""
    starts, quoted = [1], False
    for at, char in enumerate(line):
        quoted ^= char == '"'
        if char == comma and not quoted:
            starts.append(at + 2)
    return [start + len(line[start - 1 :]) - len(line[start - 1 :].lstrip(" ")) for start in starts]


def _header_problems(file: str, header: list[Cell]) -> Iterator[Problem]:
    seen = Counter(cell.text for cell in header)
    if IDENTITY not in seen:
        fix = f"name one column {IDENTITY}: no two stations may share one"
        yield Problem(file, header[0].line, header[0].column, IDENTITY, MISSING, "a column of that name", fix)
    for at, cell in enumerate(header):
        name = cell.text
        if seen[name] > 1 and name in [one.text for one in header[:at]]:
            yield Problem(file, cell.line, cell.column, name, GIVEN_TWICE, "each column once", "delete one")
        elif not is_setting(name) and not OWN_WORD.fullmatch(name):
            allowed = "a key of alto.yaml, or a word of small letters, digits and _"
            yield Problem(file, cell.line, cell.column, name, UNKNOWN_KEY, allowed, suggestion(root(), name))


def _one_too_many(file: str, cell: Cell, columns: int) -> Problem:
    fix = "put a value that holds a comma into double quotes"
    return Problem(file, cell.line, cell.column, "", f'"{cell.text}" behind the last column', f"{columns} cells", fix)


def _identity_problems(file: str, columns: dict[str, Cell], rows: list[Row], firsts: list[Cell]) -> Iterator[Problem]:
    if IDENTITY not in columns:
        return
    seen: dict[str, int] = {}
    for row, first in zip(rows, firsts, strict=True):
        cell = row.get(IDENTITY)
        if cell is None:
            yield Problem(file, first.line, first.column, IDENTITY, MISSING, "a name of its own", "write one")
        elif cell.text in seen:
            fix = "two stations under one name throw each other out: rename one"
            found = f'"{cell.text}", as in line {seen[cell.text]}'
            yield Problem(file, cell.line, cell.column, IDENTITY, found, "each name once", fix)
        else:
            seen[cell.text] = cell.line
