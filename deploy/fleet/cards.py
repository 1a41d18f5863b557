"""What goes on each card: alto.yaml from the template and a line of the table, and the other files that it needs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from rights import ApiKey, kept, made
from table import IDENTITY, Cell, Row, Table, is_setting

from appliance.errors import ConfigError
from appliance.network.token import end_of_ready_token
from appliance.settings import emit
from appliance.settings.changes import value_at
from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.kept import Kept
from appliance.settings.keys import Key, Kind, root
from appliance.settings.load import LIMIT_BYTES, Loaded, load
from appliance.settings.model import Settings
from appliance.settings.problems import DEFAULT, UNKNOWN_KEY, Problem
from appliance.settings.secrets import MASK, Right
from appliance.settings.suggest import suggestion

CONFIG: Final = "alto.yaml"
FILE_BYTES: Final = 1024 * 1024  # a card's own files are a few lines each
KNOWN_WORDS: Final = frozenset({"host"})
"""Columns of one's own that need no file: the manifest and the targets use them."""

RIGHTS: Final = frozenset(
    f"livekit.{name}"
    for name in ("api_key", "api_secret", "api_key_file", "api_secret_file", "token", "token_file", "token_endpoint")
)
"""Columns by which a station brings a right of its own: no token is made for it."""

_TO_BE_MADE: Final = "made.for.this-station"
_WORD: Final = re.compile(r"@([a-z][a-z0-9_.]*)@")
_FLAG: Final = "flag "


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    template: Path
    table: Table
    out: Path
    extra: Path | None
    key: ApiKey | None
    life_s: int
    renew_within_s: float
    """A token that lives no longer than this is made anew; infinity: each one."""


@dataclass(frozen=True, slots=True)
class Card:
    """One station's files, by their path on the card."""

    settings: Settings
    folder: str
    host: str
    files: Mapping[str, bytes] = field(repr=False)
    token_ends_at: float | None
    """Seconds since 1970; None: its right to join does not end."""


def cards(order: Order) -> tuple[list[Card], list[Problem]]:
    """Every card, or everything that is wrong with template, table and files."""
    try:
        data, status = read_small_file(order.template, limit_bytes=LIMIT_BYTES)
    except Unreadable as error:
        found = Problem(str(order.template), 1, 1, "", error.found, "a template of alto.yaml", error.fix)
        return [], [found, *order.table.problems]
    template = Kept(Path(order.template.name), data, status, time.time())
    files, problems = _extra_files(order)
    problems += [*order.table.problems, *_unused_columns(order.table, files)]
    done: list[Card] = []
    for row in order.table.rows if IDENTITY in order.table.columns else []:
        card, wrong = _card(order, template, row, files)
        problems += wrong
        done += [card] if card else []
    problems += [*_shared_folders(order.table, done), *_shared_secrets(order.table, done)]
    return done, list({str(problem): problem for problem in problems}.values())


def _card(order: Order, template: Kept, row: Row, files: Mapping[str, bytes]) -> tuple[Card | None, list[Problem]]:
    try:
        loaded = _loaded(order, template, row)
    except ConfigError as error:
        return None, [_placed(order, row, problem) for problem in error.problems if isinstance(problem, Problem)]
    if problems := list(_second_rights(order, loaded)):
        return None, problems
    folder = _folder(loaded.settings.identity)
    settings = _with_token(order, loaded, order.out / folder / CONFIG)
    made_files, problems = _filled(order, files, _words(order.table, row, settings))
    content = _text(settings, _written(loaded), order).encode()
    _check(settings, content)
    host = row["host"].text if "host" in row else ""
    ends = end_of_ready_token(settings.livekit)
    return Card(settings, folder, host, {CONFIG: content, **made_files}, ends), problems


# ---- alto.yaml -----------------------------------------------------------------------------------------------------


