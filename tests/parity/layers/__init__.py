"""Tests of parity/layers."""
