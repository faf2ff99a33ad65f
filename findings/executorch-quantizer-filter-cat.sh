#!/usr/bin/env bash
# XNNPACKQuantizer's filter function keeps steps out of int8, but no concatenation: that is rounded all the same.
#
# ExecuTorch 1.5.1: set_filter_function is there to leave steps in float. The annotators of convolutions, sums and products
# ask it; the one of concatenations does not, and neither does what passes a scale on to the reshapes, slices and
# transposes behind an annotated step. Boxes and scores that are decoded in float and joined at the end come out with
# 256 values between them, and nothing says so.
#
# Seen on 2026-11-30 on x86-64 with torch 2.13.0, torchao 0.18.0: with a filter that refuses every step the two parts of the
# output, 0 to 1000 and 0 to 1, have 256 different values and 1; where the two are added, 2000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet executorch==1.5.1 torch==2.13.0 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

print({name: version(name) for name in ("executorch", "torch", "torchao")})


class Ends(torch.nn.Module):
    """Boxes in pixels and scores, joined or added."""

    def __init__(self, is_joined):
        super().__init__()
        self.is_joined = is_joined

    def forward(self, boxes, scores):
        return torch.cat([boxes, scores], 1) if self.is_joined else boxes + scores


def values(is_joined):
    """Return how many different values each part of the output has where the filter refuses every step."""
    scores = torch.linspace(0, 1, 2000).reshape(1, 1, 2000)
    images = (1000 * scores.flip(2), scores)
    ready = prepare_pt2e(
        torch.export.export(Ends(is_joined).eval(), images).module(),
        XNNPACKQuantizer()
        .set_global(get_symmetric_quantization_config(is_per_channel=True))
        .set_filter_function(lambda node: False),
    )
    ready(*images)
    return [len(part.unique()) for part in convert_pt2e(ready)(*images)[0]]


added, joined = values(False), values(True)
print(f"added: {added} different values; joined: {joined}")
assert added == [2000]
assert joined == [256, 1]
PYTHON
