"""A tapped model in each number format: what the format does to the values inside by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.parity.layers.layers import FLOAT32
from mobilekit.parity.ledger.format_error import (
    DYNAMIC_LEAST,
    Ranges,
    imitate_int8,
    round_layer_inputs,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.parity.ledger.ledger import Opener
from mobilekit.recipes.schema import Int8


def imitations(
    graph: GraphModule, stages: Collection[str], int8: Int8 | None = None, ranges: Ranges | None = None
) -> dict[str, Opener]:
    """Return what opens the model in float64, as `FLOAT32`, and as each of the quantised stages would compute it.

    They round as the imitations do that the ledger's limits are measured on.

    Args:
        graph: The tapped rewritten model, float32; left as it is.
        stages: The stages at hand; those without a format of their own are passed over.
        int8: What the recipe says of int8; all is rounded without.
        ranges: Of the graph's steps on the calibration inputs; where they are not known, each input's own.
    """

    def float16() -> nn.Module:
        model = copy.deepcopy(graph)
        round_weights_to_float16(model)
        return model

    def dynamic() -> nn.Module:
        model = copy.deepcopy(graph)
        round_weights_to_int8(model, DYNAMIC_LEAST)
        round_layer_inputs(model, DYNAMIC_LEAST)
        return model

    makers: dict[str, Callable[[], nn.Module]] = {
        "tflite-float16": float16,
        "tflite-dynamic": dynamic,
        "tflite-int8": lambda: imitate_int8(graph, int8, ranges),
    }
    openers: dict[str, Opener] = {FLOAT32: lambda: TorchRuntime(copy.deepcopy(graph).double())}
    for stage, make in makers.items():
        if stage in stages:
            openers[stage] = lambda make=make: TorchRuntime(make())  # type: ignore[misc]
    return openers
