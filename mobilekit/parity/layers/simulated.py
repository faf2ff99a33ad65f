"""A tapped model in each number format: what the format does to the values inside by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Literal

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.parity.ledger.float16_arithmetic import InFloat16
from mobilekit.parity.ledger.format_error import (
    Ranges,
    fake_quantize_int8,
    fake_quantize_int16x8,
    in_dynamic,
    in_float16,
)
from mobilekit.parity.ledger.ledger import Opener
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.store.stages import Precision, Stage

Format = Precision | Literal["float16-arithmetic"]
"""How a stage's values are rounded: as its weights are stored, but where all arithmetic is float16's."""


def format_of(stage: Stage) -> Format:
    """Return the format that a stage computes in."""
    return "float16-arithmetic" if stage.is_in_float16 else stage.precision


def simulations(
    graph: GraphModule, stages: Collection[Stage], int8: Int8 | None = None, ranges: Ranges | None = None
) -> dict[Format, Opener]:
    """Return what opens the model as each format of the stages would compute it; as `float32`, in float64.

    They round as the simulations do that the ledger's limits are measured on.

    Args:
        graph: The tapped rewritten model, float32; left as it is.
        stages: The stages at hand.
        int8: What the recipe says of int8; all is rounded without.
        ranges: Of the graph's steps on the calibration inputs; where they are not known, each input's own.
    """
    makers: dict[Format, Callable[[], nn.Module]] = {
        "float16": lambda: in_float16(graph),
        "float16-arithmetic": lambda: InFloat16(in_float16(graph)),
        "dynamic": lambda: in_dynamic(graph),
        "int8": lambda: fake_quantize_int8(graph, int8, ranges),
        "int16x8": lambda: fake_quantize_int16x8(graph, int8, ranges),
    }
    openers: dict[Format, Opener] = {"float32": lambda: TorchRuntime(compute_in(copy.deepcopy(graph), torch.float64))}
    for name, make in makers.items():
        if any(format_of(stage) == name for stage in stages):
            openers[name] = lambda make=make: TorchRuntime(make())  # type: ignore[misc]
    return openers
