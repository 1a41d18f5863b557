"""What alto says of itself: log lines, metrics, status, and what systemd is told."""
