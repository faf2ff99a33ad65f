"""Recipes: how a model is exported, as data."""
