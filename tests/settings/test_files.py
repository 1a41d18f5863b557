"""What lies at the path may be no text file at all."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import pytest

from appliance.errors import ConfigError
from appliance.settings.files import Unreadable, read_small_file
from appliance.settings.load import load
from tests.settings.loading import EMBEDDED, loaded, refusals, write

NOBODY = 65534  # an unprivileged user on every Linux; as root, permission bits would be ignored


def refusal(path: Path) -> str:
    """The one reason why the file is refused, with its name only."""
    with pytest.raises(ConfigError) as caught:
        load(path, env={})
    (problem,) = caught.value.problems
    return str(problem).replace(f"{path.parent}/", "")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "alto.yaml") == (
        "alto.yaml:1:1: found: no such file; allowed: a text file; create it, or check the path alto.yaml"
    )


def test_a_file_below_a_file_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    assert "a part of the path" in refusal(tmp_path / "etc" / "alto.yaml")


def test_a_directory_is_none(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith(":1:1: found: a directory; allowed: a text file; give the path of a regular file")


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "found: a named pipe" in refusal(tmp_path / "pipe")


def test_a_device_is_refused_without_being_opened() -> None:
    assert "found: a device" in refusal(Path("/dev/zero"))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is at most 108 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("alto.sock")
        assert "found: a socket" in refusal(Path("alto.sock"))


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alto.yaml").symlink_to("alto.yaml")
    assert "found: a symbolic link that points to itself" in refusal(tmp_path / "alto.yaml")


def test_a_path_that_cannot_be_one_is_refused() -> None:
    assert "a path that no file can have" in refusal(Path("alto\0.yaml"))
    assert "file name too long" in refusal(Path("x" * 300))


def test_a_file_without_permission_says_who_may_not_read_it(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
            Path(folder).chmod(0o755)
            said = what_an_ordinary_user_reads(write(Path(folder), EMBEDDED, mode=0o600))
        assert "alto.yaml:1:1: found: no permission to read it; allowed: a text file; let user 65534 read it" in said
    else:
        assert "found: no permission to read it" in refusal(write(tmp_path, EMBEDDED, mode=0o000))


def what_an_ordinary_user_reads(path: Path) -> str:
    """The answer to a process that gave up being root before it loads the file."""
    program = (
        "import os, sys; from appliance.settings.load import load; from appliance.errors import ConfigError\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); os.environ.pop('USER', None)\n"
        "from pathlib import Path\n"
        "try: load(Path(sys.argv[1]), env={})\n"
        "except ConfigError as error: print(error)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def counted_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of what os.read gives."""
    sizes: list[int] = []
    real = os.read

    def read(descriptor: int, length: int) -> bytes:
        data = real(descriptor, length)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(os, "read", read)
    return sizes


