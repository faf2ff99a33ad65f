"""Tests of parity/bisect."""
