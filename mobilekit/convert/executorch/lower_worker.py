"""Lowers exported programs for XNNPACK; it is run by the Python that has ExecuTorch.

A request has `program`, the path of a .pt2 file that mobilekit wrote; `file`, where to write the .pte file; and
`facts`, what the file says of itself. For a file of int8 it has `calibration`: `arrays`, the path of an .npz file with
inputs (N, ...) by their places, `float_steps`, names of those that stay in float, `correct_bias`, `choose_ranges`, and
`outputs`, the places of those that are no values inside. A reply has `outside`, the steps that no delegate runs, in
their order: `op`, `module` (a path, or nothing) and `reason`, in ExecuTorch's words (or nothing), and `ranges`, what
tells for those of int8.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import (
    XnnpackPartitioner,
)
from executorch.exir import to_edge_transform_and_lower
from executorch.exir.backend.utils import WhyNoPartition

from mobilekit.convert.executorch.bias import correct_biases
from mobilekit.convert.executorch.dequantized import EachReaderItsOwn
from mobilekit.store.worker_loop import named, serve

FACTS = "mobilekit"
_NO_STEPS = ("executorch_call_delegate", "getitem", "alloc")
"""Calls in a lowered graph that run no kernel of ExecuTorch's."""


class _Reasons(logging.Handler):
    """Keeps why the partitioner left a node, by the node's name."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.found: dict[str, str] = {}
        self.of_kind: dict[str, set[str]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Note a reason; the object that is logged is used again for the next one."""
        if isinstance(record.msg, WhyNoPartition) and record.msg.node is not None:
            node, reason = record.msg.node, str(record.msg.reason)
            self.found[node.name] = reason
            self.of_kind.setdefault(_kind(node), set()).add(reason)

    def of(self, node: torch.fx.Node) -> str:
        """Return why a node was left; of one that was renamed since, the one reason that nodes of its kind have."""
        known = self.of_kind.get(_kind(node), set())
        return self.found.get(node.name) or (next(iter(known)) if len(known) == 1 else "")


def lower(request: dict[str, Any]) -> dict[str, Any]:
    """Write a .pte file; of an empty request, only see that all is there."""
    if not request:
        return {}
    program, ranges = torch.export.load(request["program"]), dict[str, Any]()
    reasons = _listen()
    with named("ExecuTorch"):
        if request.get("calibration"):
            program, ranges = _quantized(program, **request["calibration"])
        lowered = to_edge_transform_and_lower(
            program,
            partitioner=[XnnpackPartitioner()],
            transform_passes=[EachReaderItsOwn()],
            constant_methods={FACTS: json.dumps(request["facts"])},
        )
        made = lowered.to_executorch()
        Path(request["file"]).write_bytes(made.buffer)
    steps = [node for node in made.exported_program().graph.nodes if _is_step(node)]
    return {"outside": [_told(node, reasons) for node in steps], "ranges": ranges}


def _quantized(
    program: torch.export.ExportedProgram,
    arrays: str,
    float_steps: list[str],
    correct_bias: bool,
    choose_ranges: bool,
    outputs: list[int],
) -> tuple[torch.export.ExportedProgram, dict[str, Any]]:
    """Return a program whose steps compute in int8, with a scale a channel, and what tells for its ranges."""
    from torchao.quantization.pt2e.quantize_pt2e import (
        convert_pt2e,
        prepare_pt2e,
    )

    from mobilekit.convert.executorch.quantizer import PartsQuantizer
    from mobilekit.convert.executorch.ranges import calibrate

    examples, kept = program.example_inputs[0], {*float_steps}
    with np.load(arrays) as inputs:
        values = [torch.from_numpy(inputs[str(place)]).to(each.dtype) for place, each in enumerate(examples)]
    size = len(examples[0])
    batches = [[each[start : start + size] for each in values] for start in range(0, len(values[0]) - size + 1, size)]
    with torch.no_grad():
        graph = program.module(check_guards=False)
        if correct_bias:
            correct_biases(graph, batches, kept)
        ranged, told = calibrate(prepare_pt2e(graph, PartsQuantizer(kept)), batches, choose_ranges, outputs)
        return torch.export.export(convert_pt2e(ranged), examples), told


def _listen() -> _Reasons:
    reasons = _Reasons()
    logger = logging.getLogger("executorch.backends.xnnpack")
    logger.handlers, logger.propagate = [reasons], False
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(logger.name):
            logging.getLogger(name).setLevel(logging.DEBUG)
    return reasons


def _is_step(node: torch.fx.Node) -> bool:
    return node.op == "call_function" and getattr(node.target, "__name__", "") not in _NO_STEPS


def _told(node: torch.fx.Node, reasons: _Reasons) -> dict[str, str]:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return {"op": _kind(node), "module": str(stack[-1][0]) if stack else "", "reason": reasons.of(node)}


def _kind(node: torch.fx.Node) -> str:
    """Return the name of a node's operator, such as `cat`."""
    schema = getattr(node.target, "_schema", None)
    name = schema.name if schema is not None else getattr(node.target, "__name__", str(node.target))
    return str(name).rpartition("::")[2]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(lower)
