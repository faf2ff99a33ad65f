"""What is in an artifact, on the terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mobilekit.artifacts.delegate import Delegation, UndelegatedOp
from mobilekit.artifacts.inspect import Inspection, Tensor, TFLiteTensor
from mobilekit.artifacts.metadata import Metadata
from mobilekit.artifacts.metadata_tables import (
    AssociatedFile,
    ColorSpace,
    Content,
    FileType,
    ImageProperties,
    ImageSize,
    ModelMetadata,
    NormalizationOptions,
    ProcessUnit,
    SubGraphMetadata,
    TensorMetadata,
)
from mobilekit.cli.render.inspect import inspect_lines
from tests.snapshots import check_snapshot

LEFT = tuple(UndelegatedOp("HARD_SWISH", f"act.{n}", "XNNPACK takes it in float only") for n in range(3))
INT8 = Inspection(
    "tflite",
    {"CONV_2D": 12, "HARD_SWISH": 3, "GATHER": 1},
    Delegation("XNNPACK", 4, 12, 16, (*LEFT, UndelegatedOp("GATHER", "g", "it has no kernel"))),
    (TFLiteTensor("input", (1, 224, 224, 3), "int8", "NHWC", 0.0186, -14),),
    (TFLiteTensor("logits[:heart:]", (1, 10), "float32", None, None, None),),
    1_234_567,
)
SAID = ModelMetadata(
    subgraph_metadata=(
        SubGraphMetadata(
            input_tensor_metadata=(
                TensorMetadata(
                    "picture",
                    content=Content(ImageProperties(ColorSpace.RGB, ImageSize(64, 48))),
                    process_units=(ProcessUnit(NormalizationOptions((123.675, 116.28, 103.53), (58.0, 57.0, 57.0))),),
                ),
            ),
            output_tensor_metadata=(
                TensorMetadata("scores", associated_files=(AssociatedFile("l.txt", type=FileType.TENSOR_AXIS_LABELS),)),
                TensorMetadata("boxes"),
            ),
        ),
    )
)
DESCRIBED = Inspection(
    "tflite",
    {"ADD": 1},
    None,
    (TFLiteTensor("picture", (1, 48, 64, 3), "float32", "NHWC", None, None),),
    (TFLiteTensor("scores", (1, 6), "float32", None, None, None),),
    999,
    Metadata(SAID, ("l.txt",), tuple("[b]cde")),
)
BROKEN = replace(DESCRIBED, metadata=Metadata(fault="it is damaged"))
NOTHING = Inspection("tflite", {"GATHER": 1}, Delegation(None, 0, 0, 1, ()), (), (), 999)
X, Y = Tensor("x", ("N", 3, 8, 8), "float32", "NCHW"), Tensor("y", (None, 4), "float32", None)
ONNX = Inspection("onnx", {"Conv": 2}, None, (X,), (Y,), 99_000)
ALL = (INT8, NOTHING, DESCRIBED, BROKEN, ONNX)


def test_snapshot() -> None:
    lines = [line for one in ALL for line in (*inspect_lines(Path(f"a.{one.format}"), one), "")]
    check_snapshot("inspect.txt", "\n".join(lines))
