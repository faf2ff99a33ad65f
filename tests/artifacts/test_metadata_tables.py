"""Tables come back from the FlatBuffer as they were, and MediaPipe's own classes read and write the same."""

from __future__ import annotations

from typing import Any

import flatbuffers
import pytest

from mobilekit.artifacts.metadata_tables import (
    AssociatedFile,
    BoundingBoxProperties,
    ColorSpace,
    Content,
    FeatureProperties,
    FileType,
    ImageProperties,
    ImageSize,
    ModelMetadata,
    NormalizationOptions,
    ProcessUnit,
    ScoreThresholdingOptions,
    Stats,
    SubGraphMetadata,
    TensorGroup,
    TensorMetadata,
    ValueRange,
    from_flatbuffer,
    to_flatbuffer,
)

INPUT = TensorMetadata(
    "picture",
    "as the camera gives it",
    content=Content(ImageProperties(ColorSpace.RGB, ImageSize(width=64, height=48))),
    process_units=(ProcessUnit(NormalizationOptions((1.5, 2.0, 0.0), (0.5, 4.0, 8.0))),),
    stats=Stats(max=(2.0,), min=(-1.0,)),
)
OUTPUT = TensorMetadata(
    "scores",
    dimension_names=("batch", "class"),
    content=Content(FeatureProperties(), ValueRange(1, -2)),
    process_units=(ProcessUnit(ScoreThresholdingOptions(0.25)),),
    associated_files=(AssociatedFile("labels.txt", "in English", FileType.TENSOR_AXIS_LABELS, "en", "2"),),
)
BOXES = TensorMetadata("boxes", content=Content(BoundingBoxProperties((1, 0, 3, 2), 1, 0)))
WHOLE = ModelMetadata(
    "net",
    "what it does",
    "3",
    (SubGraphMetadata("main", "", (INPUT,), (OUTPUT, BOXES), output_tensor_groups=(TensorGroup("all", ("boxes",)),)),),
    "who",
    "Apache-2.0",
    (AssociatedFile("README"),),
    "1.4.1",
)


def test_all_comes_back() -> None:
    content = to_flatbuffer(WHOLE)
    assert from_flatbuffer(content) == WHOLE
    assert to_flatbuffer(WHOLE) == content
    assert from_flatbuffer(to_flatbuffer(ModelMetadata())) == ModelMetadata()


@pytest.mark.parametrize("content", [b"", b"1234M002" + bytes(20), b"\xff\xff\xff\x7fM001", to_flatbuffer(WHOLE)[:90]])
def test_what_is_damaged_is_told(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged|identifier"):
        from_flatbuffer(content)


def test_every_damaged_byte_is_read_or_told() -> None:
    whole, told, read = to_flatbuffer(WHOLE), set(), []
    for place in range(len(whole)):
        try:
            read.append(from_flatbuffer(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]))
        except ValueError as error:
            told.add(place)
            assert str(error) in ("it is damaged", "it has another identifier than M001")
    assert told >= {4, 5, 6, 7}, "the identifier"
    assert all(isinstance(each, ModelMetadata) for each in read)
    assert any(each != WHOLE for each in read), "some bytes are values"


@pytest.fixture
def theirs() -> Any:
    pytest.importorskip("mediapipe")
    from mediapipe.tasks.metadata import metadata_schema_py_generated

    return metadata_schema_py_generated


def test_mediapipe_reads_what_is_written(theirs: Any) -> None:
    root = theirs.ModelMetadata.GetRootAs(to_flatbuffer(WHOLE))
    graph = root.SubgraphMetadata(0)
    taken, given = graph.InputTensorMetadata(0), graph.OutputTensorMetadata(0)
    assert (root.Name(), root.MinParserVersion(), graph.Name()) == (b"net", b"1.4.1", b"main")
    properties = theirs.ImagePropertiesT.InitFromBuf(*_member(taken.Content().ContentProperties()))
    assert taken.Content().ContentPropertiesType() == theirs.ContentProperties.ImageProperties
    assert (properties.colorSpace, properties.defaultSize.width, properties.defaultSize.height) == (1, 64, 48)
    unit = taken.ProcessUnits(0)
    assert unit.OptionsType() == theirs.ProcessUnitOptions.NormalizationOptions
    normal = theirs.NormalizationOptionsT.InitFromBuf(*_member(unit.Options()))
    assert (list(normal.mean), list(normal.std)) == ([1.5, 2, 0], [0.5, 4, 8])
    file = given.AssociatedFiles(0)
    assert (file.Name(), file.Type()) == (b"labels.txt", theirs.AssociatedFileType.TENSOR_AXIS_LABELS)
    assert [given.DimensionNames(place) for place in range(2)] == [b"batch", b"class"]


def _member(table: Any) -> tuple[bytes, int]:
    return bytes(table.Bytes), table.Pos


def test_what_mediapipe_writes_is_read(theirs: Any) -> None:
    built = theirs.ModelMetadataT.InitFromObj(theirs.ModelMetadata.GetRootAs(to_flatbuffer(WHOLE)))
    builder = flatbuffers.Builder()
    builder.Finish(built.Pack(builder), b"M001")
    assert from_flatbuffer(bytes(builder.Output())) == WHOLE


def test_members_for_texts_are_left_out(theirs: Any) -> None:
    unit = theirs.ProcessUnitT()
    unit.optionsType, unit.options = theirs.ProcessUnitOptions.BertTokenizerOptions, theirs.BertTokenizerOptionsT()
    graph, model = theirs.SubGraphMetadataT(), theirs.ModelMetadataT()
    graph.inputProcessUnits, model.subgraphMetadata = [unit], [graph]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"M001")
    (read,) = from_flatbuffer(bytes(builder.Output())).subgraph_metadata
    assert read.input_process_units == (ProcessUnit(None),)
