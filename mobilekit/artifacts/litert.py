"""TFLite files, run by LiteRT."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mobilekit.artifacts.runtime import Arrays, Runtime, TensorInfo, as_output, batches, is_label
from mobilekit.artifacts.tflite_check import IDENTIFIER, damage_in
from mobilekit.errors import ToolError, first_line
from mobilekit.store.files import shown

_LOOKED_INTO: dict[bytes, str | None] = {}
_DAMAGED = "It was cut or changed since it was written: convert or export it again."
_OTHER = "Its beginning is not that of a TFLite file: give the .tflite file, or this one the suffix of its own format."


@dataclass(frozen=True)
class LiteRTTensor(TensorInfo):
    """A tensor of a TFLite model."""

    shape: tuple[int, ...]
    index: int
    """Its number in the file."""
    scale: float | None = None
    zero_point: int | None = None


class LiteRTRuntime(Runtime):
    """A TFLite model on the CPU with LiteRT's default delegate (XNNPACK), one thread.

    Args:
        path: The file.
        output_layouts: Which outputs are NHWC, by their names; they are given to callers as NCHW.
        keep_tensors: Keep what each op makes, to be read after a run; no delegate takes part then.
    """

    def __init__(
        self, path: Path, output_layouts: Mapping[str, str] | None = None, *, keep_tensors: bool = False
    ) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        check_whole(path)
        try:
            with _quiet_stderr():
                self.interpreter = Interpreter(
                    str(path),
                    num_threads=1,
                    experimental_preserve_all_tensors=keep_tensors,
                    experimental_op_resolver_type=(
                        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if keep_tensors else OpResolverType.AUTO
                    ),
                )
                self.interpreter.allocate_tensors()
                self.interpreter._get_ops_details()  # LiteRT reads a damaged name otherwise than the check did
        except (ValueError, RuntimeError) as error:
            raise ToolError(f"LiteRT cannot open {shown(path)}: {first_line(error)}.", _hint(path)) from error
        self.name = path.name
        self.output_layouts = output_layouts or {}
        signature: dict[str, dict[str, int]] = next(iter(self.interpreter._get_full_signature_list().values()), {})
        self.inputs: list[LiteRTTensor] = _named(self.interpreter.get_input_details(), signature.get("inputs", {}))
        self.outputs = _named(self.interpreter.get_output_details(), signature.get("outputs", {}))

    def _run(self, inputs: Arrays) -> Arrays:
        """Run the model; images go in as NHWC where it has them so."""
        rows: list[list[NDArray[Any]]] = []
        for batch in self.encoded(inputs):
            try:
                for info, array in zip(self.inputs, batch, strict=True):
                    self.interpreter.set_tensor(info.index, array)
                self.interpreter.invoke()
            except (ValueError, RuntimeError) as error:
                raise ToolError(f"LiteRT failed while running {self.name}: {first_line(error)}.") from error
            rows.append([self.decoded(self.interpreter.get_tensor(info.index), info) for info in self.outputs])
        return self.joined(rows, len(next(iter(inputs.values()))))

    def joined(self, rows: Sequence[Sequence[NDArray[Any]]], count: int) -> Arrays:
        """Return the outputs of each batch, as `decoded` gives them, as those of `count` inputs, by name."""
        columns = [np.concatenate(column)[:count] for column in zip(*rows, strict=True)]
        return {info.name: column for info, column in zip(self.outputs, columns, strict=True)}

    def partitions(self) -> int:
        """Return the number of parts of the graph that a delegate runs."""
        return sum(node["op_name"] == "DELEGATE" for node in self.interpreter._get_ops_details())

    def tensors(self) -> list[LiteRTTensor]:
        """Return all tensors of the file, constants included, by the names that they have in it."""
        return [_info(detail, detail["name"]) for detail in self.interpreter.get_tensor_details()]

    def value_of(self, info: LiteRTTensor) -> NDArray[np.float32]:
        """Return what a tensor held in the last run, in the file's own layout; see `keep_tensors`."""
        return decode(self.interpreter.get_tensor(info.index), info)

    def encoded(self, inputs: Arrays) -> Iterator[list[NDArray[Any]]]:
        """Yield inputs (N, ...) by the model's own names, batch by batch, in the layouts and formats that it takes."""
        for parts in zip(*(batches(inputs[info.name], self.batch) for info in self.inputs), strict=True):
            yield [encode(_to_layout(part, info.shape), info) for info, part in zip(self.inputs, parts, strict=True)]

    def decoded(self, array: NDArray[Any], info: LiteRTTensor) -> NDArray[Any]:
        """Return an output of the model as callers have it: (batch, ...), images NCHW."""
        array = decode(array, info)
        moved = array.transpose(0, 3, 1, 2) if self.output_layouts.get(info.name) == "NHWC" else array
        return as_output(moved, self.batch)


