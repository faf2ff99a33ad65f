"""What files say of themselves is what the recipe says, and MediaPipe Tasks goes by it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.artifacts.analysis.mediapipe import tasks_for, why_refused
from mobilekit.artifacts.inspect import input_entry, inspect
from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.metadata import metadata_in
from mobilekit.artifacts.metadata_tables import ColorSpace, ImageProperties, NormalizationOptions, TensorMetadata
from mobilekit.artifacts.onnx import read_onnx
from mobilekit.artifacts.tflite import pack, unpack
from mobilekit.convert.byte_inputs import give_onnx_bytes
from mobilekit.convert.model_metadata import described
from mobilekit.convert.onnx import write_onnx
from mobilekit.convert.tflite import write_tflite
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.stages import DEFAULT_PRECISIONS
from tests.tflite_by_hand import make_tflite
from tests.tiny import make_tiny

LABELS = ["tench", "goldfish", "great  white\nshark", "ray"]
ROUNDING = {"float32": 2e-6, "float16": 2e-6, "dynamic": 2 / 127, "int8": 2 / 127}
"""Of the largest score: what is rounded the other way before 8 bits moves an output by a step, or two."""
HALF = {"size": 24, "mean": [0.5] * 3, "std": [0.25] * 3}


def recipe_of(picture: dict[str, Any], **parts: Any) -> Recipe:
    return Recipe.model_validate({"input": picture, **parts})


def said_of(picture: dict[str, Any], **parts: Any) -> tuple[TensorMetadata, TensorMetadata, tuple[str, ...]]:
    """What a file of this input says of it and of its output of four values, and the labels."""
    model = unpack(make_tflite([("ADD", ("x", "x"), "y")], (1, 4), ["y"]))
    model.signatureDefs[0].inputs[0].name = b"input"
    metadata = metadata_in(described(pack(model), recipe_of(picture, **parts)))
    assert metadata is not None
    (graph,) = metadata.model.subgraph_metadata
    return graph.input_tensor_metadata[0], graph.output_tensor_metadata[0], metadata.labels


def normalization(tensor: TensorMetadata) -> tuple[list[float], list[float]] | None:
    if not tensor.process_units:
        return None
    (unit,) = tensor.process_units
    assert isinstance(unit.options, NormalizationOptions)
    return [round(each, 3) for each in unit.options.mean], [round(each, 3) for each in unit.options.std]


def color(tensor: TensorMetadata) -> int | None:
    what = tensor.content and tensor.content.content_properties
    return what.color_space if isinstance(what, ImageProperties) else None


@pytest.mark.parametrize(
    ("picture", "space", "normal"),
    [
        ({}, ColorSpace.RGB, ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])),
        (HALF, ColorSpace.RGB, ([127.5], [63.75])),
        ({"dtype": "uint8"}, ColorSpace.RGB, ([0], [1])),
        ({"color": "gray", "mean": [0.2], "std": [0.4]}, ColorSpace.GRAYSCALE, ([51], [102])),
        ({"color": "bgr"}, ColorSpace.UNKNOWN, None),
        ({"channels": 6}, None, None),
    ],
)
def test_the_input_is_said_as_the_recipe_has_it(picture: dict[str, Any], space: int | None, normal: Any) -> None:
    taken, _, _ = said_of(picture)
    assert (color(taken), normalization(taken)) == (space, normal)
    assert json.loads(taken.description) == input_entry(recipe_of(picture).input)


def test_sizes_are_width_and_height() -> None:
    taken, _, _ = said_of({"size": [48, 96]})
    assert taken.content and isinstance(taken.content.content_properties, ImageProperties)
    size = taken.content.content_properties.default_size
    assert size and (size.height, size.width) == (48, 96)


def test_labels_are_those_of_the_output_with_as_many_values() -> None:
    _, given, labels = said_of(HALF, labels=LABELS)
    assert labels == ("tench", "goldfish", "great white shark", "ray")
    assert [file.name for file in given.associated_files] == ["labels.txt"]
    for others in ([], LABELS[:3]):
        _, given, labels = said_of(HALF, labels=others)
        assert (given.associated_files, labels) == ((), ())


def convert(
    folder: Path, *, takes_bytes: bool, io: str, labels: Sequence[str] = LABELS
) -> tuple[Recipe, dict[str, Path]]:
    """Return the files of all precisions of a small net."""
    torch.manual_seed(0)
    model, picture = make_tiny().eval(), {**HALF, "dtype": "uint8" if takes_bytes else "float32"}
    with torch.no_grad():
        model.head.weight *= 8
    recipe = recipe_of(picture, labels=labels, int8={"io": io})
    onnx = folder / "net.onnx"
    write_onnx(trace(model, {"input": torch.zeros(recipe.input.shape)}), recipe.file_shapes, onnx)
    give_onnx_bytes(onnx, recipe.pixels)
    (folder / "scratch").mkdir()
    draw = np.random.default_rng(0).integers(0, 256, (8, 3, 24, 24)).astype(np.float32)
    calibration = {"input": draw if takes_bytes else (draw - 127.5) / np.float32(63.75)}
    files = {precision: folder / f"{precision}.tflite" for precision in DEFAULT_PRECISIONS}
    assert not write_tflite(onnx, files, calibration, folder / "scratch", recipe.int8).failed
    for path in files.values():
        path.write_bytes(described(path.read_bytes(), recipe))
    return recipe, files


@pytest.mark.slow
@pytest.mark.parametrize(("takes_bytes", "io"), [(False, "float32"), (True, "float32"), (True, "uint8")])
def test_mediapipe_classifies_as_litert_does(tmp_path: Path, takes_bytes: bool, io: str) -> None:
    """A picture of the model's size passes MediaPipe untouched, and is normalized with other roundings than here."""
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    _, files = convert(tmp_path, takes_bytes=takes_bytes, io=io)
    draw = np.random.default_rng(1)
    for precision, path in files.items():
        assert why_refused(inspect(path)) is None
        options = vision.ImageClassifierOptions(base_options=BaseOptions(model_asset_path=str(path)))
        with vision.ImageClassifier.create_from_options(options) as classifier:
            for _ in range(4):
                pixels = draw.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
                found = classifier.classify(image).classifications[0].categories
                names = {each.index: each.category_name for each in found}
                assert names == {0: "tench", 1: "goldfish", 2: "great white shark", 3: "ray"}
                given = pixels.transpose(2, 0, 1)[None].astype(np.float32)
                given = given if takes_bytes else (given - 127.5) / np.float32(63.75)
                (expected,) = LiteRTRuntime(path).run({"input": given}).values()
                scores = [each.score for each in sorted(found, key=lambda each: each.index)]
                error = 0 if takes_bytes else ROUNDING[precision] * np.abs(expected).max()
                np.testing.assert_allclose(scores, expected[0], rtol=0, atol=error)


