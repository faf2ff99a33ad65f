"""Tests of rewrites/rules."""
