"""coremltools, on a PyTorch program, for iOS 15: models run on macOS alone, so that it converts and is not run."""

from __future__ import annotations

import coremltools
import torch

from benchmarks.peers.worker import serve


def convert(file: str) -> None:
    """Convert a .pt2 file, and tell how many steps came of it."""
    program = torch.export.load(file).run_decompositions({})
    model = coremltools.convert(
        program, minimum_deployment_target=coremltools.target.iOS15, convert_to="mlprogram", skip_model_load=True
    )
    steps = model._mil_program.functions["main"].operations
    print(f"operations: {sum(step.op_type != 'const' for step in steps)}")


if __name__ == "__main__":
    serve(convert, None)
