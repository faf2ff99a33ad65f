"""A tapped model in each number format: what the format does to the values inside by itself."""

from __future__ import annotations

import copy
from collections.abc import Collection

from torch import nn
from torch.fx import GraphModule

from mobilekit.parity.layers import FLOAT32
from mobilekit.parity.ledger import Opener
from mobilekit.parity.noise import (
    DYNAMIC_LEAST,
    EveryTensorRounded,
    Ranges,
    round_layer_inputs,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.runtimes.pytorch import TorchRuntime


def imitations(
    graph: GraphModule, stages: Collection[str], keep_float: Collection[str] = (), ranges: Ranges | None = None
) -> dict[str, Opener]:
    """Return what opens the model in float64, as `FLOAT32`, and as each of the quantised stages would compute it.

    They round as the imitations do that the ledger's limits are measured on.

    Args:
        graph: The tapped rewritten model, float32; left as it is.
        stages: The stages at hand; those without a format of their own are passed over.
        keep_float: What int8 leaves in float, in the words of the recipe.
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

    def int8() -> nn.Module:
        model = copy.deepcopy(graph)
        round_weights_to_int8(model)
        return EveryTensorRounded(model, keep_float, ranges)

    makers = {"tflite-float16": float16, "tflite-dynamic": dynamic, "tflite-int8": int8}
    openers: dict[str, Opener] = {FLOAT32: lambda: TorchRuntime(copy.deepcopy(graph).double())}
    for stage, make in makers.items():
        if stage in stages:
            openers[stage] = lambda make=make: TorchRuntime(make())  # type: ignore[misc]
    return openers
