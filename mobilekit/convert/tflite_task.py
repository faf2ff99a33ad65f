"""The task that makes TFLite files of an ONNX file: onnx2tf for the graph, TensorFlow Lite's converter for the files.

onnx2tf can write the files itself; from a SavedModel with one frozen function TensorFlow Lite's converter makes files
with the same outputs to the bit in half the time, and they get a signature with our names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit import memory
from mobilekit.convert.float_regions import tensors_to_keep

Floats = NDArray[np.float32]

# onnx2tf looks for this file in its working directory before it downloads one, for every 4-D input of 3 channels.
SAMPLE_FILE = "calibration_image_sample_data_20x128x128x3_float32.npy"


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Convert `onnx` into one file for each precision.

    Args:
        request: `onnx` (absolute path), `inputs` (their names), `files` (precision to absolute path),
            `calibration` (absolute path of a float32 .npy, (N, C, H, W), or None without int8), `keep_float` (what
            int8 leaves in float).

    Returns:
        `output_layouts`: NHWC or NCHW for each output of four axes in the TFLite files, by its name.
    """
    np.save(SAMPLE_FILE, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    saved = Path("saved_model").absolute()
    shapes, layouts = _save_model(request, saved)
    memory.release()
    for precision, path in request["files"].items():
        calibration = np.load(request["calibration"]) if precision == "int8" else None
        with _named("the TensorFlow Lite converter"):
            if calibration is not None and request["keep_float"]:
                content = _convert_mixed(saved, calibration, shapes, request["keep_float"])
            else:
                content = _convert(saved, precision, calibration, shapes)
            Path(path).write_bytes(content)
        memory.release()
    return {"output_layouts": layouts}


def _save_model(request: dict[str, Any], folder: Path) -> tuple[list[list[int]], dict[str, str]]:
    """Build the Keras model, freeze it to one function and save that with a signature.

    Returns:
        The shapes of the inputs, and the layouts of the outputs.
    """
    import onnx
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    with _named("onnx2tf"):
        model = _keras_model(request["onnx"])
    outputs = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in onnx.load(request["onnx"]).graph.output
    }
    names = request["inputs"]
    specs = [tf.TensorSpec(x.shape, x.dtype, name) for x, name in zip(model.inputs, names, strict=True)]
    function = tf.function(lambda *inputs: model(list(inputs)), input_signature=specs)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())

    def serve(*inputs: Any) -> dict[str, Any]:
        return dict(zip(outputs, frozen(*inputs), strict=True))

    holder = tf.Module()
    holder.frozen = frozen
    signature = tf.function(serve, input_signature=specs).get_concrete_function()
    tf.saved_model.save(holder, str(folder), signatures={"serving_default": signature})
    known = getattr(model, "onnx_output_layouts", {})
    layouts = {
        name: _layout(shape, list(result.shape), bool(known.get(name)))
        for (name, shape), result in zip(outputs.items(), model.outputs, strict=True)
        if len(shape) == 4
    }
    return [list(spec.shape) for spec in specs], layouts


def _layout(onnx_shape: list[int], shape: list[int], is_nhwc: bool) -> str:
    """Tell an output's layout by its shape, or by onnx2tf's own word where all axes have one length."""
    moved = [onnx_shape[0], *onnx_shape[2:], onnx_shape[1]]
    if onnx_shape == moved:
        return "NHWC" if is_nhwc else "NCHW"
    return "NHWC" if shape == moved else "NCHW"


def _keras_model(onnx_path: str) -> Any:
    import onnx2tf

    return onnx2tf.convert(
        input_onnx_file_path=onnx_path,
        output_folder_path="onnx2tf",
        not_use_onnxsim=True,  # it is simplified; onnx2tf would also rewrite the file it is given
        disable_model_save=True,
        # TFLite has no Erf; onnx2tf has a formula that is off by 1.5e-7 at most (Abramowitz and Stegun 7.1.26).
        replace_to_pseudo_operators=["erf"],
        non_verbose=True,
    )


def _convert(saved: Path, precision: str, calibration: Floats | None, shapes: list[list[int]]) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        assert calibration is not None
        converter.representative_dataset = _representative(calibration, shapes[0])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    content: bytes = converter.convert()
    return content


def _convert_mixed(saved: Path, calibration: Floats, shapes: list[list[int]], keep_float: list[str]) -> bytes:
    """Quantise to int8 but for some tensors: calibrate first, then quantise the calibrated file with a list of them."""
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    kept = tensors_to_keep(_convert(saved, "float32", None, shapes), keep_float)
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = _representative(calibration, shapes[0])
    converter._experimental_calibrate_only = True
    int8 = 9  # TensorType.INT8 of the TFLite schema
    content: bytes = mlir_quantize(
        converter.convert(), fully_quantize=True, inference_type=int8, denylisted_nodes=sorted(kept) or None
    )
    return content


def _representative(calibration: Floats, shape: list[int]) -> Callable[[], Iterator[list[Floats]]]:
    """Return TensorFlow's form of a data set: one batch of one at a time, in the layout of the TFLite input."""
    batches = calibration[:, None]
    if list(batches.shape[1:]) != shape:
        batches = batches.transpose(0, 1, 3, 4, 2)

    def dataset() -> Iterator[list[Floats]]:
        for batch in batches:
            yield [np.ascontiguousarray(batch)]

    return dataset


@contextmanager
def _named(tool: str) -> Iterator[None]:
    """Mark what the block raises with the name of the tool that it runs."""
    try:
        yield
    except BaseException as error:
        error.tool = tool  # type: ignore[attr-defined]
        raise
