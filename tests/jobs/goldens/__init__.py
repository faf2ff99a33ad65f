"""Tests of jobs/goldens."""