def test_a_file_of_50_mb_is_refused_without_being_read(tmp_path: Path, counted_reads: list[int]) -> None:
    path = tmp_path / "alto.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    tracemalloc.start()
    try:
        said = refusal(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert said == (
        "alto.yaml:1:1: found: 50000000 bytes; allowed: a text file; "
        "the file must not be larger than 65536 bytes; is it the right file?"
    )
    assert counted_reads == []
    assert peak < 1_000_000


def test_a_file_that_does_not_say_its_size_is_read_up_to_the_limit_only(counted_reads: list[int]) -> None:
    with pytest.raises(Unreadable, match="101 bytes"):
        read_small_file(Path("/proc/self/maps"), limit_bytes=100)  # stat says 0 bytes
    assert sum(counted_reads) == 101


def test_the_largest_file_that_is_taken_is_64_kib(tmp_path: Path) -> None:
    padding = 64 * 1024 - len(EMBEDDED)
    assert refusals(tmp_path, EMBEDDED + "#" * padding) == []
    (said,) = refusals(tmp_path, EMBEDDED + "#" * (padding + 1))
    assert "found: 65537 bytes" in said


# ---- encodings ---------------------------------------------------------------------------------------------------


def test_a_byte_order_mark_and_windows_line_ends_are_no_trouble(tmp_path: Path) -> None:
    text = "\ufeffroom: küche\r\nlivekit:\r\n  url: embedded\r\n"
    found = loaded(tmp_path, text.encode())
    assert found.settings.room == "küche"
    assert found.origins["livekit.url"].line == 3


def test_lines_and_columns_are_right_behind_windows_line_ends_and_wide_letters(tmp_path: Path) -> None:
    (said,) = refusals(tmp_path, "\ufeffroom: x\r\nlivekit: {url: embedded}\r\naudio: {'mix': sum, ü: 1}\r\n".encode())
    assert said.startswith("alto.yaml:3:21: audio.ü: unknown key")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_unicode_is_recognised_and_named(tmp_path: Path, encoding: str) -> None:
    (said,) = refusals(tmp_path, EMBEDDED.encode(encoding))
    assert said.startswith("alto.yaml:1:1: found: UTF-")
    assert said.endswith('allowed: UTF-8 text; save the file as "UTF-8" (in the editor\'s save dialog)')


def test_latin_1_is_shown_with_its_line_column_and_byte(tmp_path: Path) -> None:
    text = (EMBEDDED + "# Küche\nroom: Küche\nname: plain\nidentity: Bäder und Küche\n").encode("latin-1")
    said = refusals(tmp_path, text)
    assert [line.split(", which")[0] for line in said] == [
        "alto.yaml:2:4: found: byte 0xFC",
        "alto.yaml:3:8: found: byte 0xFC",
        "alto.yaml:5:12: found: byte 0xE4",
    ]


def test_an_empty_file_and_one_that_a_power_cut_zeroed_are_called_so(tmp_path: Path) -> None:
    assert refusals(tmp_path, b"")[0].startswith("alto.yaml:1:1: found: an empty file")
    assert refusals(tmp_path, b"\n  \r\n")[0].startswith("alto.yaml:1:1: found: an empty file")
    assert refusals(tmp_path, b"\0" * 512) == [
        "alto.yaml:1:1: found: 512 zero bytes; allowed: UTF-8 text; "
        "the file was lost in a power cut: restore it from a copy"
    ]
    (said,) = refusals(tmp_path, EMBEDDED.encode() + b"room: ho" + b"\0" * 100)
    assert said.startswith("alto.yaml:2:9: found: U+0000 (a NUL character)")


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\x1b", "U+001B (a control character)"),
        ("\x85", "U+0085 (a control character)"),
        ("\u200b", "U+200B (zero width space)"),
        ("\u2028", "U+2028 (line separator)"),
        ("\u202e", "U+202E (right-to-left override)"),
        ("\ufeff", "U+FEFF (zero width no-break space)"),
    ],
)
def test_a_character_that_nobody_sees_is_shown(tmp_path: Path, character: str, name: str) -> None:
    (said,) = refusals(tmp_path, EMBEDDED + f"room: ho{character}me\n")
    assert said.startswith(f"alto.yaml:2:9: found: {name}; allowed: visible text; delete")


def test_of_a_file_full_of_wrong_bytes_the_first_ten_lines_are_shown(tmp_path: Path) -> None:
    assert len(refusals(tmp_path, b"\xff\xfd\n" * 1000)) == 10


def test_aliases_that_explode_are_refused_at_once(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    said = refusals(tmp_path, EMBEDDED + bomb)
    assert said[0].startswith("alto.yaml:5:20: found: more than 3000 entries")


def test_nothing_is_kept_from_one_load_to_the_next(tmp_path: Path) -> None:
    assert loaded(tmp_path, EMBEDDED + "room: one\n").settings.room == "one"
    assert refusals(tmp_path, EMBEDDED + "room: tw'\nx: '")
    assert loaded(tmp_path, EMBEDDED + "room: two\n").settings.room == "two"
