"""Tests of exported programs and the forms of their steps."""
