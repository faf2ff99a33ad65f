"""An ONNX file as TFLite files by Keras: onnx2tf for the graph, TensorFlow Lite's converter for the files.

onnx2tf can write the files itself; from a SavedModel with one frozen function TensorFlow Lite's converter makes files
with the same outputs to the bit in half the time, and they get a signature with our names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from mobilekit.artifacts.tflite import ordered
from mobilekit.convert.constant_outputs import take_constant_outputs
from mobilekit.convert.depthwise import with_depthwise
from mobilekit.convert.keras_model import Shapes, keras_model
from mobilekit.convert.network import Network
from mobilekit.store.worker_loop import named


def by_keras(onnx_path: Path, folder: Path, pixels: Collection[str] = ()) -> Network:
    """Return a network whose files are made of a SavedModel.

    Args:
        onnx_path: The simplified file, which is changed.
        folder: Where the SavedModel is made.
        pixels: Names of the inputs that hold 0 to 255.

    Raises:
        ToolError: onnx2tf makes another function of an op.
    """
    inputs, outputs, layouts = _save_model(onnx_path, folder, pixels)

    @cache  # float32 is that of dynamic and int8 too
    def file(precision: str) -> bytes:
        with named("the TensorFlow Lite converter"):
            content = with_depthwise(_convert(folder, precision))
        return ordered(content, list(inputs), list(outputs))

    return Network(layouts, lambda: file("float32"), lambda: file("float16"))


def _save_model(onnx_path: Path, folder: Path, pixels: Collection[str]) -> tuple[Shapes, Shapes, dict[str, str]]:
    """Build the Keras model, freeze it to one function and save that with a signature.

    Returns:
        The inputs and outputs of the ONNX graph, and the layouts of the outputs.
    """
    import onnx
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    graph = onnx.load(onnx_path).graph
    inputs, outputs = _shapes(graph.input), _shapes(graph.output)
    constants = take_constant_outputs(onnx_path, inputs)
    computed = [name for name in outputs if name not in constants]
    with named("onnx2tf"):
        made = keras_model(onnx_path, inputs, pixels)
    model = made.model
    specs = [tf.TensorSpec(x.shape, x.dtype, x.name) for x in model.inputs]  # onnx2tf names them as ONNX does
    function = tf.function(lambda *inputs: model(list(inputs)), input_signature=specs)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())

    def serve(*inputs: Any) -> dict[str, Any]:
        results = zip(computed, frozen(*inputs), made.orders, strict=True)
        values = {name: value if order is None else tf.transpose(value, order) for name, value, order in results}
        values |= {name: tf.constant(value) for name, value in constants.items()}
        return {name: values[name] for name in outputs}

    holder = tf.Module()
    holder.frozen = frozen
    signature = tf.function(serve, input_signature=specs).get_concrete_function()
    tf.saved_model.save(holder, str(folder), signatures={"serving_default": signature})
    layouts = {
        name: _layout(outputs[name], list(result.shape), *errors)
        for name, result, errors in zip(computed, model.outputs, made.errors, strict=True)
        if len(outputs[name]) == 4
    }
    layouts |= {name: "NCHW" for name, value in constants.items() if value.ndim == 4}
    return inputs, outputs, layouts


def _shapes(values: Iterable[Any]) -> Shapes:
    """Return the shapes of an ONNX graph's inputs or outputs by name."""
    return {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in values}


def _layout(onnx_shape: list[int], shape: list[int], error_as_is: float, error_moved: float) -> str:
    """Tell an output's layout by its shape, or by its values where all axes have one length."""
    moved = [onnx_shape[0], *onnx_shape[2:], onnx_shape[1]]
    is_nhwc = error_moved < error_as_is if onnx_shape == moved else shape == moved
    return "NHWC" if is_nhwc else "NCHW"


def _convert(saved: Path, precision: str) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content: bytes = converter.convert()
    return content
