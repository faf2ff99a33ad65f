"""A tapped model in each number format: what the format does to the values inside by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.parity.ledger.format_error import Ranges, fake_quantize_int8, in_dynamic, in_float16
from mobilekit.parity.ledger.ledger import Opener
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.store.stages import Precision, Stage


def simulations(
    graph: GraphModule, stages: Collection[Stage], int8: Int8 | None = None, ranges: Ranges | None = None
) -> dict[Precision, Opener]:
    """Return what opens the model as each format of the stages would compute it; as `float32`, in float64.

    They round as the simulations do that the ledger's limits are measured on.

    Args:
        graph: The tapped rewritten model, float32; left as it is.
        stages: The stages at hand.
        int8: What the recipe says of int8; all is rounded without.
        ranges: Of the graph's steps on the calibration inputs; where they are not known, each input's own.
    """
    makers: dict[Precision, Callable[[], nn.Module]] = {
        "float16": lambda: in_float16(graph),
        "dynamic": lambda: in_dynamic(graph),
        "int8": lambda: fake_quantize_int8(graph, int8, ranges),
    }
    openers: dict[Precision, Opener] = {
        "float32": lambda: TorchRuntime(compute_in(copy.deepcopy(graph), torch.float64))
    }
    for precision, make in makers.items():
        if any(stage.precision == precision for stage in stages):
            openers[precision] = lambda make=make: TorchRuntime(make())  # type: ignore[misc]
    return openers
