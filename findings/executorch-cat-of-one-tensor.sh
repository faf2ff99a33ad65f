#!/usr/bin/env bash
# ExecuTorch 1.5.1's XNNPACK partitioner leaves out a concatenation of one tensor with itself, and says nothing.
#
# cat([a, b]) and cat([a, a, b]) run inside the delegate. cat([a, a]), as a map is doubled in height or width by copies of
# its rows, stays outside and cuts the graph: the inputs are counted as a set, in which a tensor stands once, and one
# input is fewer than the two that XNNPACK's kernel takes. Each such step ends a delegate, and on the way back the map is
# copied into another order of its axes and out of it.
#
# Seen on 2026-11-30 on x86-64 with torch 2.13.0: two delegates for a net of two layers, where the others have one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet executorch==1.5.1 torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

print({name: version(name) for name in ("executorch", "torch")})


class Net(torch.nn.Module):
    """Two maps of one image, joined."""

    def __init__(self, order):
        super().__init__()
        self.order = order
        self.layers = torch.nn.ModuleList([torch.nn.Conv2d(3, 4, 1) for _ in range(2)])
        self.last = torch.nn.Conv2d(4 * len(order), 4, 1)

    def forward(self, image):
        maps = [layer(image) for layer in self.layers]
        return self.last(torch.cat([maps[number] for number in self.order], 1)) + maps[1]


found = {}
for order in ((0, 1), (0, 0, 1), (0, 0)):
    program = torch.export.export(Net(order).eval(), (torch.zeros(1, 3, 8, 8),))
    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    steps = [node.target.__name__ for node in lowered.exported_program().graph.nodes if node.op == "call_function"]
    outside = [name for name in steps if name not in ("executorch_call_delegate", "getitem")]
    found[order] = (steps.count("executorch_call_delegate"), sum("cat" in name for name in outside))
    print(f"maps {order}: {found[order][0]} delegates, outside them {outside}")
assert found[0, 1] == found[0, 0, 1] == (1, 0)
assert found[0, 0] == (2, 1)
PYTHON
