#!/usr/bin/env bash
# ExecuTorch 1.5.1's XNNPACK backend sums a softmax over the width of a map over the channels, and says nothing.
#
# Behind a convolution a map lies with its channels last. XNNPACK's softmax is over the last axis in memory, and the
# partitioner takes each softmax over the last axis of a tensor: of such a map that is another one. A softmax over the
# rows of a matrix is right, and so is one of a map that nothing before has turned.
#
# Seen on 2026-11-30 on x86-64 with torch 2.13.0: 0.21 off for the first, 6e-8 for the others.
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
from executorch.runtime import Runtime

print({name: version(name) for name in ("executorch", "torch")})
SHAPE = (2, 4, 6, 8)


class Net(torch.nn.Module):
    """A softmax between two convolutions."""

    def __init__(self, step):
        super().__init__()
        torch.manual_seed(1)
        self.first, self.step = torch.nn.Conv2d(4, 4, 3, padding=1), step
        self.last = torch.nn.Conv2d(4, 4, 1)

    def forward(self, image):
        return self.last(self.step(self.first(image)))


NETS = {
    "behind a convolution": Net(lambda x: x.softmax(-1)),
    "over the rows of a matrix": Net(lambda x: x.reshape(-1, 8).softmax(-1).reshape(SHAPE)),
    "of the input": torch.nn.Softmax(-1),
}
off = {}
for name, net in NETS.items():
    image = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    program = torch.export.export(net.eval(), (image,))
    content = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer
    loaded = Runtime.get().load_program(content)
    made = loaded.load_method("forward").execute([image])[0]
    off[name] = (made - net(image)).abs().max().item()
    print(f"{name}: {off[name]:.2g} off")
assert off["behind a convolution"] > 0.01
assert max(off["over the rows of a matrix"], off["of the input"]) < 1e-6
PYTHON
