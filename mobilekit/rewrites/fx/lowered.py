"""Modules that rewrites put into a graph, whose Python code chooses by sizes; a trace keeps them whole."""

from __future__ import annotations

from torch import nn


class Lowered(nn.Module):
    """One operation in a form that reaches the kernels of phones."""
