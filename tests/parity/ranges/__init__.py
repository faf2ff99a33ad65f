"""Tests of parity/ranges."""
