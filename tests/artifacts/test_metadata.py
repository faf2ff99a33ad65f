"""Metadata stands in a file beside what was there, of which no byte moves by itself."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from mobilekit.artifacts.metadata import NAME, Metadata, metadata_in, with_metadata
from mobilekit.artifacts.metadata_tables import (
    AssociatedFile,
    FileType,
    ModelMetadata,
    SubGraphMetadata,
    TensorMetadata,
)
from mobilekit.artifacts.tflite import pack, schema, unpack
from mobilekit.artifacts.tflite_check import damage_in
from tests.conftest import ROOT
from tests.tflite_by_hand import make_tflite

LABELED = TensorMetadata("y", associated_files=(AssociatedFile("labels.txt", type=FileType.TENSOR_AXIS_LABELS),))
SAID = ModelMetadata(subgraph_metadata=(SubGraphMetadata(output_tensor_metadata=(LABELED,)),))
FILES = {"labels.txt": "tench\nSägefisch\n".encode()}
SMALL = (ROOT / "tests/data/lab_session/small.tflite").read_bytes()
INT8 = (ROOT / "tests/data/written_by_0_1/bundle/model.int8.tflite").read_bytes()
BARE = make_tflite([("ADD", ("x", "x"), "y")], (1, 3), ["y"])
"""It has no list of metadata, and no length that is a multiple of 16."""

each_file = pytest.mark.parametrize("content", [SMALL, INT8, BARE], ids=["small", "int8", "bare"])


@each_file
def test_what_was_there_stays(content: bytes) -> None:
    described = with_metadata(content, SAID, FILES)
    assert damage_in(described) is None
    before, after = unpack(content), unpack(described)
    names = [entry.name for entry in before.metadata or []]
    assert [entry.name for entry in after.metadata] == [*names, NAME.encode()]
    after.metadata, after.buffers = before.metadata, after.buffers[:-1]
    assert pack(after) == pack(before)
    assert described.count(content) == 1


@each_file
def test_constants_stay_as_they_were_aligned(content: bytes) -> None:
    def places(file: bytes) -> list[int]:
        model = schema().Model.GetRootAs(file)
        buffers = [model.Buffers(number) for number in range(model.BuffersLength())]
        return [each._tab.Vector(each._tab.Offset(4)) % 16 for each in buffers if each.DataLength()]

    assert places(with_metadata(content, SAID, FILES)) == [*places(content), 0]


@each_file
def test_it_is_read_again(content: bytes) -> None:
    described = with_metadata(content, SAID, FILES)
    assert metadata_in(described) == Metadata(SAID, ("labels.txt",), ("tench", "Sägefisch"))
    assert metadata_in(content) is None
    assert with_metadata(content, SAID, FILES) == described
    with zipfile.ZipFile(io.BytesIO(described)) as archive:
        (held,) = archive.infolist()
        assert (held.compress_type, held.date_time[0]) == (zipfile.ZIP_STORED, 1980)
        assert archive.testzip() is None


def test_metadata_that_is_there_is_not_doubled() -> None:
    described = with_metadata(BARE, SAID, FILES)
    assert with_metadata(described, ModelMetadata("another"), {}) == described


def test_the_file_computes_the_same() -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=with_metadata(BARE, SAID, FILES))
    interpreter.allocate_tensors()
    given = np.float32([[1, 2, 3]])
    np.testing.assert_array_equal(interpreter.get_signature_runner()(x=given)["y"], 2 * given)


def test_what_another_tool_wrote_wrong_is_told() -> None:
    described = with_metadata(BARE, SAID, {})
    broken = described.replace(b"M001", b"M009")
    assert metadata_in(broken) == Metadata(fault="it has another identifier than M001")
    assert metadata_in(described) == Metadata(SAID, (), ())
    assert metadata_in(described + b"no archive") == Metadata(SAID, (), ())
