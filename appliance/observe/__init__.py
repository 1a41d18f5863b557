"""What alto says of itself: log lines, metrics, health, status, and what systemd is told."""
