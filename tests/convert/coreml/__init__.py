"""Tests of what is written for Core ML."""
