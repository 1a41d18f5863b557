"""Microphone and speaker: devices, sample arithmetic, mixing. Knows neither the network nor the supervisor."""
