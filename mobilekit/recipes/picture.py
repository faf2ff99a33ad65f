"""How a picture becomes a model's input, as a recipe says it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    WrapValidator,
    model_serializer,
    model_validator,
)

from mobilekit.recipes import frame as frames
from mobilekit.recipes.part import Part

LEAST_SIDE, LARGEST_SIDE = 8, 4096
"""Of an input, in pixels."""
Side = Annotated[int, Field(ge=LEAST_SIDE, le=LARGEST_SIDE)]
Color = Literal["rgb", "bgr", "gray", "rgba"]
Dtype = Literal["float32", "uint8"]
_CHANNELS: dict[Color, int] = {"rgb": 3, "bgr": 3, "gray": 1, "rgba": 4}
_SIDE, _SIDES = TypeAdapter(Side), TypeAdapter(tuple[Side, Side])


def _checked_size(size: object, _union: object) -> int | tuple[int, int]:
    """Return one number where height and width are the same; a mistake is told of the form that was written."""
    if not isinstance(size, list | tuple):
        return _SIDE.validate_python(size)
    height, width = _SIDES.validate_python(size)
    return height if height == width else (height, width)


class Resize(Part):
    """How a picture gets the input's size."""

    mode: Literal["crop", "stretch", "pad"] = Field(
        "crop",
        description="crop keeps the largest part, in the center, that has the input's shape; stretch takes all of the "
        "picture, whatever its shape; pad puts all of it on a ground of the color `mean`.",
    )
    filter: Literal["bilinear", "bicubic", "area", "nearest", "lanczos"] = Field(
        "bicubic", description="As Pillow has it; area is its box filter."
    )
    antialias: bool = Field(True, description="Widen the filter where a picture is made smaller, as Pillow does.")
    corners: bool = Field(
        False,
        description="Map corners of pixels to corners and not centers to centers, as MediaPipe and TensorFlow 1 do; of "
        "bilinear without antialiasing.",
    )

    @property
    def words(self) -> str:
        """What a line of output says of it, but for the crop."""
        at = " from the corners of pixels" if self.corners else ""
        return f"{self.filter}{'' if self.antialias else ' without antialiasing'}{at}"

    @model_validator(mode="after")
    def _can_be_plain(self) -> Resize:
        if not self.antialias and self.filter not in ("bilinear", "bicubic", "nearest"):
            raise ValueError(f"the filter {self.filter} has no form without antialiasing")
        if self.corners and (self.antialias or self.filter != "bilinear"):
            raise ValueError("corners is for the filter bilinear with `antialias: false`")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_rare(self, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = to_json(self)
        return {key: value for key, value in content.items() if key != "corners" or value}


class Input(Part):
    """How a photo becomes the model's input, a tensor of shape (1, channels, height, width)."""

    size: Annotated[Side | tuple[Side, Side], WrapValidator(_checked_size)] = Field(
        224, description="Height and width in pixels: one number for both, or [height, width]."
    )
    crop: Annotated[float, Field(gt=0, le=1)] = Field(
        0.875,
        description="Share of the photo that is kept: of the largest part, in its center, that has the input's shape, "
        "the height and the width times this.",
    )
    resize: Resize = Field(default_factory=Resize)
    color: Color = Field("rgb", description="Order of the channels; gray is one channel, and rgba four.")
    channels: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        None,
        description="Number of channels of inputs that are no pictures but arrays; color, mean and std say nothing.",
    )
    mean: tuple[float, ...] = Field((0.485, 0.456, 0.406), description="Per channel, of values in 0..1.")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field((0.229, 0.224, 0.225), description="Per channel.")
    exif: Literal["turn", "ignore"] = Field(
        "turn",
        description="What the orientation in a picture's EXIF data does, as cameras write it: turn the picture as "
        "viewers show it, or nothing.",
    )
    dtype: Dtype = Field(
        "float32",
        description="What the files take: float32, the normalized picture; or uint8, its bytes, 0 to 255, which the "
        "files normalize themselves.",
    )
    frame: tuple[Side, Side] | None = Field(
        None,
        description="Height and width of the picture that the files take, and crop, scale and normalize themselves. "
        "It implies `dtype: uint8`; with float32 they take 0 to 255 as such numbers.",
    )
    batch: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="How many inputs the files take at once; a file takes no other number."
    )

    @property
    def channel_count(self) -> int:
        """Number of channels."""
        return self.channels or _CHANNELS[self.color]

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.size if isinstance(self.size, tuple) else (self.size, self.size)

    @property
    def resized_side(self) -> int:
        """Length to which the shorter side of the largest part of a photo is resized before the crop."""
        return round(min(self.sides) / self.crop)

    @property
    def takes_bytes(self) -> bool:
        """Whether the files are given uint8."""
        return self.dtype == "uint8"

    @property
    def takes_levels(self) -> bool:
        """Whether the files are given 0 to 255, and mean and std are applied inside."""
        return self.takes_bytes or self.frame is not None

    @property
    def frame_parts(self) -> tuple[frames.Part, frames.Part] | None:
        """Which part of a frame's rows and of its columns the files cut and scale; None where they do not."""
        return frames.parts_of(self.frame, self.sides, self.resized_side, self.resize.mode) if self.frame else None

    @property
    def size_words(self) -> str:
        """HEIGHTxWIDTH of the network's picture."""
        return "{}x{}".format(*self.sides)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of one input as the files take it, NCHW."""
        return (1, self.channel_count, *(self.frame or self.sides))

    @property
    def network_shape(self) -> tuple[int, int, int, int]:
        """Shape of one input as the network takes it, NCHW: that of the files but for frames."""
        return (1, self.channel_count, *self.sides)

    @model_validator(mode="before")
    @classmethod
    def _frames_are_bytes(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("frame") is not None:
            return {"dtype": "uint8", **content}
        return content

    @model_validator(mode="after")
    def _one_value_a_channel(self) -> Input:
        count = _CHANNELS[self.color]
        for name in () if self.channels else ("mean", "std"):
            if len(getattr(self, name)) != count:
                values = "1 value" if count == 1 else f"{count} values"
                raise ValueError(f"{name} needs {values} for color {self.color}")
        if self.channels and self.takes_bytes:
            raise ValueError("dtype uint8 is for pictures, whose bytes have a mean and a std, and not for arrays")
        return self

    @model_validator(mode="after")
    def _frame_can_be_scaled(self) -> Input:
        if self.frame is None:
            return self
        if self.channels:
            raise ValueError("a frame is a picture, and not an array")
        resize = self.resize
        if resize.mode == "pad":
            raise ValueError("a frame is cropped or stretched inside the files, and not padded")
        if resize.filter not in (("bilinear", "bicubic", "lanczos") if resize.antialias else ("bilinear",)):
            raise ValueError(f"files scale a frame by bilinear, bicubic or lanczos, and not by {resize.words}")
        if refusal := frames.refusal_of(self.frame, self.sides, self.resized_side, resize.mode):
            raise ValueError(refusal)
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_rare(self, to_json: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `channels` where the color says how many there are, and what most models do not need."""
        content: dict[str, Any] = to_json(self)
        kept = ("dtype",) if self.frame else ()  # a frame's is uint8 where nothing is said
        return {key: value for key, value in content.items() if key in kept or key not in _RARE or value != _RARE[key]}


_RARE: dict[str, object] = {
    "channels": None,
    "exif": "turn",
    "dtype": "float32",
    "frame": None,
    "batch": 1,
    "resize": Resize().model_dump(),
}
"""Keys of `input` that are not written where they have these values."""
