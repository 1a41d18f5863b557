"""The cards of many stations: one template, one table with a line for each → one folder for each.

Everything is checked before anything is written, and all mistakes are told in one go. Written are, below --out:
a folder for each station with what goes on its card; `manifest.csv`, which says whose token ends when; and
`targets.json`, by which Prometheus finds those that have `metrics.listen`. A second run with the same input changes
nothing, and a file that is there with another content is replaced only when asked to.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import stat
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NoReturn

from cards import Card, Order, cards
from rights import DAY_S, UNUSABLE, api_key
from table import read_table

from appliance.settings.files import open_to_others, write_private
from appliance.settings.keys import some
from appliance.settings.problems import Problem

EX_OK: Final = 0
EX_USAGE: Final = 64  # the numbers are sysexits.h's
EX_CANTCREAT: Final = 73
EX_CONFIG: Final = 78

MANIFEST: Final = "manifest.csv"
TARGETS: Final = "targets.json"
FOLDER_MODE: Final = 0o700


def main(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> int:
    """Make them; returns the exit code. Never a traceback for what a user can cause."""
    args = _parser().parse_args(argv)
    started = time.monotonic()
    key, problems = api_key(args.keys, env)
    order = Order(
        template=args.template,
        table=read_table(args.table),
        out=args.out,
        extra=args.card,
        key=key or (UNUSABLE if problems else None),
        life_s=args.days * DAY_S,
        renew_within_s=math.inf if args.renew else args.renew_within * DAY_S,
    )
    done, wrong = cards(order)
    problems += wrong
    try:
        problems += _open_folders(args.out, done)
        if not problems and not args.replace:
            problems += _different(args.out, done)
        written = [] if problems else _write(args.out, done)
    except OSError as error:
        print(f"make: {error.filename or args.out}: {error.strerror}", file=sys.stderr)
        return EX_CANTCREAT
    if problems:
        problems.sort(key=lambda problem: (problem.file, problem.line, problem.column))
        print("\n".join(str(problem) for problem in problems), file=sys.stderr)
        if order.key is None:
            print("make: no API key was given (--keys), so no tokens were made", file=sys.stderr)
        print(f"make: {len(problems)} problem{'s' * (len(problems) > 1)}, nothing was written", file=sys.stderr)
        return EX_CONFIG
    _tell(args.out, done, written, time.monotonic() - started)
    return EX_OK


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="make", description="The cards of many stations, from one template and one table.")
    parser.add_argument("--template", type=Path, required=True, metavar="ALTO.YAML", help="what all have in common")
    parser.add_argument("--table", type=Path, required=True, metavar="CSV", help="a line for each station")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where their folders are made")
    parser.add_argument("--card", type=Path, metavar="FOLDER", help="files for every card; @word@ is a column or a key")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="KEY: SECRET of the server, 0600; or LIVEKIT_API_…")
    parser.add_argument("--days", type=_days, default=730, help="life of the tokens (default: 730)")
    parser.add_argument("--renew", action="store_true", help="make every token anew")
    parser.add_argument("--renew-within", type=_days, default=0, metavar="DAYS", help="those that end so soon anew")
    parser.add_argument("--replace", action="store_true", help="files that are there with another content, too")
    return parser


def _days(text: str) -> int:
    """1 to 3650: a token for ten years is as good as one for ever."""
    if not text.isdecimal() or not 1 <= int(text) <= 3650:
        raise argparse.ArgumentTypeError(f"{text}: give 1 to 3650 days")
    return int(text)


# ---- what is there already -------------------------------------------------------------------------------------------


def _open_folders(out: Path, done: list[Card]) -> Iterator[Problem]:
    for folder in (out, *(out / card.folder for card in done)):
        try:
            status = folder.stat()
        except OSError:  # not there yet; what else may be wrong shows when it is written
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield Problem(str(folder), 0, 0, "", "a file", "a folder", "move it away")
        elif who := open_to_others(status):
            found = f"a folder that {who} can look into"
            yield Problem(
                str(folder), 0, 0, "", found, "only its owner can: secrets are kept there", f"chmod 700 {folder}"
            )


def _different(out: Path, done: list[Card]) -> Iterator[Problem]:
    paths = [path for path, content in _files(out, done) if path.exists() and _content(path) != content]
    if paths:
        names = some(tuple(str(path.relative_to(out)) for path in paths))
        found = f"{len(paths)} with another content than would be written: {names}"
        yield Problem(str(out), 0, 0, "", found, "", "--replace writes the new ones")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


# ---- writing ---------------------------------------------------------------------------------------------------------


def _files(out: Path, done: list[Card]) -> Iterator[tuple[Path, bytes]]:
    for card in done:
        yield from ((out / card.folder / name, content) for name, content in card.files.items())


def _write(out: Path, done: list[Card]) -> list[Path]:
    """Write what is not there as it should be; returns that. Raises OSError."""
    out.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    written = []
    summary = [(out / MANIFEST, _manifest(done)), (out / TARGETS, _targets(done))]
    for path, content in (*_files(out, done), *summary):
        if _content(path) == content:
            continue
        for folder in reversed([one for one in path.parents if not one.exists()]):
            folder.mkdir(mode=FOLDER_MODE)
        write_private(path, content)
        written.append(path)
    return written


def _manifest(done: list[Card]) -> bytes:
    """Who is who, and whose token ends when. No secrets."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["identity", "name", "room", "url", "host", "folder", "token_ends"])
    for card in done:
        s = card.settings
        table.writerow([s.identity, s.name or s.identity, s.room, s.livekit.url, card.host, card.folder, _day(card)])
    return text.getvalue().encode()


def _day(card: Card) -> str:
    return "" if card.token_ends_at is None else datetime.fromtimestamp(card.token_ends_at, UTC).date().isoformat()


def _targets(done: list[Card]) -> bytes:
    """For file_sd_configs of Prometheus: those that can be reached."""
    targets = []
    for card in done:
        host, _, port = (card.settings.metrics.listen or "").rpartition(":")
        if host.startswith("127.") or host in ("", "localhost", "[::1]"):
            continue
        if host in ("0.0.0.0", "[::]"):  # noqa: S104 (compared, not listened at)
            host = card.host if "." in card.host else f"{card.host or card.folder}.local"
        labels = {"station": card.settings.identity, "room": card.settings.room}
        targets.append({"targets": [f"{host}:{port}"], "labels": labels})
    return (json.dumps(targets, indent=1, ensure_ascii=False) + "\n").encode()


def _tell(out: Path, done: list[Card], written: list[Path], took_s: float) -> None:
    folders = {card.folder for card in done}
    strangers = sorted(path.name for path in out.iterdir() if path.is_dir() and path.name not in folders)
    print(f"{len(done)} stations in {out}, {len(written)} files written, {took_s:.1f} s")
    if strangers:
        print(f"no longer in the table, and left alone: {', '.join(strangers)}")
    ends = [card for card in done if card.token_ends_at is not None]
    if ends:
        first = min(ends, key=lambda card: card.token_ends_at or 0)
        print(f"the first token ends on {_day(first)}: {first.settings.identity}; {MANIFEST} has all")


if __name__ == "__main__":
    sys.exit(main())
