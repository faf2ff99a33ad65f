"""Why MediaPipe Tasks refuses a file; tests/convert/test_model_metadata.py asks MediaPipe itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mobilekit.artifacts.analysis.mediapipe import tasks_for, why_no_detector, why_refused
from mobilekit.artifacts.inspect import Inspection, TFLiteTensor
from mobilekit.artifacts.metadata import Metadata
from mobilekit.artifacts.metadata_tables import (
    BoundingBoxProperties,
    ColorSpace,
    Content,
    ImageProperties,
    ModelMetadata,
    NormalizationOptions,
    ProcessUnit,
    SubGraphMetadata,
    TensorMetadata,
)


def tensor(dtype: str, *shape: int) -> TFLiteTensor:
    return TFLiteTensor("t", shape, dtype, None, None, None)


def found(
    taken: str = "float32",
    shape: tuple[int, ...] = (1, 8, 8, 3),
    given: str = "float32",
    mean: tuple[float, ...] = (127.5,),
    color: ColorSpace = ColorSpace.RGB,
    **changes: Any,
) -> Inspection:
    units = (ProcessUnit(NormalizationOptions(mean, (127.5,) * len(mean))),) if mean else ()
    graph = SubGraphMetadata(
        input_tensor_metadata=(TensorMetadata(content=Content(ImageProperties(color)), process_units=units),)
    )
    said = Metadata(ModelMetadata(subgraph_metadata=(graph,)))
    parts = {"inputs": (tensor(taken, *shape),), "outputs": (tensor(given, 1, 4),), **changes}
    return Inspection("tflite", {}, None, size_bytes=1, metadata=said, **parts)


@pytest.mark.parametrize("taken", [{}, {"taken": "uint8", "mean": ()}, {"given": "uint8"}, {"mean": (1.0, 1.0, 1.0)}])
def test_nothing_speaks_against_it(taken: dict[str, Any]) -> None:
    assert why_refused(found(**taken)) is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"taken": "int8"}, "no int8: export with --input-dtype uint8 and with `int8: {io: float32}`"),
        ({"given": "int8"}, "no int8: export with `int8: {io: float32}`, or uint8, in the recipe"),
        ({"mean": (1.0, 2.0, 3.0)}, "one mean and std for all channels"),
        ({"mean": ()}, "this has none"),
        ({"metadata": None}, "this has none"),
        ({"color": ColorSpace.UNKNOWN}, "RGB alone"),
        ({"shape": (1, 8, 8, 1)}, "one picture of three channels"),
        ({"shape": (2, 8, 8, 3)}, "one picture of three channels"),
        ({"shape": (1, 3)}, "one picture of three channels"),
        ({"inputs": ()}, "one picture, and nothing else"),
    ],
)
def test_reasons(changes: dict[str, Any], reason: str) -> None:
    metadata = {"metadata": changes.pop("metadata")} if "metadata" in changes else {}
    said = why_refused(replace(found(**changes), **metadata))
    assert said is not None
    assert reason in said


@pytest.mark.parametrize(
    ("shapes", "tasks"),
    [
        ([(1, 4)], ("ImageClassifier", "ImageEmbedder")),
        ([(1, 4), (1, 7)], ("ImageClassifier", "ImageEmbedder")),
        ([(1, 1, 1, 4)], ("ImageClassifier", "ImageEmbedder")),
        ([(1, 6, 6, 4)], ("ImageSegmenter", "ImageEmbedder")),
        ([(1, 6, 6, 4), (1, 4)], ("ImageEmbedder",)),
        ([(1, 9, 4), (1, 9, 2)], ("ImageEmbedder",)),
    ],
)
def test_tasks_by_what_comes_out(shapes: list[tuple[int, ...]], tasks: tuple[str, ...]) -> None:
    assert tasks_for(found(outputs=tuple(tensor("float32", *shape) for shape in shapes))) == tasks


def test_a_detector_has_boxes_in_its_metadata() -> None:
    shapes = [(1, 9, 4), (1, 9), (1, 9), (1,)]
    plain = found(outputs=tuple(tensor("float32", *shape) for shape in shapes))
    assert "as `output: {detections: xyxy}` of a recipe says" in (why_no_detector(plain) or "")
    assert plain.metadata
    (graph,) = plain.metadata.model.subgraph_metadata
    boxes = (TensorMetadata(content=Content(BoundingBoxProperties())),)
    said = Metadata(ModelMetadata(subgraph_metadata=(replace(graph, output_tensor_metadata=boxes),)))
    told = replace(plain, metadata=said)
    assert (tasks_for(told), why_no_detector(told)) == (("ObjectDetector",), None)
    assert why_no_detector(found()) is None
