"""The stages of an export: one table of what each is, which file it is, and which stage it was made from."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from enum import StrEnum
from typing import Literal

from mobilekit.errors import UsageError, nearest

Precision = Literal["float32", "float16", "dynamic", "int8", "int16x8"]
Form = Literal[
    "float32",
    "float16",
    "dynamic",
    "int8",
    "int16x8",
    "onnx-int8",
    "onnx-int16x8",
    "pte-float32",
    "pte-float16",
    "pte-int8",
    "mlpackage",
]
"""A file that a recipe may ask for: a TFLite file by its precision, one of another format by its stage."""
FileFormat = Literal["pytorch", "onnx", "tflite", "pte", "mlpackage"]
Place = Literal["here", "device", "gpu", "npu"]
"""Where a stage runs: on this machine's processor, on a phone or an emulated one, on LiteRT's GPU accelerator, or in
Qualcomm's NPU, as its library for this machine has it."""


class InputSet(StrEnum):
    """The inputs on which every stage runs."""

    REAL = "real"
    RANDOM = "random"
    """Standard normal."""


class Stage(StrEnum):
    """A stage of an export, in the order of the conversion. Its value is its name in recipes and in JSON.

    A new one is a line in the table below: nothing else knows how stages are named.
    """

    file: str
    """Path in a bundle's folder; of a package for Core ML, a folder's."""
    file_format: FileFormat
    precision: Precision
    """How its weights are stored."""
    is_quantized: bool
    """Whether it computes with integers."""
    place: Place
    _predecessor: str | None

    # name, file, predecessor, file_format, precision, is_quantized, place; the GPU computes in float16 in its stage
    REFERENCE = "reference", "stages/reference.safetensors", None, "pytorch", "float32", False, "here"
    REWRITTEN = "rewritten", "stages/rewritten.safetensors", "reference", "pytorch", "float32", False, "here"
    ONNX = "onnx", "stages/unsimplified.onnx", "rewritten", "onnx", "float32", False, "here"
    ONNX_SIMPLIFIED = "onnx-simplified", "model.onnx", "onnx", "onnx", "float32", False, "here"
    TFLITE_FLOAT32 = "tflite-float32", "model.float32.tflite", "onnx-simplified", "tflite", "float32", False, "here"
    TFLITE_FLOAT16 = "tflite-float16", "model.float16.tflite", "tflite-float32", "tflite", "float16", False, "here"
    TFLITE_DYNAMIC = "tflite-dynamic", "model.dynamic.tflite", "tflite-float32", "tflite", "dynamic", True, "here"
    TFLITE_INT8 = "tflite-int8", "model.int8.tflite", "tflite-float32", "tflite", "int8", True, "here"
    TFLITE_INT16X8 = "tflite-int16x8", "model.int16x8.tflite", "tflite-float32", "tflite", "int16x8", True, "here"
    ONNX_INT8 = "onnx-int8", "model.int8.onnx", "onnx-simplified", "onnx", "int8", True, "here"
    ONNX_INT16X8 = "onnx-int16x8", "model.int16x8.onnx", "onnx-simplified", "onnx", "int16x8", True, "here"
    PTE_FLOAT32 = "pte-float32", "model.float32.pte", "rewritten", "pte", "float32", False, "here"
    PTE_FLOAT16 = "pte-float16", "model.float16.pte", "pte-float32", "pte", "float16", False, "here"
    PTE_INT8 = "pte-int8", "model.int8.pte", "pte-float32", "pte", "int8", True, "here"
    MLPACKAGE = "mlpackage", "model.mlpackage", "rewritten", "mlpackage", "float16", False, "here"
    DEVICE_FLOAT32 = "device-float32", "model.float32.tflite", "tflite-float32", "tflite", "float32", False, "device"
    DEVICE_FLOAT16 = "device-float16", "model.float16.tflite", "tflite-float16", "tflite", "float16", False, "device"
    DEVICE_DYNAMIC = "device-dynamic", "model.dynamic.tflite", "tflite-dynamic", "tflite", "dynamic", True, "device"
    DEVICE_INT8 = "device-int8", "model.int8.tflite", "tflite-int8", "tflite", "int8", True, "device"
    DEVICE_INT16X8 = "device-int16x8", "model.int16x8.tflite", "tflite-int16x8", "tflite", "int16x8", True, "device"

    GPU_FLOAT32 = "gpu-float32", "model.float32.tflite", "tflite-float32", "tflite", "float32", False, "gpu"
    GPU_FLOAT16 = "gpu-float16", "model.float16.tflite", "tflite-float16", "tflite", "float16", False, "gpu"
    GPU_DYNAMIC = "gpu-dynamic", "model.dynamic.tflite", "tflite-dynamic", "tflite", "dynamic", True, "gpu"
    GPU_INT8 = "gpu-int8", "model.int8.tflite", "tflite-int8", "tflite", "int8", True, "gpu"
    HTP_FLOAT16 = "htp-float16", "model.onnx", "onnx-simplified", "onnx", "float16", False, "npu"

    def __new__(
        cls,
        name: str,
        file: str = "",
        predecessor: str | None = None,
        file_format: FileFormat = "pytorch",
        precision: Precision = "float32",
        is_quantized: bool = False,
        place: Place = "here",
    ) -> Stage:
        """Make the stage of one line of the table; the defaults are for `Stage(name)` alone, which finds one."""
        stage = str.__new__(cls, name)
        stage._value_ = name
        stage.file, stage.file_format, stage.precision = file, file_format, precision
        stage.is_quantized, stage.place, stage._predecessor = is_quantized, place, predecessor
        return stage

    def own_file(self, target: str) -> str:
        """Return the path of a target's own form of its file, in a bundle's folder: `model.int8.gpu.tflite`."""
        name, _, suffix = self.file.rpartition(".")
        return f"{name}.{target}.{suffix}"

    @property
    def is_on_device(self) -> bool:
        """Whether it runs elsewhere than on this machine's processor."""
        return self.place != "here"

    @property
    def is_calibrated(self) -> bool:
        """Whether its values have ranges, those of the calibration inputs."""
        return self.precision in CALIBRATED

    @property
    def is_in_float16(self) -> bool:
        """Whether its arithmetic is float16's, and not its weights alone."""
        is_elsewhere = self.place in ("gpu", "npu") or self.file_format in ("pte", "mlpackage")
        return is_elsewhere and self.precision == "float16"

    @property
    def predecessor(self) -> Stage | None:
        """The stage that this one was made from; for a file on a device, the same file here. None of the reference."""
        return None if self._predecessor is None else Stage(self._predecessor)

    @property
    def on_host(self) -> Stage:
        """The stage of the same file here; of a stage that is here, itself."""
        return self.predecessor or self if self.is_on_device else self

    def predecessor_among(self, stages: Container[Stage]) -> Stage:
        """Return the nearest of `stages` that this one was made from.

        Raises:
            ValueError: There is none.
        """
        stage = self.predecessor
        while stage is not None and stage not in stages:
            stage = stage.predecessor
        if stage is None:
            raise ValueError(f"{self} was made from none of the stages")
        return stage