@pytest.mark.slow
def test_mediapipe_embeds_what_a_file_without_labels_gives(tmp_path: Path) -> None:
    mediapipe = pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    _, files = convert(tmp_path, takes_bytes=True, io="uint8", labels=[])
    for path in files.values():
        metadata = metadata_in(path.read_bytes())
        assert metadata is not None and metadata.files == ()
        options = vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_path=str(path)))
        with vision.ImageEmbedder.create_from_options(options) as embedder:
            pixels = np.random.default_rng(2).integers(0, 256, (24, 24, 3), dtype=np.uint8)
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
            found = embedder.embed(image).embeddings[0].embedding
            given = pixels.transpose(2, 0, 1)[None].astype(np.float32)
            (expected,) = LiteRTRuntime(path).run({"input": given}).values()
            np.testing.assert_array_equal(np.float32(found), expected[0])


def convert_float(folder: Path, model: nn.Module, **parts: Any) -> Path:
    """Return the float32 file of a net that takes the bytes of a picture of 24 pixels."""
    recipe, onnx, made = recipe_of({**HALF, "dtype": "uint8"}, **parts), folder / "net.onnx", folder / "net.tflite"
    write_onnx(trace(model.eval(), {"input": torch.zeros(recipe.input.shape)}), recipe.file_shapes, onnx)
    order = [each.name for each in read_onnx(onnx).graph.output]
    give_onnx_bytes(onnx, recipe.pixels)
    (folder / "scratch").mkdir()
    layouts = write_tflite(onnx, {"float32": made}, None, folder / "scratch", recipe.int8).layouts
    made.write_bytes(described(made.read_bytes(), recipe, layouts, order))
    return made


