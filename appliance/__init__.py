"""alto: an always-on LiveKit intercom for embedded Linux boards, configured by one file."""

__version__ = "0.1.0"
