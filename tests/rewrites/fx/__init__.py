"""Tests of rewrites/fx."""
