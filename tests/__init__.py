"""Tests; `make test-fast` leaves out those marked slow."""
