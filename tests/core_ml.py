"""Nets made packages for Core ML by our own conversion alone, and the constants in them as coremltools reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.coreml.package import MODEL, MLPackage, operations, read_package, read_spec
from mobilekit.convert.coreml.convert import convert_package
from mobilekit.convert.coreml.forms import FORMS
from mobilekit.convert.coreml.lost import check_kept
from mobilekit.convert.program.program import output_names, program_of
from mobilekit.rewrites.fx.graph import trace

Numbers = NDArray[Any]
_MAGIC = 0xDEADBEEF
_ITEMS = {1: np.float16, 2: np.float32}
"""Formats of what lies in weight.bin: coremltools' mlmodel/src/MILBlob/Blob/BlobDataType.hpp."""
_BITS = {10: np.float16, 11: np.float32}


def converted(model: nn.Module, shape: tuple[int, ...], folder: Path, target: str = "iOS15") -> MLPackage:
    """Return a net of one input as a package, `net.mlpackage` in a folder."""
    graph = trace(model.eval(), {"input": torch.zeros(shape)})
    return converted_graph(graph, {"input": shape}, folder, target)


def converted_graph(
    graph: GraphModule, shapes: dict[str, tuple[int, ...]], folder: Path, target: str = "iOS15"
) -> MLPackage:
    """Return a rewritten model as a package, `net.mlpackage` in a folder."""
    program = program_of(graph, shapes, FORMS).run_decompositions({})
    check_kept(program)
    facts = {"inputs": [*shapes], "outputs": output_names(graph, shapes)}
    convert_package(program, folder / "net.mlpackage", folder, target, facts)
    return read_package(folder / "net.mlpackage")


def constants(package: Path) -> dict[str, Numbers]:
    """Return a package's constants that are numbers, by name."""
    found: dict[str, Numbers] = {}
    weights = (package / MODEL).parent
    for each in operations(read_spec(package)):
        if each.type != "const":
            continue
        value = each.attributes["val"]
        kind = value.type.tensorType
        shape = [size.constant.size for size in kind.dimensions]
        if value.HasField("blobFileValue"):
            name = value.blobFileValue.fileName.removeprefix("@model_path/")
            found[each.outputs[0].name] = _blob(weights / name, value.blobFileValue.offset).reshape(shape)
            continue
        tensor = value.immediateValue.tensor
        field = tensor.WhichOneof("value")
        if field == "bytes" and kind.dataType in _BITS:
            numbers: Numbers = np.frombuffer(tensor.bytes.values, _BITS[kind.dataType])
        elif field in ("floats", "ints"):
            numbers = np.asarray(getattr(tensor, field).values)
        else:
            continue
        found[each.outputs[0].name] = numbers.reshape(shape)
    return found


def _blob(path: Path, offset: int) -> Numbers:
    """Return what lies at a place of weight.bin: a table of sentinel, format, bytes and place, and the values there."""
    content = path.read_bytes()
    sentinel, kind = np.frombuffer(content, np.uint32, 2, offset)
    size, start = (int(each) for each in np.frombuffer(content, np.uint64, 2, offset + 8))
    assert sentinel == _MAGIC
    return np.frombuffer(content[start : start + size], _ITEMS[int(kind)])