def check_whole(path: Path) -> None:
    """See that a file is whole before LiteRT reads it.

    Raises:
        ToolError: The file is not a whole TFLite file.
    """
    try:
        content = path.read_bytes()
        damage = _damage(content)
    except OSError as error:
        raise ToolError(
            f"LiteRT cannot open {shown(path)}: {error.strerror}.", "Convert or export it again."
        ) from error
    if damage:
        raise ToolError(
            f"LiteRT cannot open {shown(path)}: {damage}.", _DAMAGED if content[4:8] == IDENTIFIER else _OTHER
        )


def _damage(content: bytes) -> str | None:
    """Return `damage_in` of a file; an export opens each of its files several times, and to look takes a while."""
    digest = hashlib.sha256(content).digest()
    if digest not in _LOOKED_INTO:
        _LOOKED_INTO[digest] = damage_in(content)
    return _LOOKED_INTO[digest]


def _hint(path: Path) -> str:
    if not any(word in path.name for word in ("int8", "int16x8")):
        return "If it was cut or changed since it was written, convert or export it again."
    return (
        "If it is whole: calibration inputs that are few or all alike leave tensors with ranges that integer kernels "
        "refuse. Calibrate on more and other pictures."
    )


def _named(details: Sequence[dict[str, Any]], signature: Mapping[str, int]) -> list[LiteRTTensor]:
    """Return inputs or outputs in the file's order; one tensor may be several outputs, and has a name for each."""
    names: dict[int, list[str]] = defaultdict(list)
    for name, index in signature.items():
        names[int(index)].append(name)
    return [_info(detail, names[int(detail["index"])].pop(0) if signature else detail["name"]) for detail in details]


def _info(detail: dict[str, Any], name: str) -> LiteRTTensor:
    scale, zero_point = detail["quantization"]
    quantized = bool(scale)
    return LiteRTTensor(
        name=name,
        index=int(detail["index"]),
        shape=tuple(int(size) for size in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )


def _to_layout(array: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an NCHW array in the shape that the model takes: NHWC wherever that fits, as our artifacts have it."""
    if array.ndim != 4:
        return array
    moved = array.transpose(0, 2, 3, 1)
    return array if array.shape == shape != moved.shape else moved


def encode(array: NDArray[np.float32], info: LiteRTTensor) -> NDArray[Any]:
    """Return values in the number format of a tensor, rounded and cut off at its limits."""
    if info.scale is None or info.zero_point is None:
        return np.ascontiguousarray(array.astype(info.dtype, copy=False))
    limits = np.iinfo(info.dtype)
    steps = np.round(array / np.float32(info.scale)) + info.zero_point
    return np.ascontiguousarray(np.clip(steps, limits.min, limits.max).astype(info.dtype))


def decode(array: NDArray[Any], info: LiteRTTensor) -> NDArray[Any]:
    """Return the values that a tensor's numbers stand for: float32, but for integers and booleans without a scale."""
    if info.scale is None or info.zero_point is None:
        return array if is_label(array) else array.astype(np.float32)
    return (array.astype(np.float32) - np.float32(info.zero_point)) * np.float32(info.scale)


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Keep LiteRT's INFO lines, which it writes to the descriptor itself, off the terminal."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)
