"""Build alto's Debian packages: `deploy/dev package`.

One package for each architecture, with every wheel of deploy/requirements.lock that alto needs to run, for the Python
of Debian 12 and that of Debian 13. No code of the other architecture runs: wheels are unpacked, livekit-server is
cross-compiled. The same commit gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
LOCK: Final = ROOT / "deploy/requirements.lock"
UNITS: Final = ROOT / "deploy/systemd"

PYTHONS: Final = ("3.11", "3.13")
"""Debian 12's and Debian 13's; Raspberry Pi OS has the same."""

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
GLIBC_MINORS: Final = range(36, 4, -1)  # Debian 12 has glibc 2.36

EXTRAS: Final = ("watch",)  # the live view over SSH is a megabyte, and who installs a package has no pip

USELESS: Final = (
    # never imported on a station: tests, types, headers, files of pip
    "tests",
    "__pycache__",
    "include",
    "*.pyi",
    "*.pyx",
    "*.pxd",
    "RECORD",
    "INSTALLER",
    "REQUESTED",
)

FILES: Final = {
    # where it comes from, below the repository: (where it goes, mode)
    "deploy/package/alto": ("usr/bin/alto", 0o755),
    "deploy/package/alto-card": ("usr/sbin/alto-card", 0o755),
    "deploy/package/alto-release": ("usr/sbin/alto-release", 0o755),
    "deploy/package/release.py": ("usr/lib/alto/release.py", 0o644),
    "deploy/package/apt.conf": ("etc/apt/apt.conf.d/80alto-card", 0o644),
    "deploy/systemd/alto.sysusers": ("usr/lib/sysusers.d/alto.conf", 0o644),
    "deploy/systemd/alto.tmpfiles": ("usr/lib/tmpfiles.d/alto.conf", 0o644),
    "deploy/systemd/alto.rules": ("usr/lib/udev/rules.d/60-alto.rules", 0o644),
    "deploy/systemd/systemd-252.conf": ("usr/lib/alto/systemd-252.conf", 0o644),
    "deploy/README.md": ("usr/share/doc/alto/README.md", 0o644),
    "appliance/observe/EVENTS.md": ("usr/share/doc/alto/EVENTS.md", 0o644),
    "config/alto.reference.yaml": ("usr/share/doc/alto/alto.reference.yaml", 0o644),
    "alto.yaml": ("usr/share/doc/alto/alto.yaml", 0o644),
}
CONFFILES: Final = ("etc/apt/apt.conf.d/80alto-card",)


@dataclass(frozen=True)
class Target:
    """One architecture, as Debian and as Python call it."""

    debian: str

    @property
    def platforms(self) -> list[str]:
        """Wheel platforms that run on it, newest first."""
        machine = MACHINES[self.debian]
        old = [f"manylinux2014_{machine}"]
        return [f"manylinux_2_{minor}_{machine}" for minor in GLIBC_MINORS] + old + [f"linux_{machine}"]

    def environment(self, python: str) -> Mapping[str, str]:
        """What markers are compared with."""
        here = {key: str(value) for key, value in default_environment().items()}
        return {
            **here,
            "python_version": python,
            "python_full_version": f"{python}.2",
            "platform_machine": MACHINES[self.debian],
            "extra": "",
        }


# ---- what is needed ----------------------------------------------------------------------------------------------


def lock_entries() -> dict[str, list[str]]:
    """Each line of the lock with its hashes, by package: several where versions of Python differ."""
    text = "\n".join(line for line in LOCK.read_text().splitlines() if not line.startswith("#"))
    found: dict[str, list[str]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if entry.strip():
            found.setdefault(canonicalize_name(entry.split("==")[0]), []).append(entry)
    return found


def needed(environment: Mapping[str, str]) -> set[str]:
    """Packages that alto needs at run time, and what these need."""
    wanted = [f"alto[{','.join(EXTRAS)}]"]
    names: set[str] = set()
    while wanted:
        requirement = Requirement(wanted.pop())
        name = canonicalize_name(requirement.name)
        if name in names:
            continue
        names.add(name)
        for text in importlib.metadata.requires(name) or []:
            inner = Requirement(text)
            extras = requirement.extras or {""}
            if inner.marker is None or any(inner.marker.evaluate({**environment, "extra": x}) for x in extras):
                wanted.append(text.partition(";")[0])
    return names - {"alto"}


def requirements(target: Target, python: str) -> str:
    """The lock's lines for one Python, without markers: pip would compare them with the Python that runs pip."""
    environment = target.environment(python)
    entries = lock_entries()
    lines = []
    for name in sorted(needed(environment)):
        for entry in entries[name]:
            head, _, hashes = entry.partition("--hash")
            pinned, _, marker = head.partition(";")
            if not marker.strip() or Marker(marker.strip()).evaluate(dict(environment)):
                lines.append(f"{pinned.strip()} --hash{hashes}")
    return "\n".join(lines) + "\n"


