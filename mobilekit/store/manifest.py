"""What a bundle's manifest.json holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mobilekit.store.result import Result
from mobilekit.store.stages import Stage

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
    """A registered name, a library's model (`timm:NAME`), `FILE.py:FACTORY`, or `module:CLASS` of Python code."""
    options: dict[str, Any]
    weights: Weights


@dataclass(frozen=True)
class NamedRecipe(Result):
    """The recipe, whole."""

    name: str
    content: dict[str, Any]
    """As `mobilekit recipes schema` describes it."""


@dataclass(frozen=True)
class UnseenError(Result):
    """The relative L2 error of an int8 file's outputs on calibration pictures that it was not fitted to."""

    mean: float
    worst: float


@dataclass(frozen=True)
class Int8Ranges(Result):
    """How the range of each tensor came about, and what tells for it."""

    ranges: str
    """`chosen`, tensor by tensor, `careful`, so that no picture pays for it, `min-max`, all that was seen, or
    `histogram`, ExecuTorch's."""
    pictures: int = 0
    """How many were kept back to tell; with 0 there were too few, or the recipe says `min-max`."""
    fewest: int = 0
    """How many runs of calibration inputs it takes to choose; 0 where there were so many, or none is to be chosen."""
    relative_l2: dict[str, UnseenError] = field(default_factory=dict)
    """Of a file with ranges of each kind, all fitted to the other pictures."""
    float_outputs: tuple[str, ...] = ()
    """Outputs that stay in float, as one scale would leave parts of them too few values."""
    kept_outputs: tuple[str, ...] = ()
    """Outputs that stay in float as the recipe leaves what makes them so."""


@dataclass(frozen=True)
class CalibrationSource(Result):
    """What int8 was calibrated on."""

    source: str
    count: int
    sha256: str
    """Of the preprocessed inputs' bytes."""
    is_own: bool = False
    """Whether the user brought them; of bundles up to 0.1, see `was_own`."""
    ranges: Int8Ranges | None = None
    """Of the int8 TFLite file; none where that is not made, or another version made it."""
    other_ranges: dict[str, Int8Ranges] = field(default_factory=dict)
    """Of the int8 files for other runtimes, by their stages."""


def was_own(calibration: Mapping[str, Any]) -> bool:
    """Return whether a manifest's `calibration` is of inputs that the user brought."""
    return bool(calibration.get("is_own", not str(calibration["source"]).startswith("built-in ")))


ASSUMED = "assumed"
OPTION = "option"
NOT_USED = "not used"
EXAMPLES = "example_inputs"
TIMM_CONFIG = "timm's config"


@dataclass(frozen=True)
class Given(Result):
    """One thing that decides what an export means, and where it is from."""

    what: str
    """`size`, `color`, `normalization`, `crop`, `calibration`, `evaluation` or `weights`."""
    value: str
    """In words."""
    origin: str
    """`option`, `recipe NAME`, `timm's config` or another library's, `on this disk`, `the model's code`,
    `example_inputs`, `not used`, or `assumed`: nobody said it."""
    option: str
    """What sets it on the command line."""

    @property
    def is_assumed(self) -> bool:
        """Whether nobody said it."""
        return self.origin == ASSUMED


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
    """`onnx`, `tflite` or `pte`."""
    inputs: list[Tensor]
    outputs: list[Tensor]


@dataclass(frozen=True)
class FailedStage(Result):
    """A stage that could not be made, opened or run, and so is not in the bundle."""

    stage: Stage
    reason: str
    """In the tool's own words, one line without a full stop."""
    advice: str = ""
    """What to do."""
    follows: Stage | None = None
    """The failed stage that this one would have been made from."""


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
    failed_stages: tuple[FailedStage, ...] = ()
    """Stages that the export had to leave out."""
    given: tuple[Given, ...] = ()
    """What decides what the export means, and where each is from."""