TFLITE_STAGES = tuple(stage for stage in Stage if stage.file_format == "tflite" and not stage.is_on_device)
PRECISIONS: tuple[Precision, ...] = tuple(stage.precision for stage in TFLITE_STAGES)
"""Of the TFLite files that a recipe may ask for."""
FORM_STAGES: dict[Form, Stage] = {
    **{stage.precision: stage for stage in TFLITE_STAGES},
    "onnx-int8": Stage.ONNX_INT8,
    "onnx-int16x8": Stage.ONNX_INT16X8,
    "pte-float32": Stage.PTE_FLOAT32,
    "pte-float16": Stage.PTE_FLOAT16,
    "pte-int8": Stage.PTE_INT8,
    "mlpackage": Stage.MLPACKAGE,
}
"""The stage of each file that a recipe may ask for."""
DEFAULT_PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "dynamic", "int8")
"""Those that are made where nobody asks."""
CALIBRATED: tuple[Precision, ...] = ("int8", "int16x8")
"""Precisions whose values have ranges, those of the calibration inputs."""


def check_precisions(words: Sequence[str]) -> None:
    """Check that words name precisions of TFLite files, at least one.

    Raises:
        UsageError: One does not, or there is none.
    """
    _check(words, PRECISIONS)


def check_forms(words: Sequence[str]) -> None:
    """Check that words name files that a recipe may ask for, at least one.

    Raises:
        UsageError: One does not, or there is none.
    """
    _check(words, FORM_STAGES)


def _check(words: Sequence[str], known: Iterable[str]) -> None:
    unknown = [word for word in words if word not in {*known}]
    if unknown or not words:
        word = unknown[0] if unknown else ""
        raise UsageError(f"Unknown precision {word}." if word else "No precision is named.", nearest(word, known))


def tflite_stage(precision: str) -> Stage:
    """Return the stage of the TFLite file of a precision."""
    return next(stage for stage in TFLITE_STAGES if stage.precision == precision)


def device_stage(precision: str) -> Stage:
    """Return the stage of the TFLite file of a precision on a device."""
    return next(stage for stage in Stage if stage.on_host is tflite_stage(precision) and stage.place == "device")


def stage_in(place: Place, stage: Stage) -> Stage | None:
    """Return the stage of a stage's file in another place; None where that place does not run such files."""
    return next((each for each in Stage if each.place == place and each.predecessor is stage), None)


def stage_of_file(file: str) -> Stage | None:
    """Return the stage whose file has this path in a bundle's folder; None where none has."""
    return next((stage for stage in Stage if stage.file == file and not stage.is_on_device), None)


def find_stage(name: str) -> Stage | None:
    """Return the stage of this name, as JSON has it; None for other names, such as those of a file made elsewhere."""
    return next((stage for stage in Stage if stage == name), None)
