"""Tests of mobilekit.artifacts.analysis."""
