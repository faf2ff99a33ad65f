"""An ONNX graph as a Keras model, by onnx2tf."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import open_session

Shapes = dict[str, list[int]]

# onnx2tf looks for this file in its working directory before it downloads one, for every 4-D input of 3 channels.
SAMPLE_FILE = "calibration_image_sample_data_20x128x128x3_float32.npy"
_TOLERANCE = 1e-3
"""Share of an output's largest value. Rounding makes about 1e-6 of it, a wrong order of axes about 1; the ledger
judges what lies between."""


def keras_model(onnx_path: Path, inputs: Shapes) -> Any:
    """Return the model in Keras: its inputs of four axes are NHWC, others as they are in ONNX.

    onnx2tf's strict mode runs each op beside ONNX Runtime, and tries other orders of axes where results differ. That
    takes most of its time, so it is asked for only where the model without it is wrong or cannot be made.

    Args:
        onnx_path: The file, which onnx2tf may rewrite.
        inputs: The graph's inputs.
    """
    np.save(SAMPLE_FILE, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    _compare_products_by_share()
    _resize_by_coordinates()
    content = onnx_path.read_bytes()
    with suppress(Exception, SystemExit):  # onnx2tf leaves through sys.exit, too
        model = _convert(onnx_path, inputs, is_strict=False)
        if _agrees(model, content, inputs):
            return model
    onnx_path.write_bytes(content)
    return _convert(onnx_path, inputs, is_strict=True)


def _compare_products_by_share() -> None:
    """Let onnx2tf take a product of matrices as it stands where it is right but for rounding.

    It does so up to an absolute difference of 1e-3 alone. Where values are large, as in linear attention, rounding
    exceeds that with some weights and not with others, and another order of axes that rounds a little less is taken:
    with two transpositions, of which some of EfficientViT-B1's attentions had one before and one after.
    """
    from onnx2tf.ops import MatMul

    compare = MatMul.onnx_tf_tensor_validation

    @wraps(compare)
    def by_share(**arguments: Any) -> Any:
        results = compare(**arguments)
        for result in results.values():  # [ONNX Runtime's tensor, whether it matched, largest difference, ...]
            result[2] /= max(1.0, float(np.abs(result[0]).max(initial=0.0)))
        return results

    MatMul.onnx_tf_tensor_validation = by_share


def _resize_by_coordinates() -> None:
    """Let onnx2tf take a Resize's coordinates as the file says also from opset 18 on, where it takes half pixels.

    What is new there, smoothing before a map is made smaller, it knows from its own form of that opset.
    """
    from onnx2tf.ops import Resize

    make_node = Resize.make_node

    @wraps(make_node)
    def by_coordinates(*, graph_node: Any, opset: int, **arguments: Any) -> Any:
        known = opset if graph_node.attrs.get("antialias") else min(opset, 17)
        return make_node(graph_node=graph_node, opset=known, **arguments)

    Resize.make_node = by_coordinates


def _convert(onnx_path: Path, inputs: Shapes, is_strict: bool) -> Any:
    import onnx2tf

    return onnx2tf.convert(
        input_onnx_file_path=str(onnx_path),
        output_folder_path="onnx2tf",
        not_use_onnxsim=True,  # it is simplified; onnx2tf would also rewrite the file it is given
        disable_model_save=True,
        disable_strict_mode=not is_strict,
        keep_ncw_or_nchw_or_ncdhw_input_names=[name for name, shape in inputs.items() if len(shape) in (3, 5)] or None,
        # TFLite has no Erf; onnx2tf has a formula that is off by 1.5e-7 at most (Abramowitz and Stegun 7.1.26).
        replace_to_pseudo_operators=["erf"],
        non_verbose=True,
    )


def _agrees(model: Any, content: bytes, inputs: Shapes) -> bool:
    """Return whether a Keras model gives what ONNX Runtime does, on normal inputs."""
    draw = np.random.default_rng(0)
    arrays = {name: draw.standard_normal(shape, dtype=np.float32) for name, shape in inputs.items()}
    expected = open_session(content).run(None, arrays)
    taken = [arrays[x.name] for x in model.inputs]  # onnx2tf names them as ONNX does
    made = model([array.transpose(0, 2, 3, 1) if array.ndim == 4 else array for array in taken])
    results = [np.asarray(result) for result in (made if isinstance(made, list | tuple) else [made])]
    return len(results) == len(expected) and all(map(_is_close, results, expected))


def _is_close(result: NDArray[Any], expected: NDArray[Any]) -> bool:
    """Return whether an output is as expected, in NHWC or as it is in ONNX."""
    finite = np.abs(expected[np.isfinite(expected)])
    limit = _TOLERANCE * float(finite.max(initial=0.0))
    layouts = [expected, *([expected.transpose(0, 2, 3, 1)] if expected.ndim == 4 else [])]
    return any(
        result.shape == layout.shape and np.allclose(result, layout, rtol=0, atol=limit, equal_nan=True)
        for layout in layouts
    )
