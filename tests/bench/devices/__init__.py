"""Tests of bench/devices."""
