"""What a recipe may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mobilekit.recipes.gates import Gates
from mobilekit.recipes.old_words import with_new_words
from mobilekit.recipes.part import Part
from mobilekit.recipes.picture import Input
from mobilekit.store.bundle import INPUT
from mobilekit.store.stages import DEFAULT_PRECISIONS, FORM_STAGES, PRECISIONS, Form, Precision, Stage

Opset = Literal[18, 20]
FloatPart = Literal[
    "division", "attention", "normalization", "exponential", "coordinates", "hard-swish", "residual-add"
]
BEYOND_8_BITS: tuple[FloatPart, ...] = ("division", "attention", "normalization", "exponential", "coordinates")
"""What `keep_float` keeps for accuracy's sake, with all that leads there."""


class ExtraInput(Part):
    """A further input: another picture, or a float32 tensor of any shape."""

    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        None, description="Shape of one, which begins with 1; four axes are NCHW."
    )
    range: tuple[float, float] | None = Field(
        None, description="Values to calibrate and measure on are uniform in it; without, standard normal."
    )
    like: Literal["input"] | None = Field(None, description="Another picture, preprocessed as the input is.")

    @model_validator(mode="after")
    def _says_one_thing(self) -> ExtraInput:
        if (self.shape is None) == (self.like is None):
            raise ValueError("it needs either a shape or `like: input`")
        if self.shape is not None and (len(self.shape) < 2 or self.shape[0] != 1):
            raise ValueError("the shape needs two axes or more, and its first is 1, the batch")
        if self.range is not None and (self.like or not self.range[0] < self.range[1]):
            raise ValueError("the range goes from a lower to a higher value, and belongs to a shape")
        return self


class RewriteStep(Part):
    """One rewrite, applied at every site where its condition holds."""

    name: str = Field(description="Name of a rewrite; `mobilekit rewrites list` has them.")
    options: dict[str, Any] = Field(default_factory=dict, description="Parameters of this rewrite.")
    max_drift: Annotated[float, Field(ge=0)] = Field(
        0.0, description="Largest relative L2 change of the outputs that an approximate rewrite may cause."
    )
    min_top1_agreement: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Smallest share of inputs whose largest output an approximate rewrite may leave the same."
    )
    allow: bool = Field(False, description="Apply a rewrite that needs retraining.")


class Calibration(Part):
    """The inputs that int8 ranges and fitted rewrites are measured on."""

    count: Annotated[int, Field(ge=1, le=10000)] = Field(84, description="Number of inputs.")


class Onnx(Part):
    """How the ONNX file is written."""

    opset: Opset | None = Field(
        None,
        description="Version of ONNX's operators. Without, 20 where the model has a GELU, which is one operator from "
        "there on, and else 18, which more tools read.",
    )


class CoreML(Part):
    """How the package for Core ML is written."""

    minimum_deployment_target: Literal["iOS15", "iOS16", "iOS17", "iOS18"] = Field(
        "iOS15", description="The oldest system that reads it, by its iOS; those of the Mac and others that go with it."
    )