# ---- the tree that runs ------------------------------------------------------------------------------------------


def build_tree(target: Target, tree: Path, work: Path) -> None:
    """A virtual environment for every Python of `PYTHONS`; what is alike for all of them is there once."""
    sites = {python: work / f"site-{python}" for python in PYTHONS}
    for python, site in sites.items():
        install_wheels(target, python, site)
    shared = tree / "lib/shared"
    shared.mkdir(parents=True)
    for name in sorted({path.name for site in sites.values() for path in site.iterdir()}):
        places = [site / name for site in sites.values()]
        if all(same(places[0], place) for place in places):
            shutil.move(places[0], shared / name)
            continue
        for python, site in sites.items():
            own = tree / f"lib/python{python}/site-packages"
            own.mkdir(parents=True, exist_ok=True)
            if (site / name).exists():
                shutil.move(site / name, own / name)
    for python in PYTHONS:
        # Relative to the folder that it lies in: the tree may be anywhere.
        (tree / f"lib/python{python}/site-packages/alto.pth").write_text("../../shared\n")
    copy_package(shared)
    (tree / "bin").mkdir()
    (tree / "bin/python").symlink_to("/usr/bin/python3")
    (tree / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")


def install_wheels(target: Target, python: str, site: Path) -> None:
    listed = site.with_name(f"{site.name}.txt")
    listed.write_text(requirements(target, python))
    platforms = [word for platform in target.platforms for word in ("--platform", platform)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    # --ignore-requires-python: pip means the Python that runs pip. The lock was resolved for each of them.
    kind = ["--only-binary", ":all:", "--require-hashes", "--no-compile", "--implementation", "cp"]
    kind += ["--ignore-requires-python"]
    run(*pip, *kind, "--python-version", python, *platforms, "--target", site, "-r", listed)
    shutil.rmtree(site / "bin", ignore_errors=True)
    for pattern in USELESS:
        for path in sorted(site.rglob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def same(one: Path, other: Path) -> bool:
    """Whether two files, or two folders with all that is in them, are alike."""
    if one.is_file() and other.is_file():
        return one.read_bytes() == other.read_bytes()
    if not (one.is_dir() and other.is_dir()):
        return False
    names = {path.name for path in one.iterdir()}
    return names == {path.name for path in other.iterdir()} and all(same(one / name, other / name) for name in names)


def copy_package(shared: Path) -> None:
    """alto itself: what git knows of it."""
    listed = output("git", "-C", ROOT, "ls-files", "-z", "appliance").split("\0")
    for name in filter(lambda name: name.endswith((".py", ".txt")), listed):
        place = shared / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, place)


# ---- the package -------------------------------------------------------------------------------------------------


def build_package(target: Target, version: str, server: Path | None, out: Path, compression: str) -> Path:
    """`out/alto_VERSION_ARCHITECTURE.deb`."""
    with tempfile.TemporaryDirectory(prefix="alto-package-") as folder:
        work, root = Path(folder), Path(folder) / "root"
        tree = root / "usr/lib/alto/tree"
        build_tree(target, tree, work)
        if server is not None:
            shutil.copyfile(server, tree / "bin/livekit-server")
        (tree / "VERSION").write_text(f"{version}\n")
        for source, (place, _) in FILES.items():
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / source, root / place)
        for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.path"), *UNITS.glob("*.timer")):
            place = root / "usr/lib/systemd/system" / unit.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(unit, place)
        (root / "usr/share/doc/alto/copyright").write_text(copyright_text(tree))
        set_modes(root)
        control(root, target, version)
        return pack(root, out / f"alto_{version}_{target.debian}.deb", compression)


def control(root: Path, target: Target, version: str) -> None:
    """DEBIAN/: what the package is, what it needs, and what happens when it comes and goes."""
    folder = root / "DEBIAN"
    folder.mkdir()
    size_kib = sum(path.lstat().st_size for path in root.rglob("*") if not path.is_dir()) // 1024
    facts = {"VERSION": version, "ARCHITECTURE": target.debian, "SIZE": str(size_kib)}
    (folder / "control").write_text(filled((HERE / "control.in").read_text(), facts))
    (folder / "conffiles").write_text("".join(f"/{path}\n" for path in CONFFILES))
    for script in ("postinst", "prerm", "postrm"):
        (folder / script).write_text(filled((HERE / script).read_text(), facts))
        (folder / script).chmod(0o755)


def filled(text: str, facts: Mapping[str, str]) -> str:
    """`@NAME@` replaced."""
    return re.sub(r"@([A-Z]+)@", lambda match: facts[match.group(1)], text)


def set_modes(root: Path) -> None:
    """Readable by all, writable by root, whatever the builder's umask was."""
    executable = {place for place, mode in FILES.values() if mode & 0o100} | {
        "usr/lib/alto/tree/bin/livekit-server",
    }
    for path in root.rglob("*"):
        if not path.is_symlink():
            run_it = path.is_dir() or path.relative_to(root).as_posix() in executable
            path.chmod(0o755 if run_it else 0o644)
    root.chmod(0o755)


def pack(root: Path, deb: Path, compression: str) -> Path:
    deb.parent.mkdir(parents=True, exist_ok=True)
    fresh = deb.with_suffix(".new")
    env = {**os.environ, "SOURCE_DATE_EPOCH": commit_time()}
    for path in (root, *root.rglob("*")):
        os.utime(path, (int(commit_time()),) * 2, follow_symlinks=False)
    run("dpkg-deb", "--build", "--root-owner-group", f"-Z{compression}", root, fresh, env=env)
    return fresh.replace(deb)


def copyright_text(tree: Path) -> str:
    """The licences of what is inside, as each names its own."""
    lines = [
        "alto contains these packages, each under its own licence (the texts are beside them in /usr/lib/alto):",
        "",
    ]
    for metadata in sorted(tree.rglob("*.dist-info/METADATA")):
        facts = importlib.metadata.PathDistribution(metadata.parent).metadata
        licence = facts.get("License-Expression") or facts.get("License") or "see its files"
        lines.append(f"  {facts['Name']} {facts['Version']}: {licence.splitlines()[0][:60]}")
    return "\n".join([*dict.fromkeys(lines), "  livekit-server: Apache-2.0", ""])


def commit_time() -> str:
    return output("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()


def default_version() -> str:
    """A release is a tag; what lies between is named by its commit, and older than the release that it becomes."""
    from appliance import __version__

    tags = output("git", "-C", ROOT, "tag", "--points-at", "HEAD").split()
    if f"v{__version__}" in tags:
        return __version__
    when, commit = output("git", "-C", ROOT, "log", "-1", "--format=%cd %h", "--date=format:%Y%m%d%H%M").split()
    return f"{__version__}~{when}.{commit}"


def run(*words: str | Path, env: Mapping[str, str] | None = None) -> None:
    subprocess.run(words, check=True, env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def output(*words: str | Path) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def servers(folder: Path | None) -> Iterator[tuple[str, Path | None]]:
    """(architecture, its livekit-server); `folder` has one file for each."""
    for architecture in MACHINES:
        yield architecture, None if folder is None else folder / architecture


def main() -> None:
    parser = argparse.ArgumentParser(prog="deploy/dev package", description="Build the Debian packages.")
    parser.add_argument("--arch", choices=MACHINES, action="append", help="default: all of them")
    parser.add_argument("--version", default=None, help="default: of appliance, with the commit when it is no release")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument(
        "--servers", type=Path, help="a folder with livekit-server as amd64 and arm64; default: without"
    )
    parser.add_argument(
        "--compression", default="xz", choices=("xz", "none"), help="none: at once, and six times as big"
    )
    args = parser.parse_args()
    version = args.version or default_version()
    for architecture, server in servers(args.servers):
        if architecture in (args.arch or MACHINES):
            print(build_package(Target(architecture), version, server, args.out, args.compression))


if __name__ == "__main__":
    main()
