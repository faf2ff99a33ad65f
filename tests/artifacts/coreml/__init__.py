"""Tests of Core ML packages."""