class Output(Part):
    """What the files make of what the model returns."""

    activation: Literal["softmax"] | None = Field(
        None, description="Scores that sum to 1, along the classes, of a model that returns logits."
    )
    detections: Literal["xyxy", "yxyx"] | None = Field(
        None,
        description="Of a detector that returns boxes (1, N, 4), classes (1, N), scores (1, N) and how many there are "
        "(1), floats in this order: which sides of a box its four values are, as shares of the input's width and "
        "height. Nothing is computed; MediaPipe's ObjectDetector is told.",
    )

    @model_validator(mode="after")
    def _says_one_thing(self) -> Output:
        if self.activation and self.detections:
            raise ValueError("a softmax is for one tensor of logits, and detections are four tensors")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_rare(self, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = to_json(self)
        return {key: value for key, value in content.items() if key != "detections" or value}


class Int8(Part):
    """How the files that compute with integers, int8 and int16x8, are quantized."""

    keep_float: tuple[FloatPart, ...] = Field(
        (),
        description="Parts that stay in float, each with all that leads to it from the dense layers before: divisions "
        "(linear attention), products of two computed matrices and softmaxes (attention), layer and group "
        "normalizations, exponentials and logarithms, as softplus and Mish have them, and running sums (exponential), "
        "values read at computed places, as grid_sample does, with the layers that make these, and means of places "
        "that a softmax weighs (coordinates); and, "
        "alone, Hard-Swishes, for which XNNPACK has no int8 kernel, and sums of two maps "
        "(residual-add), which carry the error of every block before them.",
    )
    float_modules: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="Paths of modules that stay in float, with all that is in them; `*` stands for any characters. "
        "`mobilekit quantize-search` finds them.",
    )
    io: Literal["int8", "uint8", "float32"] = Field(
        "int8",
        description="What the file takes and gives: int8, or float32, which an app need not scale; or uint8, of files "
        "that take a picture's bytes.",
    )
    ranges: Literal["chosen", "min-max"] = Field(
        "chosen",
        description="Range of each tensor: the one of a few that leaves least noise in calibration pictures that it "
        "was not fitted to, where pictures kept back tell for it; or from the lowest to the highest value.",
    )
    correct_bias: bool = Field(
        True, description="Add to each bias what rounding the weights takes from its channel on average."
    )


class Limit(Part):
    """Limits of one stage; what is left out is derived, and what is looser than derived needs a reason."""

    max_abs: Annotated[float, Field(ge=0)] | None = None
    relative_l2: Annotated[float, Field(ge=0)] | None = None
    cosine: Annotated[float, Field(ge=-1, le=1)] | None = None
    top1_agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    topk_agreement: Annotated[float, Field(ge=0, le=1)] | None = None
    top1: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="Against labels, where there are any.")
    max_error_eps: Annotated[float, Field(ge=0)] | None = Field(
        None, description="Distance from the reference's float64 run, in units of 2^-24 of the largest output."
    )
    equal_labels: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="Share of equal values, of outputs that are integers or booleans; the others are for numbers."
    )
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] | None = Field(
        None, description="Why a limit is looser than the derived one."
    )

    def figures(self) -> dict[str, float]:
        """Return the limits that are set, by their metrics."""
        return self.model_dump(exclude_none=True, exclude={"reason"})


_LIMITED = [
    stage.value
    for stage in Stage
    if stage is not Stage.REFERENCE and not stage.is_on_device and not stage.is_in_float16
]


def _limited_stage(name: object) -> Stage:
    """Return the stage of this name, of those with limits: a file on a device has those of the file here."""
    if name not in _LIMITED:
        *first, last = map(repr, _LIMITED)
        raise PydanticCustomError("enum", f"Input should be {', '.join(first)} or {last}")
    return Stage(str(name))


LimitedStage = Annotated[
    Stage, BeforeValidator(_limited_stage), WithJsonSchema({"type": "string", "enum": _LIMITED}, mode="validation")
]


_TAKEN = {INPUT: "the picture, which `input` describes", "labels": "the class numbers in an .npz file"}


