"""The command `alto`: flags, output and exit codes. It decides nothing.

What a command needs is imported when it runs: `alto check` loads neither the SDK nor PortAudio, and `alto run` minds
signals before it loads anything.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from appliance import __version__
from appliance.errors import AltoError, ConfigError

if TYPE_CHECKING:
    from appliance.settings.load import Loaded
    from appliance.settings.sources import Sources

EX_OK: Final = 0
EX_USAGE: Final = 64  # the numbers are sysexits.h's
EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_CONFIG: Final = 78

STDERR: Final = 2
START_S: Final = 60.0  # to load everything takes half a second of processor here, and some ten on the slowest boards

OVERRIDES: Final = (
    # flag, key of alto.yaml, type, what the help says
    ("--room-name", "room", str, "join this room"),
    ("--identity", "identity", str, "join under this name"),
    ("--url", "livekit.url", str, "server address, or: embedded"),
    ("--input-device", "audio.input.device", str, "the microphone, as alto devices prints it"),
    ("--output-device", "audio.output.device", str, "the speaker, as alto devices prints it"),
    ("--volume", "audio.output.volume", float, "master volume of the speaker, 0.0 to 4.0"),
    ("--log-level", "log.level", str, "debug, info, warning or error"),
    ("--log-format", "log.format", str, "auto, json or console"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. Never a traceback for what a user can cause."""
    try:
        args = _parser().parse_args(argv)
        command: Callable[[argparse.Namespace], int] = args.run
        return command(args)
    except ConfigError as error:
        _say_problems(error)
        return EX_CONFIG
    except AltoError as error:
        print(f"alto: {error}", file=sys.stderr)
        return EX_UNAVAILABLE
    except BrokenPipeError:  # `alto devices | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_OK
    except KeyboardInterrupt:
        return 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message}; see {self.prog} --help", file=sys.stderr)
        sys.exit(EX_USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="alto", description="An always-on LiveKit intercom, configured by one file: alto.yaml.")
    parser.add_argument("--version", action="version", version=f"alto {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_Parser)
    for name, run, help_, add in (
        ("run", run_station, "be the intercom: join the room and stay for ever", _add_overrides),
        ("check", check, "validate alto.yaml and print every error", _add_check),
        ("show", show, "print the effective configuration and where each value comes from", _add_show),
        ("schema", schema, "print the JSON Schema of alto.yaml", _add_schema),
        ("devices", devices, "list sound devices as they can be pasted into alto.yaml", _add_json),
        ("status", status, "show what the running station is doing", _add_status),
        ("record", record, "record the running station to a WAV file", _add_record),
        ("doctor", doctor, "find out what is wrong with this box", _add_doctor),
    ):
        command = commands.add_parser(name, help=help_, description=help_[0].upper() + help_[1:] + ".")
        command.set_defaults(run=run)
        add(command)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        metavar="PATH",
        help="default: $ALTO_CONFIG, ./alto.yaml, /boot/firmware/alto.yaml, /etc/alto/alto.yaml",
    )


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    group = parser.add_argument_group("instead of what alto.yaml says (secrets: only by file or environment)")
    for flag, key, kind, help_ in OVERRIDES:
        group.add_argument(flag, dest=f"set:{key}", type=kind, metavar=key.rsplit(".")[-1].upper(), help=help_)
    group.add_argument("--no-playback", action="store_true", help="talk only")
    group.add_argument("--no-capture", action="store_true", help="listen only")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        type=_pair,
        metavar="KEY=VALUE",
        help="any other key, e.g. audio.block_ms=20",
    )


def _add_show(parser: argparse.ArgumentParser) -> None:
    _add_json(parser)
    _add_overrides(parser)


