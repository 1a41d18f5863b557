"""Statuses as stations give them."""

from __future__ import annotations

from typing import Any

ONLINE: dict[str, Any] = {
    "state": "online",
    "reason": "in_room",
    "detail": "in the room",
    "since_s": 7432.0,
    "identity": "kitchen",
    "name": "Kitchen",
    "room": "home",
    "url": "wss://intercom.example.org",
    "version": "0.1.0",
    "pid": 812,
    "uptime_s": 442800.0,
    "config_file": "/etc/alto/alto.yaml",
    "config_warnings": [],
    "config_problems": [],
    "legs": {
        "input": {"state": "ok", "device": "plughw:CARD=Device"},
        "output": {"state": "ok", "device": "plughw:CARD=Device"},
    },
    "participants": [
        {"identity": "bob", "level_dbfs": -9.2, "volume": 1.5, "buffer_ms": 31.2},
        {"identity": "charlie", "level_dbfs": -96.0, "volume": 1.0, "buffer_ms": 28.0},
        {"identity": "grandmother upstairs", "level_dbfs": -31.0, "volume": 0.5, "buffer_ms": 25.0},
        {"identity": "dashboard", "volume": None},
    ],
    "metrics": {
        "network": {
            "path": "udp host",
            "rtt_ms": 4.2,
            "loss_in_ratio": 0.0012,
            "loss_out_ratio": 0.0,
            "jitter_buffer_ms": 45.1,
            "concealment_ratio": 0.0,
            "reconnects": 1,
        },
        "input": {"level_dbfs": -18.4, "peak_dbfs": -7.0, "latency_ms": 20.0, "overruns": 0, "clipped": 0},
        "output": {"level_dbfs": -24.0, "peak_dbfs": -11.0, "latency_ms": 25.0, "underruns": 3},
        "mixer": {"underruns": 3},
        "process": {"cpu_ratio": 0.31, "rss_bytes": 92_000_000},
    },
    "errors": [
        {
            "at": 1_795_000_000.0,
            "reason": "device_lost",
            "detail": "microphone plughw:CARD=Device stopped delivering",
            "fix": "check its plug",
        }
    ],
}

BLOCKED: dict[str, Any] = {
    **ONLINE,
    "state": "blocked",
    "reason": "rejected",
    "detail": "the server refuses the key: 401",
    "fix": "check livekit.api_key and livekit.api_secret",
    "since_s": 41.0,
    "retry_in_s": 17.0,
    "attempt": 3,
    "participants": [],
    "legs": {
        "input": {
            "state": "missing",
            "device": "usb-mic",
            "reason": "device_missing",
            "detail": 'no capture device "usb-mic"; seen: "Headset", "Loopback", "Built-in Audio of the Thin Client"',
            "fix": 'see "alto devices"',
        },
        "output": {"state": "off"},
    },
    "metrics": {},
}
