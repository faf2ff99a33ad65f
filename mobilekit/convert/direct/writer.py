"""The float32 TFLite file of an ONNX file by onnx2tf's direct writer, which needs neither Keras nor TensorFlow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.convert.depthwise import with_depthwise
from mobilekit.convert.direct.constants import share_constants
from mobilekit.convert.direct.forms import with_known_forms
from mobilekit.convert.direct.lost import with_lost_tensors
from mobilekit.convert.direct.outputs import with_maps_as_they_are
from mobilekit.convert.direct.products import with_fully_connected
from mobilekit.convert.direct.roots import with_reciprocal_roots
from mobilekit.convert.direct.shapes import with_known_shapes
from mobilekit.convert.direct.transposes import with_fewer_transposes
from mobilekit.convert.direct.versions import set_versions
from mobilekit.convert.unread import drop_unread


def float32(onnx_path: Path) -> bytes:
    """Return the float32 file, which has a signature of the ONNX file's names.

    Inputs of four axes are NHWC, and outputs where they are maps; others are as in ONNX. What else it computes is for
    the caller to see.

    Args:
        onnx_path: The simplified file, which onnx2tf may rewrite.
    """
    import onnx
    import onnx2tf

    graph = onnx.load(onnx_path).graph
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.input}
    with tempfile.TemporaryDirectory() as folder:
        onnx2tf.convert(
            input_onnx_file_path=str(onnx_path),
            output_folder_path=folder,
            not_use_onnxsim=True,  # it is simplified
            output_signaturedefs=True,
            keep_ncw_or_nchw_or_ncdhw_input_names=[name for name, rank in ranks.items() if rank in (3, 5)] or None,
            # TFLite has no Erf; onnx2tf has a formula that is off by 1.5e-7 at most (Abramowitz and Stegun 7.1.26).
            replace_to_pseudo_operators=["erf"],
            non_verbose=True,
        )
        (made,) = Path(folder).glob("*_float32.tflite")
        content = made.read_bytes()
    return mended(content, graph)


def mended(content: bytes, onnx_graph: Any) -> bytes:
    """Return a file of the direct writer that computes the same, but for rounding, without what each pass mends.

    Args:
        content: The file.
        onnx_graph: The GraphProto that it was made of.
    """
    content = with_depthwise(with_known_shapes(with_lost_tensors(content, onnx_graph)))
    content = with_fewer_transposes(with_fully_connected(with_reciprocal_roots(content)))
    model = unpack(with_known_forms(with_maps_as_they_are(content)))
    share_constants(model)
    set_versions(model)
    drop_unread(model)
    return pack(model)
