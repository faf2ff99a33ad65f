"""Chooses among forms of a model that compute the same, by measuring them on a device."""
