"""Phones by name, wherever they are: at adb servers, or leased from a farm."""