class Recipe(Part):
    """How one or more models are exported, calibrated and judged."""

    models: tuple[str, ...] = Field((), description="Names of the registered models that use this recipe.")
    model_options: dict[str, Any] = Field(default_factory=dict, description="Options of the reference model.")
    input: Input = Field(default_factory=Input)
    extra_inputs: dict[str, ExtraInput] = Field(
        default_factory=dict, description="Further inputs, by the names of the parameters of the model's forward."
    )
    data: Literal["photos", "digits"] = Field("photos", description="Built-in data to calibrate and to measure on.")
    rewrites: tuple[RewriteStep, ...] = Field((), description="Rewrites in the order in which they are applied.")
    precision: tuple[Form, ...] = Field(
        DEFAULT_PRECISIONS,
        min_length=1,
        description="Artifacts to make: float32, float16, dynamic, int8, and int16x8, with values of 16 bits, in "
        "TFLite; onnx-int8 and onnx-int16x8 in ONNX; pte-float32, pte-float16 and pte-int8 for ExecuTorch; mlpackage, "
        "in float16, for Core ML.",
    )
    calibration: Calibration = Field(default_factory=Calibration)
    output: Output = Field(default_factory=Output)
    onnx: Onnx = Field(default_factory=Onnx)
    coreml: CoreML = Field(default_factory=CoreML)
    int8: Int8 = Field(default_factory=Int8)
    limits: dict[LimitedStage, Limit] = Field(
        default_factory=dict, description="Limits of a stage in place of the derived ones."
    )
    gates: Gates = Field(
        default_factory=Gates,
        description="What each TFLite file must be like, by its precision, and the accuracy that they may lose.",
    )
    labels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (), description="Names of the model's classes, in the order of its outputs; folders and tables name them."
    )
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        None, description="k of top-k agreement; 5 without, where there are 10 classes or more."
    )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs by name, the picture first, each a batch of one."""
        return self._shapes(self.input.shape)

    @property
    def network_shapes(self) -> dict[str, tuple[int, ...]]:
        """The same as the network takes them: pictures in its size where files take frames."""
        return self._shapes(self.input.network_shape)

    def _shapes(self, picture: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        return {INPUT: picture, **{name: extra.shape or picture for name, extra in self.extra_inputs.items()}}

    @property
    def file_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all inputs as the files take them, by name, in a batch."""
        return {name: (self.input.batch, *shape[1:]) for name, shape in self.shapes.items()}

    @property
    def is_calibrated(self) -> bool:
        """Whether a file is made whose values have the ranges of calibration inputs."""
        return any(FORM_STAGES[form].is_calibrated for form in self.precision)

    @property
    def number_formats(self) -> frozenset[Precision]:
        """Those of all files that are made."""
        return frozenset(FORM_STAGES[form].precision for form in self.precision)

    @property
    def tflite_precisions(self) -> tuple[Precision, ...]:
        """Precisions of the TFLite files that are made."""
        return tuple(precision for precision in PRECISIONS if precision in self.precision)

    @property
    def programs(self) -> tuple[Stage, ...]:
        """Stages of the files for ExecuTorch that are made."""
        return tuple(FORM_STAGES[form] for form in self.precision if FORM_STAGES[form].file_format == "pte")

    @property
    def pixels(self) -> tuple[str, ...]:
        """Names of the inputs that are pictures of 0 to 255, which the model normalizes itself."""
        pictures = (INPUT, *(name for name, extra in self.extra_inputs.items() if extra.like))
        return pictures if self.input.takes_levels else ()

    @property
    def bytes(self) -> tuple[str, ...]:
        """Names of the inputs that files take as uint8."""
        return self.pixels if self.input.takes_bytes else ()

    @model_validator(mode="before")
    @classmethod
    def _takes_old_words(cls, content: Any) -> Any:
        return with_new_words(content)[0]

    @field_validator("extra_inputs")
    @classmethod
    def _names_are_free(cls, extras: dict[str, ExtraInput]) -> dict[str, ExtraInput]:
        for name in extras:
            if name in _TAKEN:
                raise ValueError(f"{name} is the name of {_TAKEN[name]}")
            if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} cannot name an input: TFLite takes letters, digits and _ after a letter")
        return extras

    @field_validator("labels")
    @classmethod
    def _labels_differ(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        twice = next((name for place, name in enumerate(labels) if name in labels[:place]), None)
        if twice is not None:
            raise ValueError(f"{twice} stands twice")
        return labels

    @model_validator(mode="after")
    def _bytes_are_of_pictures(self) -> Recipe:
        if self.int8.io == "uint8" and not self.input.takes_bytes:  # apps would feed the bytes, and not scale them
            raise ValueError("int8: {io: uint8} is for files that take bytes: write input: {dtype: uint8} as well")
        return self

    @model_validator(mode="after")
    def _apps_begin_at_pictures(self) -> Recipe:
        if self.input.channels and self.gates.app:
            raise ValueError(f"gates.app begins at pictures, and input takes arrays of {self.input.channels} channels")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_rare(self, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what most models have not: further inputs, labels, an activation, another system for Core ML."""
        content: dict[str, Any] = to_json(self)
        for name in ("extra_inputs", "labels"):
            if not getattr(self, name):
                content.pop(name, None)  # absent already where only what was set is asked for
        if self.output == Output():
            content.pop("output", None)
        if self.coreml == CoreML():
            content.pop("coreml", None)
        return content