def _add_check(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_json(parser)
    parser.add_argument("file", nargs="?", type=Path, help="the file to check instead")


def _add_schema(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference", action="store_true", help="the commented alto.reference.yaml instead")


def _add_station(parser: argparse.ArgumentParser) -> None:
    """Which running station is meant."""
    _add_config(parser)
    parser.add_argument(
        "--identity", dest="set:identity", metavar="IDENTITY", help="of several stations on one machine"
    )
    parser.add_argument("--socket", type=Path, metavar="PATH", help="its status socket")


def _add_status(parser: argparse.ArgumentParser) -> None:
    _add_station(parser)
    _add_json(parser)
    parser.add_argument("--watch", action="store_true", help="a live view with level meters, until Ctrl-C")


def _add_record(parser: argparse.ArgumentParser) -> None:
    _add_station(parser)
    parser.add_argument("file", type=Path, metavar="FILE.wav")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument(
        "--source",
        choices=("mix", "microphone", "both"),
        default="mix",
        help="what is heard, what is said, or both as left and right (default: mix)",
    )


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    _add_station(parser)
    _add_json(parser)
    parser.add_argument(
        "--latency",
        action="store_true",
        help="instead: play marks for six seconds and find them in the microphone, through the air or a cable from "
        "speaker to microphone; stop the station first",
    )
    parser.add_argument(
        "--level",
        type=_level,
        default=-18.0,
        metavar="DBFS",
        help="how loud the marks are, -60 to -3 (default: -18); with --latency",
    )


def _level(text: str) -> float:
    value = float(text)
    if not -60.0 <= value <= -3.0:  # above, the marks' overtones would be the speaker's, below nobody hears them
        raise argparse.ArgumentTypeError(f"{text}: -60 to -3 dBFS")
    return value


# ---- the commands ------------------------------------------------------------------------------------------------


def run_station(args: argparse.Namespace) -> int:
    """`alto run`."""
    _mind_the_start()
    leave_out_what_no_station_needs()
    from appliance.run import run

    return run(_sources(args))


def leave_out_what_no_station_needs() -> None:
    """Before anything is loaded: half of what loading alto costs, on a board a second or more of each start."""
    # What is loaded stays for good: the collector would look through it again and again and find next to nothing.
    # `run` switches it on when all is loaded.
    gc.disable()
    # structlog loads rich for coloured tracebacks wherever it is installed; ours are text, and the live view, for
    # which it is installed, is a process of its own.
    sys.modules["rich"] = None  # type: ignore[assignment]
    # pydantic reads the metadata of every package there is, to find plugins of which there are none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # numpy would keep a thread and its buffers for each processor; 500 samples are multiplied sooner by one.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def check(args: argparse.Namespace) -> int:
    """`alto check`."""
    args.config = args.file or args.config
    try:
        loaded = _load(args)
    except ConfigError as error:
        if not args.json:
            raise
        print(json.dumps({"valid": False, "problems": [_problem(p) for p in error.problems]}, indent=2))
        return EX_CONFIG
    if args.json:
        print(json.dumps({"valid": True, "warnings": [_problem(p) for p in loaded.warnings]}, indent=2))
        return EX_OK
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    print(f"{loaded.path}: valid")
    return EX_OK


def show(args: argparse.Namespace) -> int:
    """`alto show`."""
    from appliance.settings.show import as_json, render

    loaded = _load(args)
    print(json.dumps(as_json(loaded), indent=2) if args.json else render(loaded))
    return EX_OK


def schema(args: argparse.Namespace) -> int:
    """`alto schema`."""
    from appliance.settings import reference
    from appliance.settings import schema as schema_

    sys.stdout.write(reference.render() if args.reference else schema_.render())
    return EX_OK


def devices(args: argparse.Namespace) -> int:
    """`alto devices`."""
    from appliance.audio import devices as devices_
    from appliance.audio.portaudio import PortAudioBackend

    found = PortAudioBackend().devices()
    print(json.dumps(devices_.as_json(found), indent=2) if args.json else devices_.render(found))
    return EX_OK


def status(args: argparse.Namespace) -> int:
    """`alto status`."""
    from appliance.observe import client, watch

    path = _socket(args)
    if args.watch:
        return watch.watch(path)
    found = client.query(path)
    print(json.dumps(found, indent=2) if args.json else watch.render(found))
    return EX_OK


def record(args: argparse.Namespace) -> int:
    """`alto record`."""
    from appliance.audio.recorder import WavWriter
    from appliance.observe import client

    with client.record(_socket(args), seconds=args.seconds, source=args.source) as recording:
        try:
            writer = WavWriter(args.file, rate_hz=recording.rate_hz, channels=recording.channels)
        except OSError as error:
            print(f"alto: cannot write {args.file}: {error.strerror}", file=sys.stderr)
            return EX_UNAVAILABLE
        with writer:
            for pcm in recording:
                writer.write(pcm)
    return EX_OK


def doctor(args: argparse.Namespace) -> int:
    """`alto doctor`."""
    import asyncio

    from appliance import doctor as doctor_
    from appliance.app import examine, measure_loop

    if args.latency:
        results = measure_loop(_load(args), _socket(args), args.level)
    else:
        results = asyncio.run(examine(lambda: _load(args), lambda: _socket(args)))
    print(json.dumps(doctor_.as_json(results), indent=2) if args.json else doctor_.render(results))
    return doctor_.exit_code(results)


def _mind_the_start() -> None:
    """Until the station looks after itself, seconds later on a small board: nothing is open yet, so an end is an end
    at once, in order, and a reload is none, because alto.yaml has not been read. A start that hangs ends too."""
    faulthandler.dump_traceback_later(START_S, exit=True, file=STDERR)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: os._exit(EX_OK))


# ---- helpers -----------------------------------------------------------------------------------------------------


def _load(args: argparse.Namespace) -> Loaded:
    return _sources(args).load()


def _sources(args: argparse.Namespace) -> Sources:
    from appliance.settings.sources import Sources

    names = {key: flag for flag, key, _, _ in OVERRIDES} | {key: f"--set {key}" for key, _ in getattr(args, "set", ())}
    return Sources(os.environ, args.config, _flags(args), names)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _flags(args: argparse.Namespace) -> dict[str, object]:
    flags: dict[str, object] = {
        name.removeprefix("set:"): value
        for name, value in vars(args).items()
        if name.startswith("set:") and value is not None
    }
    if getattr(args, "no_playback", False):
        flags["audio.output.enabled"] = False
    if getattr(args, "no_capture", False):
        flags["audio.input.enabled"] = False
    return {**flags, **dict(getattr(args, "set", ()))}


def _socket(args: argparse.Namespace) -> Path:
    """The status socket that is meant; without a usable alto.yaml, of whatever station runs here."""
    from appliance.observe.client import choose
    from appliance.settings.paths import file_stem, runtime_dir, status_socket

    if args.socket is not None:
        return Path(args.socket)
    identity = _flags(args).get("identity")
    if identity is not None:
        return runtime_dir() / f"{file_stem(str(identity))}.sock"
    try:
        wanted = status_socket(_load(args).settings)
    except ConfigError:
        wanted = runtime_dir() / "alto.sock"
    return choose(wanted, runtime_dir())


def _problem(problem: object) -> object:
    """A problem for programs: its fields, and the line a person reads."""
    from appliance.settings.problems import Problem

    fields = problem.as_dict() if isinstance(problem, Problem) else {}
    return {**fields, "text": str(problem)}


def _say_problems(error: ConfigError) -> None:
    for problem in error.problems:
        print(problem, file=sys.stderr)
