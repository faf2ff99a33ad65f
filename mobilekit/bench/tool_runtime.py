"""TFLite files, run by benchmark_model on a device for their outputs: for parity, not for time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.litert import LiteRTRuntime, LiteRTTensor
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.bench.acceptance import rejection_reason
from mobilekit.bench.devices.base import Workspace
from mobilekit.bench.output import parse_output
from mobilekit.errors import DeviceError, ToolError

_OUTPUTS = "outputs.bin"
_NEEDED = ("--input_layer_value_files", "--output_filepath")
_SECONDS = 300.0  # for one inference, on the slowest of phones


class ToolRuntime(Runtime):
    """A TFLite model on a device, run once for each input.

    Args:
        workspace: The folder on the device.
        program: Path of benchmark_model there. A build that cannot read inputs from files and write outputs to one
            (2.14 can) is known by what it prints, as it goes on without a flag that it lacks.
        path: The file.
        layouts: Which outputs are NHWC, by their names.
    """

    def __init__(self, workspace: Workspace, program: str, path: Path, layouts: Mapping[str, str]) -> None:
        self._workspace, self._program, self._path = workspace, program, path
        self._here = LiteRTRuntime(path, layouts)  # it knows names, layouts and number formats
        self.name, self.inputs = path.name, self._here.inputs

    def _run(self, inputs: Arrays) -> Arrays:
        """Run the model.

        Raises:
            DeviceError: The device was lost.
            ToolError: benchmark_model refused, or cannot read inputs and write outputs.
        """
        graph = self._workspace.install(self._path)
        rows = [self._run_one(graph, batch) for batch in self._here.encoded(inputs)]
        return self._here.joined(rows, len(next(iter(inputs.values()))))

    def _run_one(self, graph: str, arrays: list[NDArray[Any]]) -> list[NDArray[Any]]:
        with TemporaryDirectory(prefix="mobilekit-") as scratch:
            places = []
            for number, array in enumerate(arrays):
                file = Path(scratch) / f"input-{number}.bin"
                file.write_bytes(array.tobytes())
                places.append(self._workspace.install(file))
            finished = self._workspace.run([self._program, *self._flags(graph, places)], timeout=_SECONDS)
        output = parse_output(finished.stdout, finished.stderr)
        lacking = [flag for flag in _NEEDED if any(word.startswith(flag) for word in output.unconsumed)]
        if lacking:
            raise ToolError(
                f"This benchmark_model has no {' and no '.join(lacking)}, so its outputs cannot be compared.",
                "Give TensorFlow Lite's, 2.14 or later, with --benchmark-binary, as LiteRT's has neither; or take "
                "--device emulated.",
            )
        refusal = rejection_reason(output, exit_code=finished.exit_code, graph=graph)
        if refusal:
            raise ToolError(f"{self._path.name} could not be run on the device: {refusal}")
        return self._decode(self._workspace.read(_OUTPUTS))

    def _flags(self, graph: str, places: list[str]) -> list[str]:
        names = [detail["name"] for detail in self._here.interpreter.get_input_details()]
        shapes = [",".join(map(str, info.shape)) for info in self._here.inputs]
        pairs = zip(names, places, strict=True)
        return [
            f"--graph={graph}",
            "--num_threads=1",
            "--num_runs=1",
            "--warmup_runs=0",
            "--min_secs=0",
            "--warmup_min_secs=0",
            f"--input_layer={','.join(names)}",
            f"--input_layer_shape={':'.join(shapes)}",
            "--input_layer_value_files=" + ",".join(f"{_escaped(name)}:{place}" for name, place in pairs),
            f"--output_filepath={_OUTPUTS}",
        ]

    def _decode(self, content: bytes) -> list[NDArray[Any]]:
        """Take the outputs apart, which follow one another without anything between.

        Raises:
            DeviceError: There are more or fewer bytes.
        """
        sizes = [_bytes_of(info) for info in self._here.outputs]
        if sum(sizes) != len(content):
            raise DeviceError(f"benchmark_model wrote {len(content)} bytes of outputs, not {sum(sizes)}.")
        decoded, place = [], 0
        for info, size in zip(self._here.outputs, sizes, strict=True):
            array = np.frombuffer(content, info.dtype, size // np.dtype(info.dtype).itemsize, place)
            decoded.append(self._here.decoded(array.reshape(info.shape), info))
            place += size
        return decoded


def _bytes_of(info: LiteRTTensor) -> int:
    return int(np.prod(info.shape)) * np.dtype(info.dtype).itemsize


def _escaped(name: str) -> str:
    """Return a name as the flag takes it: a colon ends the name, and two are one of it.

    (`SplitInputLayerNameAndValueFile` in TensorFlow Lite's benchmark_tflite_model.cc; its help says otherwise.)
    """
    return name.replace(":", "::")
