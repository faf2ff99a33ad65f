#!/usr/bin/env bash
# ExecuTorch 1.5.1's XNNPACKQuantizer gives no channel of int8 weights a scale below 2^-12, and says nothing.
#
# A channel whose largest weight is w has steps of w / 127 elsewhere. Here one of .002 has 8 levels on either side, and
# one below .00012 none: the layer gives zero. The same function with weights 1000 times as large and inputs as much
# smaller keeps its digits. Trained networks with folded batch norms have such channels.
#
# Seen on 2026-11-30 on x86-64 with torch 2.13.0 and torchao 0.18.0: relative errors of .059 and 1 for weights of up to
# .002 and .0001, and .013 where the first are scaled.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet executorch==1.5.1 torch==2.13.0 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

print({name: version(name) for name in ("executorch", "torch", "torchao")})


def error(largest, inputs):
    """Return the relative error of a quantized layer whose largest weight and inputs are these."""
    generator = torch.Generator().manual_seed(0)
    layer = torch.nn.Linear(64, 32, bias=False)
    with torch.no_grad():
        weight = torch.rand(32, 64, generator=generator) * 2 - 1
        layer.weight.copy_(weight / weight.abs().amax(1, keepdim=True) * largest)
    pictures = torch.randn(256, 64, generator=generator) * inputs
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.export(layer.eval(), (pictures,)).module(), quantizer)
    prepared(pictures)
    made, wanted = convert_pt2e(prepared)(pictures), layer(pictures)
    return ((made - wanted).norm() / wanted.norm()).item()


with torch.no_grad():
    small, smaller, scaled = error(0.002, 500.0), error(0.0001, 10_000.0), error(2.0, 0.5)
print(f"weights of up to .002: {small:.3f}; of up to .0001: {smaller:.3f}; the first 1000 times as large: {scaled:.3f}")
assert small > 0.03 and smaller > 0.5 and scaled < 0.02
PYTHON
