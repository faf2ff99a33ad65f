"""Tests of models/families."""
