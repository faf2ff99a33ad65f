"""Tests of bench/fleet."""
