"""ExecuTorch with XNNPACK, and the static quantization that its guide describes; runs in its environment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.worker import Bind, serve


def convert(model: str, weights: str, size: int, calibration: str, precision: str) -> dict[str, int]:
    """Write model.pte into the working directory, and return what the delegate took."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.devtools.backend_debug import get_delegation_info
    from executorch.exir import to_edge_transform_and_lower

    from benchmarks.peers.network import load

    network, sample = load(model, weights), (torch.zeros(1, 3, size, size),)
    if precision == "int8":
        network = _quantize(network, sample, np.load(calibration))
    exported = torch.export.export(network, sample)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    Path("model.pte").write_bytes(lowered.to_executorch().buffer)
    info = get_delegation_info(lowered.exported_program().graph_module)
    left = info.num_non_delegated_nodes
    return {
        "partitions": info.num_delegated_subgraphs,
        "delegated": info.num_delegated_nodes,
        "total": info.num_delegated_nodes + left,
    }


def _quantize(network: torch.nn.Module, sample: tuple[torch.Tensor], inputs: np.ndarray) -> torch.nn.Module:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer as xnnpack
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = xnnpack.XNNPACKQuantizer()
    quantizer.set_global(xnnpack.get_symmetric_quantization_config(is_per_channel=True))
    prepared: Any = prepare_pt2e(torch.export.export(network, sample).module(), quantizer)
    with torch.no_grad():
        for each in torch.split(torch.from_numpy(inputs), 1):
            prepared(each)
    quantized: torch.nn.Module = convert_pt2e(prepared)
    return quantized


def open_file(file: str) -> Bind:
    """Open a .pte file."""
    # Its public modules import the whole exporter, which takes longer than all inferences of a run.
    from executorch.extension.pybindings import _C
    from executorch.kernels import quantized  # noqa: F401 - brings the operators that int8 leaves outside the delegate

    _C._unsafe_reset_threadpool(1)  # its default is all cores
    module = _C._load_for_executorch(file)

    def bind(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array)
        return lambda: module.forward([tensor])[0]

    return bind


if __name__ == "__main__":
    serve(convert, open_file)
