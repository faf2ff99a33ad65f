"""What a bundle's manifest.json holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mobilekit.store.result import Result

FORMAT = 1
"""Of the manifest: a version that other versions cannot read has another one."""


@dataclass(frozen=True)
class Weights(Result):
    """Where the reference's weights are from."""

    source: str
    trained: bool
    """Whether they mean something."""
    sha256: str


@dataclass(frozen=True)
class Model(Result):
    """The reference model."""

    name: str
    """A registered name, `timm:NAME`, or `FILE.py:FACTORY`."""
    options: dict[str, Any]
    weights: Weights


@dataclass(frozen=True)
class NamedRecipe(Result):
    """The recipe, whole."""

    name: str
    content: dict[str, Any]
    """As `mobilekit recipes schema` describes it."""


@dataclass(frozen=True)
class CalibrationSource(Result):
    """What int8 was calibrated on."""

    source: str
    count: int
    sha256: str
    """Of the preprocessed inputs' bytes."""


@dataclass(frozen=True)
class Tensor(Result):
    """An input or output of a file."""

    name: str
    shape: list[int | str | None]
    """A name or null for a size that is free."""
    layout: str | None
    """`NCHW` or `NHWC`, of four axes."""
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class File(Result):
    """What a file takes and gives."""

    format: str
    """`onnx` or `tflite`."""
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True)
class Manifest(Result):
    """What a bundle is, and the SHA-256 of every file in it."""

    format: int
    """Of the manifest."""
    request: str
    """Digest of all that decided what the bundle holds."""
    model: Model
    recipe: NamedRecipe
    precision: list[str]
    calibration: CalibrationSource
    tools: dict[str, str]
    """Versions."""
    input: dict[str, Any]
    """How a picture becomes the first input."""
    artifacts: dict[str, File]
    """By file name."""
    files: dict[str, str]
    """SHA-256 of each file but the manifest, by path."""
    self_sha256: str
    """SHA-256 of this manifest without this line."""
    extra_inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """How further inputs come about, by name."""