def a_picture(seed: int) -> tuple[NDArray[np.uint8], Any]:
    import mediapipe

    pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return pixels, mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)


def ours(path: Path, pixels: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
    return dict(LiteRTRuntime(path).run({"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)}))


class Maps(nn.Module):
    """A map of scores for each of four classes, in the picture's size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image).softmax(1)


@pytest.mark.slow
def test_mediapipe_segments_as_litert_does(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    path = convert_float(tmp_path, Maps(), labels=LABELS)
    assert tasks_for(inspect(path))[0] == "ImageSegmenter"
    base = BaseOptions(model_asset_path=str(path))
    options = vision.ImageSegmenterOptions(base_options=base, output_category_mask=True, output_confidence_masks=True)
    pixels, image = a_picture(3)
    with vision.ImageSegmenter.create_from_options(options) as segmenter:
        assert segmenter.labels == ["tench", "goldfish", "great white shark", "ray"]
        found = segmenter.segment(image)
        masks = np.stack([each.numpy_view()[..., 0] for each in found.confidence_masks])
        classes = found.category_mask.numpy_view()[..., 0]
    (expected,) = ours(path, pixels)["output"]
    np.testing.assert_array_equal(masks.transpose(1, 2, 0), expected)
    np.testing.assert_array_equal(classes, expected.argmax(-1))


class Detector(nn.Module):
    """Four boxes, each a quarter of the picture, with a class and a score; outputs are not in the order of names."""

    def __init__(self, sides: Sequence[int], unit: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(3, 4, 12, stride=12)
        corners = torch.tensor([[0, 0, 0.5, 0.5], [0.5, 0, 1, 0.5], [0, 0.5, 0.5, 1], [0.5, 0.5, 1, 1]])
        self.register_buffer("boxes", unit * corners[None][..., sides])

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        scores = self.layer(image / 50).flatten(2).transpose(1, 2).softmax(-1)
        best = scores.amax(-1)
        boxes = self.boxes + 0 * best[..., None]
        return {"zone": boxes, "kind": scores.argmax(-1).float(), "how": best, "all": (best > 0).float().sum(1)}


@pytest.mark.slow
@pytest.mark.parametrize(("sides", "places"), [("xyxy", [0, 1, 2, 3]), ("yxyx", [1, 0, 3, 2])])
def test_mediapipe_detects_what_litert_gives(tmp_path: Path, sides: str, places: list[int]) -> None:
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.python import BaseOptions, vision

    path = convert_float(tmp_path, Detector(places), labels=LABELS, output={"detections": sides})
    assert tasks_for(inspect(path)) == ("ObjectDetector",)
    options = vision.ObjectDetectorOptions(base_options=BaseOptions(model_asset_path=str(path)))
    pixels, image = a_picture(4)
    with vision.ObjectDetector.create_from_options(options) as detector:
        found = detector.detect(image).detections
    given = ours(path, pixels)
    names = ["tench", "goldfish", "great white shark", "ray"]
    expected = {
        ((place % 2) * 12, (place // 2) * 12, 12, 12, names[int(kind)], float(how))
        for place, (kind, how) in enumerate(zip(given["kind"][0], given["how"][0], strict=True))
    }
    assert {
        (*vars(each.bounding_box).values(), each.categories[0].category_name, each.categories[0].score)
        for each in found
    } == expected
