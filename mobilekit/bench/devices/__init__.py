"""Devices: where artifacts are timed, and what was read of them while it happened."""
