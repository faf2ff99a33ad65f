"""Tests of jobs/quantize_search."""
