"""LiveKit's own helper for microphones and speakers, and nothing else: the client that alto is measured against.

`python -m tests.bench.mediadevices MICROPHONE SPEAKER`, with LIVEKIT_URL and LIVEKIT_TOKEN in its environment. It says
what it hears and is heard, with the helper's defaults of blocks and buffers, until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

import sounddevice as sd
from livekit import rtc


def device_index(name: str) -> int:
    """PortAudio's index of the device of that name."""
    return next(int(device["index"]) for device in sd.query_devices() if device["name"] == name)


class Client:
    """One microphone out, every voice in."""

    def __init__(self, microphone: str, speaker: str, *, processing: bool) -> None:
        devices = rtc.MediaDevices()
        self._input = devices.open_input(
            enable_aec=processing,
            noise_suppression=processing,
            high_pass_filter=processing,
            auto_gain_control=processing,
            input_device=device_index(microphone),
        )
        self._player = devices.open_output(output_device=device_index(speaker))
        self._room = rtc.Room()
        self._room.on("track_subscribed", self._on_track)
        self._room.on("track_unsubscribed", self._on_track_gone)
        self._tasks: set[asyncio.Task[None]] = set()

    async def join(self, url: str, token: str) -> None:
        """Be in the room, heard and hearing."""
        await self._room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("microphone", self._input.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        await self._room.local_participant.publish_track(track, options)
        await self._player.start()

    async def leave(self) -> None:
        """Leave the room, and the devices."""
        await self._room.disconnect()
        await self._input.aclose()
        await self._player.aclose()

    def _on_track(self, track: rtc.Track, publication: object, participant: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._do(self._player.add_track(track))

    def _on_track_gone(self, track: rtc.Track, publication: object, participant: object) -> None:
        self._do(self._player.remove_track(track))

    def _do(self, work: object) -> None:
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _run(args: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = Client(args.microphone, args.speaker, processing=args.processing)
    await client.join(os.environ["LIVEKIT_URL"], os.environ["LIVEKIT_TOKEN"])
    await stop.wait()
    await client.leave()


def main() -> None:
    """The client's process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("microphone", help="as PortAudio names it")
    parser.add_argument("speaker", help="as PortAudio names it")
    parser.add_argument(
        "--processing", action="store_true", help="echo cancellation and the like, as it has by default"
    )
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
