"""Tests of parity/ledger."""
