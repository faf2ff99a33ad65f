"""Latencies: rounds of runs in random order, their statistics, and what they say."""
