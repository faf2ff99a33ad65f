"""Tests of what is lowered for ExecuTorch."""
