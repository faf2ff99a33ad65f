#!/usr/bin/env bash
# coremltools 9.0 forgets keywords of steps in a program of torch.export, and says nothing.
#
# The factor of a sum or difference (alpha), GELU's tanh form and the smoothing of a resize (antialias) are not in the
# package: it holds a plain sum, the exact GELU, a resize without smoothing. The same sum written as a product before it
# is converted as it stands.
#
# Seen on 2026-11-30 on x86-64 Linux with torch 2.13.0: no constant of 3 in the first program, and one in the second.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet coremltools==9.0 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" -W ignore - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import coremltools
import torch
from torch.nn import functional as F

print({name: version(name) for name in ("coremltools", "torch")})


class Net(torch.nn.Module):
    """A function of two maps."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x, y):
        return self.function(x, y)


def steps(function):
    """Return the steps of the ML program, each with its constants that are numbers or words."""
    maps = torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 8, 8)
    program = torch.export.export(Net(function).eval(), maps).run_decompositions({})
    made = coremltools.convert(
        program,
        convert_to="mlprogram",
        compute_precision=coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS15,
        skip_model_load=True,
    )
    found = []
    for step in made._mil_program.functions["main"].operations:
        values = [each.val for each in step.inputs.values() if hasattr(each, "val") and each.val is not None]
        if step.op_type != "const":
            found.append((step.op_type, [value.item() if hasattr(value, "item") else value for value in values]))
    return found


lost = steps(lambda x, y: torch.add(x, y, alpha=3))
kept = steps(lambda x, y: x + y * 3)
tanh = steps(lambda x, y: F.gelu(x + y, approximate="tanh"))
smooth = steps(lambda x, y: F.interpolate(x + y, size=(16, 16), mode="bilinear", antialias=True))
plain = steps(lambda x, y: F.interpolate(x + y, size=(16, 16), mode="bilinear"))
for name, each in {"x + 3 y by alpha": lost, "x + 3 y by a product": kept, "tanh": tanh, "smooth": smooth}.items():
    print(f"{name}: {each}")
assert [kind for kind, _ in lost] == ["add"] and 3 not in lost[0][1]
assert [kind for kind, _ in kept] == ["mul", "add"] and 3 in kept[0][1]
assert ("gelu", ["EXACT"]) in tanh
assert smooth == plain
PYTHON
