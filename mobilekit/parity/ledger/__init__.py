"""The stages of an export, each measured and held to its limits."""
