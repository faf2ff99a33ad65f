"""Tests of what makes a float32 file ready for int8."""
