"""The archive, as a station's own apt sees it: found, verified, and refused when anybody has touched it."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import pytest

from tests.harness.wait import until

SCRIPT: Final = Path(__file__).with_name("apt-repo")


class Pages(SimpleHTTPRequestHandler):
    """The folder over HTTP; remembers what was asked for."""

    asked: list[str] = []  # noqa: RUF012 (of all requests, on purpose)

    def log_message(self, *_: object) -> None:
        self.asked.append(self.path)


class Archive:
    """A folder with the archive, who signs it, and a web server before it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.root = folder / "archive"
        self.env = {**os.environ, "GNUPGHOME": str(folder / "gnupg")}
        (folder / "gnupg").mkdir(mode=0o700)
        self.new_key("archive")

    def new_key(self, name: str) -> None:
        words = ["--batch", "--passphrase", "", "--quick-gen-key", name, "ed25519", "sign", "never"]
        subprocess.run(["gpg", *words], env=self.env, capture_output=True, check=True)

    def publish(self, *packages: Path, key: str = "archive") -> subprocess.CompletedProcess[str]:
        self._wait_for_a_new_second()
        words = [SCRIPT, self.root, "--url", self.url, "--key", key, *packages]
        return subprocess.run(words, env=self.env, capture_output=True, text=True, check=False)

    def _wait_for_a_new_second(self) -> None:
        """HTTP tells times in whole seconds: of what is published twice within one, apt hears that nothing is new."""
        before = max((int(file.stat().st_mtime) for file in self.root.rglob("InRelease")), default=0)
        until(lambda: int(time.time()) > before, 2.0, "the second after the last publication")

    def package(self, version: str, architecture: str = "amd64", says: str = "") -> Path:
        tree = self.folder / f"tree-{version}-{architecture}-{says}"
        (tree / "DEBIAN").mkdir(parents=True)
        control = f"Package: alto\nVersion: {version}\nArchitecture: {architecture}\nMaintainer: x <x@localhost>\n"
        (tree / "DEBIAN/control").write_text(f"{control}Description: intercom {says}\n")
        target = self.folder / f"{tree.name}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, target], capture_output=True, check=True)
        return target

    def file(self, name: str) -> Path:
        (found,) = self.root.rglob(name)
        return found


class Station:
    """apt in a root of its own, with the sources that the archive hands out."""

    def __init__(self, folder: Path, sources: str, architecture: str = "amd64") -> None:
        self.folder = folder
        for place in (
            "etc/apt/sources.list.d",
            "etc/apt/preferences.d",
            "var/lib/dpkg",
            "var/cache/apt",
            "var/lib/apt",
        ):
            (folder / place).mkdir(parents=True)
        (folder / "var/lib/dpkg/status").touch()
        (folder / "etc/apt/sources.list.d/alto.sources").write_text(sources)
        self._options = ["-o", f"Dir={folder}", "-o", f"Dir::State::status={folder}/var/lib/dpkg/status"]
        self._options += ["-o", "APT::Sandbox::User=root", "-o", f"APT::Architecture={architecture}"]
        self._options += ["-o", f"APT::Architectures={architecture}", "-o", "Acquire::Languages=none"]

    def apt(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "APT_CONFIG": os.devnull}
        command = [words[0], *self._options, *words[1:]]
        return subprocess.run(command, env=env, cwd=self.folder, capture_output=True, text=True, check=False)

    def updates(self) -> bool:
        done = self.apt("apt-get", "update", "--error-on=any")
        return done.returncode == 0

    def candidate(self) -> str:
        lines = self.apt("apt-cache", "policy", "alto").stdout.splitlines()
        return next((line.split()[-1] for line in lines if "Candidate" in line), "")


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    (tmp_path / "archive").mkdir()
    Pages.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Pages, directory=str(tmp_path / "archive")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield Archive(tmp_path, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def published(archive: Archive) -> Archive:
    done = archive.publish(archive.package("0.1.0"), archive.package("0.2.0"), archive.package("0.2.0", "arm64"))
    assert done.returncode == 0, done.stderr
    return archive


def station(archive: Archive, name: str = "station", architecture: str = "amd64") -> Station:
    return Station(archive.folder / name, (archive.root / "alto.sources").read_text(), architecture)


def test_a_station_finds_the_newest_package_and_fetches_it_verified(published: Archive) -> None:
    one = station(published)
    assert one.updates()
    assert one.candidate() == "0.2.0"
    assert one.apt("apt-get", "download", "alto").returncode == 0
    assert (one.folder / "alto_0.2.0_amd64.deb").exists()
    assert "o=alto,a=stable,n=stable" in one.apt("apt-cache", "policy").stdout
    assert any("/by-hash/SHA256/" in path for path in Pages.asked)


def test_each_architecture_gets_its_own(published: Archive) -> None:
    board = station(published, architecture="arm64")
    assert board.updates()
    assert board.apt("apt-get", "download", "alto").returncode == 0
    assert (board.folder / "alto_0.2.0_arm64.deb").exists()


def test_a_new_version_is_seen_and_the_old_one_stays_for_going_back(published: Archive) -> None:
    one = station(published)
    assert one.updates()
    assert published.publish(published.package("0.3.0")).returncode == 0
    assert one.updates()
    assert one.candidate() == "0.3.0"
    assert one.apt("apt-get", "download", "alto=0.1.0").returncode == 0


def test_a_version_that_is_out_never_changes(published: Archive) -> None:
    done = published.publish(published.package("0.2.0", says="other"))
    assert done.returncode == 73
    assert "give it a new version" in done.stderr


@pytest.mark.parametrize("touched", ["InRelease", "Packages"])
def test_an_archive_that_somebody_touched_is_refused(published: Archive, touched: str) -> None:
    for path in published.root.rglob("*"):
        by_hash = path.parent.name == "SHA256" and b"Package: alto" in path.read_bytes()
        if path.is_file() and (
            path.name.startswith(touched) or (touched == "Packages" and path.parent.name == "SHA256")
        ):
            content = path.read_bytes()
            path.write_bytes(content.replace(b"0.2.0", b"9.9.9") if by_hash else content[:-9] + b"x" + content[-8:])
    one = station(published)
    assert not one.updates()
    assert one.candidate() in ("", "(none)")


def test_a_package_that_somebody_touched_is_not_taken(published: Archive) -> None:
    one = station(published)
    assert one.updates()
    package = published.file("alto_0.2.0_amd64.deb")
    package.write_bytes(package.read_bytes()[:-1] + b"x")
    done = one.apt("apt-get", "download", "alto")
    assert done.returncode != 0
    assert "Hash Sum mismatch" in done.stderr


def test_somebody_elses_signature_is_refused(published: Archive) -> None:
    trusting = station(published)
    published.new_key("stranger")
    assert published.publish(published.package("0.3.0"), key="stranger").returncode == 0
    assert not trusting.updates()


def test_without_a_key_or_a_package_it_says_so(archive: Archive) -> None:
    done = archive.publish(key="nobody")
    assert (done.returncode, "gpg --quick-gen-key" in done.stderr) == (66, True)
    done = archive.publish(SCRIPT)
    assert (done.returncode, "is no Debian package" in done.stderr) == (65, True)
