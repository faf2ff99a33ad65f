"""Whole models of the zoo, converted: run by `make test-zoo`."""

import os

FAMILIES = ("ghostnet", "ghostnetv2", "shufflenet", "efficientvit", "efficientvit_b1")
MODELS = tuple(os.environ.get("MOBILEKIT_ZOO", "").split()) or FAMILIES
"""The models that were asked for."""
SIZE = os.environ.get("MOBILEKIT_ZOO_SIZE", "")
"""Of the pictures in bundles that are made here; the recipes' own where it is empty."""
