"""Asks LiteRT's GPU accelerator in a process of its own: it needs variables that are read once, and may end it.

A request has `do`, and `path` of a .tflite file but for `probe`:
`compile` replies with `refusal`, the accelerator's words or None where it takes all of the file.
`run` has `inputs` and `outputs` besides, paths of .npz files with arrays by name, `layouts` of the outputs, and
`float16`: whether to compute in it.
`probe` replies with `float16`: whether the GPU can.
What LiteRT logs goes to the log.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.runtime import Arrays
from mobilekit.artifacts.tflite import add_tensor, new_op, pack, schema
from mobilekit.errors import ToolError
from mobilekit.store.files import save_arrays
from mobilekit.store.worker_loop import serve

_open: dict[tuple[str, bool], OnGPU] = {}  # the last files, as each is asked for time and again
_MOST_OPEN = 4  # as many as a bundle has


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer a request."""
    if request["do"] == "probe":
        return {"float16": _has_float16()}
    if request["do"] == "compile":
        try:
            _compiled(request["path"], float16=False)
        except RuntimeError as error:
            return {"refusal": str(error)}
        return {"refusal": None}
    key = (request["path"], request["float16"])
    if key not in _open:
        while len(_open) >= _MOST_OPEN:
            del _open[next(iter(_open))]
        _open[key] = OnGPU(Path(request["path"]), request["layouts"], request["float16"])
    with np.load(request["inputs"]) as inputs:
        save_arrays(Path(request["outputs"]), _open[key].run(dict(inputs)))
    return {}


def _compiled(path: str, float16: bool) -> Any:
    """Return a file that the GPU runs whole: no other accelerator is there to take what it leaves.

    Raises:
        RuntimeError: It leaves something; what, LiteRT has logged.
    """
    from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options

    gpu = GpuOptions(enforce_f32=not float16)
    return CompiledModel.from_file(
        path, options=Options(hardware_accelerators=HardwareAccelerator.GPU, gpu_options=gpu)
    )


class OnGPU(LiteRTRuntime):
    """A TFLite model on the GPU. LiteRT's interpreter is open beside it, for the names and layouts of its tensors.

    Raises:
        ToolError: The GPU does not run all of it.
    """

    def __init__(self, path: Path, layouts: dict[str, str], float16: bool) -> None:
        super().__init__(path, layouts)
        try:
            self._compiled = _compiled(str(path), float16)
        except RuntimeError as error:
            raise ToolError(
                f"The GPU does not run all of {path.name}.", "`mobilekit inspect FILE --target gpu` says why."
            ) from error
        [self._signature] = self._compiled.get_signature_list()
        names = self._compiled.get_signature_list()[self._signature]
        self._ins = {
            name: self._compiled.create_input_buffer_by_name(self._signature, name) for name in names["inputs"]
        }
        self._outs = {
            name: self._compiled.create_output_buffer_by_name(self._signature, name) for name in names["outputs"]
        }

    def _run(self, inputs: Arrays) -> Arrays:
        rows = []
        for batch in self.encoded(inputs):
            for info, array in zip(self.inputs, batch, strict=True):
                self._ins[info.name].write(array)
            self._compiled.run_by_name(self._signature, self._ins, self._outs)
            rows.append([self._read(info) for info in self.outputs])
        return self.joined(rows, len(next(iter(inputs.values()))))

    def _read(self, info: Any) -> Any:
        found = self._outs[info.name].read(int(np.prod(info.shape, dtype=np.int64)), np.dtype(info.dtype))
        return self.decoded(np.array(found).reshape(info.shape), info)


def _has_float16() -> bool:
    """Return whether the GPU computes in float16 when it may: then a third doubled is not float32's."""
    with TemporaryDirectory(prefix="mobilekit-") as folder:
        path = Path(folder) / "doubled.tflite"
        path.write_bytes(doubled())
        third = np.full((1, 4), 1 / 3, np.float32)
        [made] = OnGPU(path, {}, float16=True).run({"x": third}).values()
    return bool(np.any(made != 2 * third))


def doubled() -> bytes:
    """Return a TFLite file that adds its input `x`, float32 (1, 4), to itself."""
    model, graph, signature = schema().ModelT(), schema().SubGraphT(), schema().SignatureDefT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema().BufferT()], []
    graph.tensors = []
    x, y = (add_tensor(model, name, "FLOAT32", (1, 4)) for name in ("x", "y"))
    graph.operators, graph.inputs, graph.outputs = [new_op(model, "ADD", [x, x], y)], [x], [y]
    signature.signatureKey, signature.inputs, signature.outputs = b"serving_default", [_named("x", x)], [_named("y", y)]
    model.signatureDefs = [signature]
    return pack(model)


def _named(name: str, number: int) -> Any:
    entry = schema().TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), number
    return entry


if __name__ == "__main__":
    serve(answer)
