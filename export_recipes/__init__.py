"""Recipes that come with mobilekit: data, no code."""
