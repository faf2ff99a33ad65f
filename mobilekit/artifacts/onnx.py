"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.errors import ToolError, first_line


class OnnxRuntime(Runtime):
    """An ONNX model on the CPU, one thread, the graph as it stands (no optimisation by the runtime)."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises classes of its own for each status
            raise ToolError(f"ONNX Runtime cannot open {path.name}: {first_line(error)}.") from error
        self.name = path.name
        self.output_names = [output.name for output in self.session.get_outputs()]

    def run(self, inputs: Arrays) -> Arrays:
        """Run the model; see `Runtime.run`."""
        count = len(next(iter(inputs.values())))
        try:
            rows = [
                self.session.run(self.output_names, {name: array[i : i + 1] for name, array in inputs.items()})
                for i in range(count)
            ]
        except Exception as error:  # as above
            raise ToolError(f"ONNX Runtime failed while running {self.name}: {first_line(error)}.") from error
        columns = [np.concatenate(column) for column in zip(*rows, strict=True)]
        return dict(zip(self.output_names, columns, strict=True))
