"""ExecuTorch's quantizer for XNNPACK, as files of int8 have it. The Python that has ExecuTorch runs this."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torchao.quantization.pt2e import PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation
from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

_LEAST_SCALE = 2.0**-18
"""Of a channel's weights. XNNPACK wants the product of the scales of inputs and weights over the outputs' at 2^-32 at
least (`xnn_create_convolution2d_nhwc_qs8_qc8w`); ExecuTorch's scales of values are 2^-12 at least."""


class PartsQuantizer(XNNPACKQuantizer):  # type: ignore[misc]
    """Rounds values and weights, with a scale a channel of these, but for the steps that stay in float.

    Args:
        kept: Names of the steps that stay in float.
    """

    def __init__(self, kept: Collection[str]) -> None:
        super().__init__()
        config = get_symmetric_quantization_config(is_per_channel=True)
        # Its own least scale is 2^-12: a channel whose largest weight is below 127/4096 has larger steps than it need.
        observer = PerChannelMinMaxObserver.with_args(eps=_LEAST_SCALE)
        self.set_global(replace(config, weight=replace(config.weight, observer_or_fake_quant_ctr=observer)))
        self.set_filter_function(lambda node: node.name not in kept)

    def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        """Say of each step how it is rounded.

        ExecuTorch 1.5.1 asks its filter neither for concatenations nor for what has the scale of the step before.
        """
        for node in model.graph.nodes:
            if not self.filter_fn(node):
                node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(_annotated=True)
        annotated: torch.fx.GraphModule = super().annotate(model)
        return annotated
