"""An ONNX graph as a Keras model, by onnx2tf."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import wraps
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.onnx import open_session
from mobilekit.artifacts.runtime import is_label
from mobilekit.convert.axes_by_value import AxesByValue, error_of, in_order, run
from mobilekit.convert.byte_inputs import draw_inputs
from mobilekit.errors import ToolError

Shapes = dict[str, list[int]]
Order = tuple[int, ...] | None

# onnx2tf looks for this file in its working directory before it downloads one, for every 4-D input of 3 channels.
SAMPLE_FILE = "calibration_image_sample_data_20x128x128x3_float32.npy"
_TOLERANCE = 1e-3
"""Share of an output's largest value, by which a model may differ from its ONNX file. Rounding makes about 1e-6 of it
and a wrong order of axes about 1; the ledger judges what lies between."""
ROUNDING = 1e-5
"""The same, of a model with which nothing is tried again: a wrong order in a branch of small weights is below 1e-3."""
_GAIN = 10
"""How much nearer a model made another way has to be: two right ones differ by their rounding."""


@dataclass(frozen=True)
class KerasModel:
    """A model that onnx2tf has made, and how right it is."""

    model: Any
    """Its inputs of four axes are NHWC, others as they are in ONNX."""
    errors: list[tuple[float, float]]
    """Of each output as it is in ONNX, and with its channels last: the error, as a share of the largest value."""
    orders: list[Order]
    """Of each output, the order of its axes in which it is as in ONNX. None where it is so already, and of maps of four
    axes, which stay NHWC."""

    @property
    def error(self) -> float:
        """The largest error of an output, in the order in which it is right."""
        return max(map(min, self.errors), default=0.0)


def keras_model(onnx_path: Path, inputs: Shapes, pixels: Collection[str] = ()) -> KerasModel:
    """Return the model in Keras.

    It is compared with ONNX Runtime on random inputs. Where it is wrong or cannot be made it is made again, with the
    order of each tensor's axes told by its values, and then in onnx2tf's strict mode, which tries orders of axes op by
    op and takes most of its time.

    Args:
        onnx_path: The file, which onnx2tf may rewrite.
        inputs: The graph's inputs.
        pixels: Names of those that hold 0 to 255.

    Raises:
        ToolError: onnx2tf makes another function of an op, whatever it is told.
    """
    np.save(SAMPLE_FILE, np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32))
    _compare_products_by_share()
    _resize_by_coordinates()
    content = onnx_path.read_bytes()
    arrays = draw_inputs(inputs, pixels)
    ways = _Ways(onnx_path, inputs, content, arrays)
    best: KerasModel | None = None
    failure: BaseException | None = None
    for way, limit in ((ways.loosely, ROUNDING), (ways.by_value, _TOLERANCE), (ways.strictly, _TOLERANCE)):
        onnx_path.write_bytes(content)
        try:
            model = way()
            made = _compared(model, arrays, content)
        except (Exception, SystemExit) as raised:  # onnx2tf leaves through sys.exit, too
            failure = raised
            continue
        if best is None or made.error * _GAIN < best.error:
            best = made
        if best.error <= limit:
            return best
    if best is None:
        assert failure is not None
        raise failure
    if ways.wrong:
        raise ToolError(f"it makes another function of {ways.wrong[0]}, in every order of axes that was tried.")
    return best


class _Ways:
    """The ways to have a model made by onnx2tf."""

    def __init__(self, path: Path, inputs: Shapes, content: bytes, arrays: dict[str, NDArray[np.float32]]) -> None:
        self.path, self.inputs, self.content, self.arrays = path, inputs, content, arrays
        self.wrong: list[str] = []
        """Ops of which another function was made, where orders were told by values."""

    def loosely(self) -> Any:
        """Make it as fast as can be."""
        return _convert(self.path, self.inputs, is_strict=False)

    def by_value(self) -> Any:
        """Make it with orders of axes that are told."""
        guide = AxesByValue(self.content, self.arrays)
        with guide.guiding():
            model = _convert(self.path, self.inputs, is_strict=False)
        self.wrong = guide.wrong
        return model

    def strictly(self) -> Any:
        """Make it in the strict mode."""
        return _convert(self.path, self.inputs, is_strict=True)


def _compare_products_by_share() -> None:
    """Let onnx2tf take a product of matrices as it stands where it is right but for rounding.

    It does so up to an absolute difference of 1e-3 alone. Where values are large, as in linear attention, rounding
    exceeds that with some weights and not with others, and another order of axes that rounds a little less is taken:
    with two transpositions, of which some of EfficientViT-B1's attentions had one before and one after.
    """
    from onnx2tf.ops import MatMul

    compare = MatMul.onnx_tf_tensor_validation
    if hasattr(compare, "__wrapped__"):  # by an earlier conversion of this process
        return

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
    if hasattr(make_node, "by_coordinates"):  # by an earlier conversion of this process
        return

    @wraps(make_node)
    def by_coordinates(*, graph_node: Any, opset: int, **arguments: Any) -> Any:
        known = opset if graph_node.attrs.get("antialias") else min(opset, 17)
        return make_node(graph_node=graph_node, opset=known, **arguments)

    by_coordinates.by_coordinates = True  # type: ignore[attr-defined]
    Resize.make_node = by_coordinates


def _convert(onnx_path: Path, inputs: Shapes, is_strict: bool) -> Any:
    import onnx2tf

    # From version 2 on it writes files itself, without TensorFlow, where it is not told to make a model.
    back_end = {"tflite_backend": "tf_converter"} if int(version("onnx2tf").partition(".")[0]) >= 2 else {}
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
        **back_end,
    )


def _compared(model: Any, arrays: dict[str, NDArray[np.float32]], content: bytes) -> KerasModel:
    """Return a model with the errors of its outputs, of as many as the ONNX file has."""
    pairs = list(zip(run(model, arrays), open_session(content).run(None, arrays), strict=True))
    orders = [_order(made, expected) for made, expected in pairs]
    moved = [
        (made if order is None else made.transpose(order), made, expected)
        for (made, expected), order in zip(pairs, orders, strict=True)
    ]
    errors = [
        (output_error(made, expected), output_error(as_is, in_order(expected, True))) for made, as_is, expected in moved
    ]
    return KerasModel(model, errors, orders)


def _order(made: NDArray[Any], expected: NDArray[Any]) -> Order:
    """Return the order of axes in which an output is as expected; None where it is so, or is a map of four axes."""
    if made.ndim == 4 or made.ndim != expected.ndim or output_error(made, expected) <= _TOLERANCE:
        return None
    orders = permutations(range(made.ndim))
    return next((order for order in orders if output_error(made.transpose(order), expected) <= _TOLERANCE), None)


def output_error(made: NDArray[Any], expected: NDArray[Any]) -> float:
    """Return the error of an output; of labels the share that differs, as one next to a border may go either way."""
    if not is_label(expected) or made.shape != expected.shape:
        return error_of(made, expected)
    share = float((made != expected).mean())
    return share if share > _TOLERANCE else 0.0
