"""Writes the names of the tensors that stay in float: `python -m benchmarks.converters.align PREPARED FILE REPLY`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch

from mobilekit.convert.alignment import align

if __name__ == "__main__":
    prepared = Path(sys.argv[1])
    graph = torch.load(prepared / "graph.pt", weights_only=False)  # this benchmark wrote it
    modules = json.loads((prepared / "prepared.json").read_text())["int8"]["float_modules"]
    with np.load(prepared / "random.npz") as random:
        owners = align(graph, Path(sys.argv[2]), {"input": random["inputs"][:1]})
    Path(sys.argv[3]).write_text(json.dumps(owners.tensors_inside(modules)))
