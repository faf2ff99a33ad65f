"""The base of the modules that rewrites put into a graph."""

from __future__ import annotations

from torch import nn


class Lowered(nn.Module):
    """A module that a rewrite puts in an operation's place, in a form that phones have kernels for.

    Its Python code may choose by the sizes of its inputs: a trace keeps it whole, as one call.
    """
