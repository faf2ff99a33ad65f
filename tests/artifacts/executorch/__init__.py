"""Tests of programs of ExecuTorch."""
