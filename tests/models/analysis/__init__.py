"""Tests of mobilekit.models.analysis."""
