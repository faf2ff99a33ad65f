"""What is in an .mlpackage, read by coremltools' descriptions of the format alone."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from mobilekit.artifacts.coreml.environment import PACKAGE, versions
from mobilekit.artifacts.runtime import TensorInfo
from mobilekit.errors import ToolError

SUFFIX = ".mlpackage"
MANIFEST = "Manifest.json"
MODEL = "Data/com.apple.CoreML/model.mlmodel"
FACTS = "mobilekit"
"""The key of the metadata under which a package of ours says of itself what a program for ExecuTorch does."""
_TARGETS = {6: "iOS15", 7: "iOS16", 8: "iOS17", 9: "iOS18", 10: "iOS26"}
"""The oldest system that reads a version of the format: https://apple.github.io/coremltools/mlmodel/Format/Model.html"""
_DTYPES = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32"}
_PROTO = "mobilekit_coreml_proto"


@dataclass(frozen=True)
class Step:
    """One operation."""

    op: str
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True)
class MLPackage:
    """A package's program."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    steps: tuple[Step, ...]
    """In the order in which they stand; no constants."""
    target: str
    """The oldest system that runs it, such as `iOS15`."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a package of ours says of itself; nothing in others."""

    @property
    def ops(self) -> dict[str, int]:
        """How many of each kind there are, the most frequent first."""
        return dict(Counter(step.op for step in self.steps).most_common())


def read_package(path: Path) -> MLPackage:
    """Read an .mlpackage.

    Raises:
        ToolError: It is not whole, or holds no ML program; or coremltools is not installed.
    """
    spec = read_spec(path)
    if not spec.HasField("mlProgram"):
        raise ToolError(f"{path} holds no ML program, but a {spec.WhichOneof('Type')}.")
    try:
        facts = json.loads(spec.description.metadata.userDefined.get(FACTS, "{}"))
        listed = json.loads((path / MANIFEST).read_text())["itemInfoEntries"].values()
        files = {*(f"Data/{item['path']}" for item in listed), *_files_of_weights(spec)}
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise _damaged(path) from error
    if missing := sorted(file for file in files if not (path / file).exists()):
        raise _damaged(path, f": it has no {missing[0]}")
    return MLPackage(
        tuple(map(_end, spec.description.input)),
        tuple(map(_end, spec.description.output)),
        tuple(Step(each.type, tuple(map(_made, each.outputs))) for each in operations(spec) if each.type != "const"),
        _TARGETS.get(spec.specificationVersion, f"of a later version, {spec.specificationVersion}"),
        facts,
    )


def read_spec(path: Path) -> Any:
    """Return a package's model, as coremltools describes it.

    Raises:
        ToolError: It is not whole, or coremltools is not installed.
    """
    from google.protobuf.message import DecodeError

    spec = _descriptions().Model()
    try:
        spec.ParseFromString((path / MODEL).read_bytes())
    except (OSError, DecodeError) as error:
        raise _damaged(path) from error
    return spec


def _damaged(path: Path, how: str = "") -> ToolError:
    return ToolError(f"{path} is not a whole Core ML package{how}.", "If it was changed, export it again.")


def _files_of_weights(spec: Any) -> Iterator[str]:
    """Yield the files that constants are in, from the package's folder on."""
    for operation in operations(spec):
        for value in operation.attributes.values():
            if value.HasField("blobFileValue"):
                inside = value.blobFileValue.fileName.removeprefix("@model_path/")
                yield f"{Path(MODEL).parent.as_posix()}/{inside}"


def operations(spec: Any) -> Iterator[Any]:
    """Yield the operations of a model's program."""
    for block in spec.mlProgram.functions["main"].block_specializations.values():
        yield from block.operations


def _end(feature: Any) -> TensorInfo:
    kind = feature.type.multiArrayType
    is_array = feature.type.HasField("multiArrayType")
    dtype = _DTYPES.get(kind.dataType, "other") if is_array else str(feature.type.WhichOneof("Type"))
    return TensorInfo(feature.name, tuple(kind.shape), dtype)


def _made(value: Any) -> TensorInfo:
    kind = value.type.tensorType
    sizes = (each.constant.size if each.HasField("constant") else None for each in kind.dimensions)
    dtype = kind.DESCRIPTOR.fields_by_name["dataType"].enum_type.values_by_number[kind.dataType].name
    return TensorInfo(value.name, tuple(sizes), dtype.lower())


@cache
def _descriptions() -> Any:
    """Return the messages of the format: a part of coremltools that is imported without the rest, which takes seconds.

    Raises:
        ToolError: coremltools is not installed.
    """
    versions()
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None
    assert found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0], "proto")
    spec = importlib.util.spec_from_file_location(
        _PROTO, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PROTO] = module
    spec.loader.exec_module(module)
    return module.Model_pb2
