#!/usr/bin/env bash
# Moving two maps to channels last, adding them, and moving the sum back costs three more passes over memory in a .pte file.
#
# XNNPACK keeps maps with channels last, so in TFLite files, whose tensors are so too, such moves come to nothing, and code
# that is written for them uses views of pixels and their channels. ExecuTorch 1.5.1's delegate marks each value as one
# with channels first or last, and a permutation as a step of its own: that of a map with channels last is done, and its
# result is then moved into the order that the sum takes. No pass takes steps away that undo each other; only copies
# between memory formats are taken together. The same net without the three permutations has no such step. Nothing is
# said when the file is lowered; both are one part of XNNPACK's, with the same values.
#
# Seen on 2026-12-01 on x86-64 with torch 2.13.0: 2 and 5 steps of the kind Transpose; those two are for the input and
# the output of the file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet executorch==1.5.1 torch==2.13.0 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder" 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.devtools import Inspector
from executorch.exir import to_edge_transform_and_lower
from executorch.extension.pybindings.portable_lib import _load_for_executorch_from_buffer

print({name: version(name) for name in ("executorch", "torch")})


class Net(torch.nn.Module):
    """The sum of two convolutions of a map, and a convolution of that."""

    def __init__(self, moves):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other, self.last = (torch.nn.Conv2d(8, 8, 1) for _ in range(3))
        self.moves = moves

    def forward(self, map):
        one, other = self.one(map), self.other(map)
        if self.moves:
            both = one.permute(0, 2, 3, 1) + other.permute(0, 2, 3, 1)
            return self.last(both.permute(0, 3, 1, 2))
        return self.last(one + other)


def run(moves):
    """Return how many parts, how many steps that move values, and the output."""
    map = torch.randn(1, 8, 6, 10, generator=torch.Generator().manual_seed(1))
    lowered = to_edge_transform_and_lower(torch.export.export(Net(moves).eval(), (map,)), partitioner=[XnnpackPartitioner()])
    made = lowered.to_executorch()
    parts = sum("call_delegate" in str(node.target) for node in made.exported_program().graph.nodes)
    module = _load_for_executorch_from_buffer(made.buffer, enable_etdump=True)
    (output,) = module.run_method("forward", (map,))
    file = str(Path(sys.argv[1]) / "dump.etdp")
    module.write_etdump_result_to_file(file)
    events = [event for block in Inspector(etdump_path=file).event_blocks for event in block.events]
    return parts, sum(str(event.name).startswith("Transpose") for event in events), output


(parts, without, output), (moved_parts, with_moves, moved_output) = run(False), run(True)
print(f"without moves: {parts} part, {without} Transpose; with moves: {moved_parts} part, {with_moves} Transpose")
assert parts == moved_parts == 1
assert torch.equal(output, moved_output)
assert (without, with_moves) == (2, 5)
PYTHON