def _loaded(order: Order, template: Kept, row: Row) -> Loaded:
    """The template with the row laid over it, as alto lays flags over a file. Raises ConfigError."""
    flags: dict[str, object] = {name: cell.text for name, cell in row.items() if is_setting(name)}
    if order.key is not None and not RIGHTS & flags.keys():
        flags["livekit.token"] = _TO_BE_MADE
    return load(template.path, flags=flags, flag_names={name: name for name in flags}, env={}, kept=template)


def _placed(order: Order, row: Row, problem: Problem) -> Problem:
    """With the place in the table or the template, instead of the flag that the cell was taken for."""
    cell = row.get(problem.file.removeprefix(_FLAG))
    if problem.file.startswith(_FLAG) and cell is not None:
        return replace(problem, file=order.table.file, line=cell.line, column=cell.column)
    return replace(problem, file=str(order.template))


def _second_rights(order: Order, loaded: Loaded) -> Iterator[Problem]:
    """A template that has a right of its own, while tokens are to be made."""
    if order.key is None:
        return
    for key, origin in loaded.unused.items():
        if origin.line:
            fix = f"delete {key} from the template, or give no API key"
            found = "a right to join in the template, beside an API key for tokens"
            yield replace(origin.problem(key, found, "one of the two", fix), file=str(order.template))


def _with_token(order: Order, loaded: Loaded, card: Path) -> Settings:
    settings = loaded.settings
    placeholder = settings.livekit.token is not None and settings.livekit.token.get_secret_value() == _TO_BE_MADE
    if order.key is None or loaded.right is not Right.TOKEN or not placeholder:
        return settings
    token = kept(card, settings, good_until=time.time() + order.renew_within_s)
    token = token or made(settings, order.key, order.life_s)
    return settings.model_copy(update={"livekit": settings.livekit.model_copy(update={"token": SecretStr(token)})})


def _written(loaded: Loaded) -> set[str]:
    """The keys that somebody wrote, in template or table: defaults stay alto's."""
    written = {key for key, origin in loaded.origins.items() if origin != DEFAULT}
    return {key.dotted for key in root().leaves() if any(f"{one}.".startswith(f"{key.dotted}.") for one in written)}


def _text(settings: Settings, written: set[str], order: Order) -> str:
    head = (
        f"# {settings.identity}: made from {order.template.name} and {Path(order.table.file).name};\n"
        "# change those, and make it anew.\n"
    )
    return head + "\n".join(_section(root(), settings, written)) + "\n"


def _section(section: Key, settings: Settings, written: set[str]) -> Iterator[str]:
    for key in section.children.values():
        indent = "  " * (len(key.path) - 1)
        if key.kind is Kind.SECTION:
            lines = list(_section(key, settings, written))
            yield from [f"{indent}{key.name}:", *lines] if lines else []
        elif key.dotted in written:
            value = value_at(settings, key.path)
            if isinstance(value, dict):
                yield f"{indent}{key.name}:"
                yield from (f"{indent}  {emit.text(name)}: {_scalar(one)}" for name, one in value.items())
            elif value is not None:
                yield f"{indent}{key.name}: {_scalar(value)}"


def _scalar(value: object) -> str:
    return emit.text(value.get_secret_value()) if isinstance(value, SecretStr) else emit.scalar(value)


def _check(settings: Settings, content: bytes) -> None:
    """What was made is read back by alto itself, as the station will, and must mean the same."""
    path = Path(CONFIG)
    again = load(path, env={}, kept=Kept(path, content, Path("/").stat(), time.time())).settings
    if again != settings:
        raise AssertionError(f"{settings.identity}: the file made for it does not mean what it should")


# ---- the other files -------------------------------------------------------------------------------------------------


def _extra_files(order: Order) -> tuple[dict[str, bytes], list[Problem]]:
    if order.extra is None:
        return {}, []
    if not order.extra.is_dir():
        fix = "name the folder whose files go on every card"
        return {}, [Problem(str(order.extra), 1, 1, "", "no such folder", "a folder", fix)]
    files: dict[str, bytes] = {}
    problems = []
    for path in sorted(one for one in order.extra.rglob("*") if not one.is_dir()):
        name = path.relative_to(order.extra).as_posix()
        try:
            files[name] = read_small_file(path, limit_bytes=FILE_BYTES)[0]
        except Unreadable as error:
            problems.append(Problem(str(path), 1, 1, "", error.found, "a file for the card", error.fix))
        if name.lower() == CONFIG:
            problems.append(Problem(str(path), 1, 1, "", CONFIG, "any other file", "give it with --template"))
    return files, problems


