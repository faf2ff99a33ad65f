#!/usr/bin/env bash
# A .pte file of int8 whose map is read both inside and outside of XNNPACK's delegate is written, and does not run.
#
# ExecuTorch 1.5.1: torchao's convert_pt2e puts one step behind a rounded map that makes it float for all its readers. Where
# the delegate has that step and some of the readers, and others stay outside (log1p, which XNNPACK lacks), the delegate
# gives the map with its axes in another order than the program says. Lowering says nothing; the file loads, and
# execute() raises an error that names neither the step nor the map. In float32 the same net runs; so it does in int8
# where the map is no output of the delegate. A softplus has all of it in one step of PyTorch: it becomes a comparison,
# an exponential, log1p and a choice. A step that makes the map float for each reader, put in as a pass before the
# graph is divided, mends it.
#
# Seen on 2026-11-30 on x86-64 with torch 2.13.0, torchao 0.18.0: error 0x10 (NotSupported), and right values with the pass.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet executorch==1.5.1 torch==2.13.0 torchao==0.18.0 numpy==2.4.6
"$folder/venv/bin/python" - 2>"$folder/log" <<'PYTHON' || { cat "$folder/log"; exit 1; }
from importlib.metadata import version

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.exir.pass_base import ExportPass, PassResult
from executorch.runtime import Runtime
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

print({name: version(name) for name in ("executorch", "torch", "torchao")})


class Net(torch.nn.Module):
    """What `end` makes of a convolution's map."""

    def __init__(self, end):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.end = torch.nn.Conv2d(3, 4, 1), end

    def forward(self, image):
        return self.end(self.conv(image))


class OneEach(ExportPass):
    """A step that makes a map float for each of its readers."""

    def call(self, module):
        for node in [one for one in module.graph.nodes if "dequantize_per_tensor" in str(one.target)]:
            for reader in list(node.users)[1:]:
                with module.graph.inserting_before(reader):
                    own = module.graph.create_node(node.op, node.target, node.args, node.kwargs)
                own.meta = dict(node.meta)
                reader.replace_input_with(node, own)
        module.recompile()
        return PassResult(module, True)


def run(end, is_int8, passes=()):
    """Return the error of the file's output relative to PyTorch's, or what the runtime raised."""
    net, image = Net(end).eval(), torch.randn(1, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(net, (image,))
    if is_int8:
        config = get_symmetric_quantization_config(is_per_channel=True)
        ready = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(config))
        ready(image)
        program = torch.export.export(convert_pt2e(ready), (image,))
    lowered = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], transform_passes=list(passes) or None
    )
    method = Runtime.get().load_program(lowered.to_executorch().buffer).load_method("forward")
    try:
        (made,) = method.execute([image])
    except RuntimeError as error:
        return str(error)
    wanted = net(image)
    return float((made - wanted).norm() / wanted.norm())


softplus = torch.nn.functional.softplus
found = {
    "softplus in float32": run(softplus, False),
    "softplus in int8": run(softplus, True),
    "softplus in int8, a step for each reader": run(softplus, True, [OneEach()]),
    "log1p alone in int8": run(lambda map: torch.log1p(map.relu()), True),
}
for words, result in found.items():
    print(f"{words}: {result}")
assert found["softplus in float32"] < 1e-6
assert "failed with error 0x10" in found["softplus in int8"]
assert found["softplus in int8, a step for each reader"] < 0.02
assert found["log1p alone in int8"] < 0.02
PYTHON
