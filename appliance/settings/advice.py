"""What works and is still not wise: secrets that others can read, audio control in clear, files that are not there."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from appliance.settings.files import Unreadable, open_to_others, read_small_file
from appliance.settings.keys import KeyPath
from appliance.settings.model import Settings
from appliance.settings.problems import DEFAULT, Origin, Problem, Severity, Source, shortened
from appliance.settings.secrets import MASK, MIN_SECRET_CHARS, SECRET_LIMIT_BYTES

_INLINE_SECRETS: Final[tuple[KeyPath, ...]] = (("livekit", "api_secret"), ("livekit", "token"))
_SECRET_FILES: Final[tuple[KeyPath, ...]] = (
    ("livekit", "api_key_file"),
    ("livekit", "api_secret_file"),
    ("livekit", "token_file"),
)
_INSIDE_SUFFIXES: Final = (".local", ".lan", ".internal", ".home.arpa", ".localdomain")


def advise(
    settings: Settings, origins: Mapping[KeyPath, Origin], path: Path, status: os.stat_result
) -> Iterator[Problem]:
    """Warnings about usable settings. Reads the secret files (their permissions and whether they are usable)."""
    yield from _readable_by_others(settings, origins, path, status)
    yield from _secret_files(settings, origins)
    yield from _short_secret(settings, origins)
    yield from _in_clear(settings, origins)
    yield from _figures_for_others(settings, origins)
    if not settings.audio.input.enabled and not settings.audio.output.enabled:
        where = origins.get(("audio", "output", "enabled"), DEFAULT)
        fix = "set one of them to true"
        yield _warning(where, "audio.output.enabled", "neither microphone nor speaker", fix)


def _readable_by_others(
    settings: Settings, origins: Mapping[KeyPath, Origin], path: Path, status: os.stat_result
) -> Iterator[Problem]:
    who = _others(status)
    if not who:
        return
    inline = [key for key in _INLINE_SECRETS if _from_file(origins.get(key))]
    inline += [key for key, where in origins.items() if key[:2] == _HEADERS and len(key) > 2 and _from_file(where)]
    for key in inline:
        fix = f"chmod 600 {path}, or keep it in {key[-1]}_file" if key[:2] != _HEADERS else f"chmod 600 {path}"
        if str(path.absolute()).startswith("/boot/"):
            fix = f"keep it in {key[-1]}_file on another partition: this one knows no permissions"
        yield _warning(origins[key], ".".join(key), f"a secret in a file that {who} can read", fix)


_HEADERS: Final = ("livekit", "token_endpoint_headers")


def _from_file(origin: Origin | None) -> bool:
    return origin is not None and origin.source is Source.FILE


def _secret_files(settings: Settings, origins: Mapping[KeyPath, Origin]) -> Iterator[Problem]:
    for key in _SECRET_FILES:
        path = getattr(settings.livekit, key[-1])
        where = origins.get(key, DEFAULT)
        if path is None:
            continue
        try:
            _, status = read_small_file(path, limit_bytes=SECRET_LIMIT_BYTES)
        except Unreadable as err:
            yield _warning(where, ".".join(key), f"{err.found} ({shortened(str(path))})", err.fix)
            continue
        who = _others(status)
        if who and where.source is not Source.CREDENTIAL and key[-1] != "api_key_file":  # systemd guards its own
            yield _warning(
                where, ".".join(key), f"a secret in a file that {who} can read", f"chmod 600 {shortened(str(path))}"
            )


def _others(status: os.stat_result) -> str:
    """Who else can read it. Root's file, readable by the group that alto runs in, is how a service gets its secret."""
    mine = status.st_uid == 0 and status.st_gid == os.getegid() and not status.st_mode & stat.S_IROTH
    return "" if mine else open_to_others(status)


def _short_secret(settings: Settings, origins: Mapping[KeyPath, Origin]) -> Iterator[Problem]:
    secret = settings.livekit.api_secret
    if secret is not None and len(secret.get_secret_value()) < MIN_SECRET_CHARS:
        where = origins.get(("livekit", "api_secret"), DEFAULT)
        found = f"{MASK}, shorter than {MIN_SECRET_CHARS} characters"
        fix = "it can be guessed from a single token: make a longer one on the server"
        yield _warning(where, "livekit.api_secret", found, fix)


def _in_clear(settings: Settings, origins: Mapping[KeyPath, Origin]) -> Iterator[Problem]:
    for key, secure in (("url", "wss"), ("token_endpoint", "https")):
        url = getattr(settings.livekit, key)
        if url and url.startswith(("ws://", "http://")) and not _inside(url):
            where = origins.get(("livekit", key), DEFAULT)
            found = f'"{shortened(url.split("?")[0])}", which sends the token over the internet in clear'
            yield _warning(where, f"livekit.{key}", found, f"use {secure}://")


def _figures_for_others(settings: Settings, origins: Mapping[KeyPath, Origin]) -> Iterator[Problem]:
    listen = settings.metrics.listen
    if listen is None:
        return
    host = listen.rpartition(":")[0].strip("[]")
    with contextlib.suppress(ValueError):  # localhost is a name; what is no address after all cannot be listened at
        if not ipaddress.ip_address(host).is_loopback:
            where = origins.get(("metrics", "listen"), DEFAULT)
            found = f'"{listen}", where everybody who reaches it reads the figures without a password, in clear'
            fix = "keep it to a network that you trust, or listen at 127.0.0.1 behind something that asks who is there"
            yield _warning(where, "metrics.listen", found, fix)


def _inside(url: str) -> bool:
    """Whether the address stays on this machine or in a private network."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_INSIDE_SUFFIXES)


def _warning(where: Origin, key: str, found: str, fix: str) -> Problem:
    return where.problem(key, found, "", fix, Severity.WARNING)
