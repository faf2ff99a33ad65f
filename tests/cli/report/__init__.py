"""Tests of cli/report."""
