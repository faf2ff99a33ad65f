"""Tests of rewrites/shared."""