def _words(table: Table, row: Row, settings: Settings) -> dict[str, str]:
    """What `@word@` stands for: the columns, and every setting that has a value."""
    words = {name: row[name].text if name in row else "" for name in table.columns}
    public = (key for key in root().leaves() if not key.secret and key.kind is not Kind.MAPPING)
    return words | {key.dotted: _plain(value_at(settings, key.path)) for key in public}


def _plain(value: object) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower() if value is not None else ""
    return str(emit.plain(value))


def _filled(
    order: Order, files: Mapping[str, bytes], words: Mapping[str, str]
) -> tuple[dict[str, bytes], list[Problem]]:
    done, problems = {}, []
    for name, data in files.items():
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:  # no text: as it is
            done[name] = data
            continue
        file = str(order.extra / name) if order.extra else name
        problems += [_unknown_word(file, text, match) for match in _WORD.finditer(text) if match[1] not in words]
        done[name] = _WORD.sub(lambda match: words.get(match[1], ""), text).encode()
    return done, problems


def _unknown_word(file: str, text: str, match: re.Match[str]) -> Problem:
    line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start())
    allowed, fix = "a column of the table or a key of alto.yaml", f"add a column {match[1]}"
    return Problem(file, line, column, match[1], UNKNOWN_KEY, allowed, fix)


def _unused_columns(table: Table, files: Mapping[str, bytes]) -> Iterator[Problem]:
    used = {match[1] for data in files.values() for match in _WORD.finditer(data.decode("utf-8", "replace"))}
    for name, cell in table.columns.items():
        if not is_setting(name) and name not in used | KNOWN_WORDS:
            allowed = f"a key of alto.yaml, host, or a word that a file of the card has as @{name}@"
            yield Problem(table.file, cell.line, cell.column, name, UNKNOWN_KEY, allowed, suggestion(root(), name))


# ---- all of them together --------------------------------------------------------------------------------------------


def _folder(identity: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", identity).strip(".-") or "station"


def _place(table: Table, card: Card) -> Cell:
    """Where it is named; at the head of that column if it is not, which is told anyway."""
    named = (row[IDENTITY] for row in table.rows if IDENTITY in row)
    return next((cell for cell in named if cell.text == card.settings.identity), table.columns[IDENTITY])


def _shared_folders(table: Table, done: list[Card]) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for card in done:
        other = seen.setdefault(card.folder.lower(), card.settings.identity)
        if other != card.settings.identity:
            cell = _place(table, card)
            found = f'"{cell.text}", whose folder would be that of "{other}"'
            fix = "let them differ in more than signs and capitals"
            yield Problem(table.file, cell.line, cell.column, IDENTITY, found, "a folder of its own", fix)


def _shared_secrets(table: Table, done: list[Card]) -> Iterator[Problem]:
    """A secret on two cards is one that a single stolen card gives away for all."""
    seen: dict[str, str] = {}
    for card in done:
        for key, secret in _secrets(card.settings):
            other = seen.setdefault(secret, card.settings.identity)
            if other != card.settings.identity:
                cell = _place(table, card)
                found = f'{MASK}, the same as of "{other}"'
                fix = "give each station its own: a token made from --keys, or a column"
                yield Problem(table.file, cell.line, cell.column, key, found, "a secret for each station", fix)


def _secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    livekit = settings.livekit
    for key, value in (("livekit.api_secret", livekit.api_secret), ("livekit.token", livekit.token)):
        if value is not None:
            yield key, value.get_secret_value()
    for name, header in livekit.token_endpoint_headers.items():
        yield f"livekit.token_endpoint_headers.{name}", header.get_secret_value()
