"""Tests of jobs/tune."""
