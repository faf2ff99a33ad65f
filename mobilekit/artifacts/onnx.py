"""ONNX files, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import Arrays, Runtime, TensorInfo, as_output, batches
from mobilekit.errors import ToolError, first_line
from mobilekit.store.files import shown

GRAPH_OPTIMIZATION = "ORT_DISABLE_ALL"
"""ONNX Runtime's own rewrites are off wherever a graph is run: the file is measured, and not what another tool makes of
it, and a fault is cut out under the options under which it was found."""
DAMAGED = "If it was cut or changed since it was written, convert or export it again."
_DTYPES = {"float": "float32", "double": "float64"}


def read_onnx(path: Path) -> Any:
    """Return what is in an ONNX file, an `onnx.ModelProto`.

    Raises:
        ToolError: It is no whole ONNX file.
    """
    import onnx

    try:
        model = onnx.load(path)
    except OSError:
        raise
    except Exception as error:  # protobuf's, and onnx's own of weights that lie in another file
        raise ToolError(f"{path} is not an ONNX file: {first_line(error)}.", DAMAGED) from error
    damage = next(_damage_in(model.graph), None)
    if damage:
        raise ToolError(f"{path} is not an ONNX file: {damage}.", DAMAGED)
    return model


def _damage_in(graph: Any) -> Iterator[str]:
    """Yield what is wrong in a graph, in phrases: protobuf hands on bytes as names, and any number as a type."""
    import onnx

    if not graph.output:
        yield "it has no outputs"
    tensors, values = graph.initializer, (*graph.input, *graph.output, *graph.value_info)
    names = [name for node in graph.node for name in (node.name, node.op_type, *node.input, *node.output)]
    names += [one.name for one in (*tensors, *values)]
    yield from ("a name in it is not UTF-8" for name in names if not isinstance(name, str))
    known = onnx.TensorProto.DataType.values()
    types = {one.data_type for one in tensors} | {one.type.tensor_type.elem_type for one in values}
    yield from (f"it has the type {kind}, which ONNX has not" for kind in types if kind not in known)


def open_session(model: Path | bytes) -> Any:
    """Return an `onnxruntime.InferenceSession` on the CPU: one thread, the graph as it stands.

    Args:
        model: A file, or its content.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, GRAPH_OPTIMIZATION)
    options.log_severity_level = 3
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def all_values(content: bytes, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the value of each tensor that a graph takes or makes, by name.

    Args:
        content: An ONNX file.
        arrays: Its inputs by name.
    """
    import onnx

    model = onnx.load_from_string(content)
    names = [name for node in model.graph.node for name in node.output if name]
    del model.graph.output[:]
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    results = open_session(model.SerializeToString()).run(names, dict(arrays))
    return {**arrays, **dict(zip(names, results, strict=True))}


def by_definition(content: bytes, values: Mapping[str, NDArray[Any]], output: str) -> list[NDArray[Any]]:
    """Return the results of one node as ONNX's own reference computes them, in numpy.

    Args:
        content: An ONNX file.
        values: What its nodes take, by name.
        output: One of the results.
    """
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_from_string(content)
    (node,) = [each for each in model.graph.node if output in each.output]
    taken = [name for name in dict.fromkeys(node.input) if name in values]
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [onnx.helper.make_tensor_value_info(name, _element_type(values[name]), values[name].shape) for name in taken],
        [onnx.ValueInfoProto(name=name) for name in node.output],
        [each for each in model.graph.initializer if each.name in node.input],
    )
    alone = onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    return list(ReferenceEvaluator(alone).run(None, {name: values[name] for name in taken}))


def _element_type(array: NDArray[Any]) -> int:
    import onnx

    return int(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))


class OnnxRuntime(Runtime):
    """An ONNX model on the CPU; see `open_session`."""

    def __init__(self, path: Path) -> None:
        try:
            self.session = open_session(path)
        except Exception as error:  # ONNX Runtime raises classes of its own for each status
            raise ToolError(f"ONNX Runtime cannot open {shown(path)}: {first_line(error)}.", DAMAGED) from error
        self.name = path.name
        self.inputs = [TensorInfo(one.name, tuple(one.shape), _dtype(one.type)) for one in self.session.get_inputs()]
        self.output_names = [output.name for output in self.session.get_outputs()]

    def _run(self, inputs: Arrays) -> Arrays:
        count, size = len(next(iter(inputs.values()))), self.batch
        try:
            feeds = {info.name: inputs[info.name].astype(info.dtype, copy=False) for info in self.inputs}
            parts = zip(*(batches(array, size) for array in feeds.values()), strict=True)
            rows = [self.session.run(self.output_names, dict(zip(feeds, part, strict=True))) for part in parts]
        except Exception as error:  # as above
            raise ToolError(f"ONNX Runtime failed while running {self.name}: {first_line(error)}.") from error
        columns = [
            np.concatenate([as_output(one, size) for one in column])[:count] for column in zip(*rows, strict=True)
        ]
        return dict(zip(self.output_names, columns, strict=True))


def _dtype(kind: str) -> str:
    """Return numpy's name of one of ONNX Runtime's types, such as `tensor(float)`."""
    name = kind.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(name, name)
