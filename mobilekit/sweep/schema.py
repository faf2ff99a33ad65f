"""What a sweep's YAML file may say."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from mobilekit.recipes.part import Part
from mobilekit.store.stages import DEFAULT_PRECISIONS, FORM_STAGES, Form, Stage

Side = Annotated[int, Field(ge=8, le=4096)]
PRECISIONS = tuple(form for form, stage in FORM_STAGES.items() if stage is not Stage.MLPACKAGE)
"""Of what a sweep makes: its rows are files, and a package for Core ML is a folder."""


def _size(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Return a size; `256x192` is [256, 192].

    Raises:
        ValueError: It is none.
    """
    try:
        return check(given.split("x") if isinstance(given, str) and "x" in given else given)
    except ValidationError as error:
        words = "write a size as 224, or height and width as [256, 192] or 256x192, of 8 to 4096 pixels each"
        raise ValueError(words) from error


Size = Annotated[Side | tuple[Side, Side], WrapValidator(_size, json_schema_input_type=Side | tuple[Side, Side] | str)]


def _precision(given: Any) -> Any:
    """Return a precision of a sweep.

    Raises:
        ValueError: It is none.
    """
    if given == Stage.MLPACKAGE.value:
        made = "`mobilekit export --precision mlpackage` makes one"
        raise ValueError(f"leave it out: a sweep makes no packages for Core ML, as its rows are files; {made}")
    if given not in PRECISIONS:
        raise ValueError(f"write one of {', '.join(PRECISIONS)}")
    return given


SweepForm = Annotated[Form, BeforeValidator(_precision), WithJsonSchema({"enum": [*PRECISIONS], "type": "string"})]


class Axes(Part):
    """Values of some axes; of a matrix each combination of them is measured."""

    models: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] | None = Field(
        None, description="As `mobilekit export` takes them; a FILE.py:FACTORY lies beside the sweep's file."
    )
    model_options: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)] | None = Field(
        None, description="Options of the model, such as `{width: 1.3}`, over those of the recipe; none without."
    )
    input_sizes: Annotated[tuple[Size, ...], Field(min_length=1)] | None = Field(
        None,
        description="Height and width in pixels: one number for both, [256, 192] or 256x192; the recipe's without.",
    )
    recipes: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="Names or files of recipes; the model's own without."
    )
    precisions: Annotated[tuple[SweepForm, ...], Field(min_length=1)] | None = Field(
        None, description=f"Files of each export; {', '.join(DEFAULT_PRECISIONS)} without."
    )
    targets: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None, description="Whose compilers are asked about each file, such as cpu and gpu; nobody's without."
    )
    devices: Annotated[tuple[str, ...], Field(min_length=1)] | None = Field(
        None,
        description="Where each file is timed: local, adb:SERIAL, phone:MODEL for any that calls itself so, "
        "replay:DIR, or label:LABEL or serial:SERIAL of the fleet; nowhere without.",
    )
    threads: Annotated[tuple[Annotated[int, Field(ge=1, le=64)], ...], Field(min_length=1)] | None = Field(
        None, description="Threads of the runtime where files are timed; 1 without."
    )


class Matrix(Axes):
    """The axes of a sweep; each combination of their values is a part of a cell."""

    models: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = Field(
        description="As `mobilekit export` takes them; a FILE.py:FACTORY lies beside the sweep's file."
    )


class Timing(Part):
    """How files are timed; see `mobilekit bench`."""

    rounds: Annotated[int, Field(ge=1, le=1000)] | None = Field(None, description="Rounds of random order; 12 without.")
    runs: Annotated[int, Field(ge=1, le=10000)] = Field(20, description="Inferences of a run.")
    warmup_runs: Annotated[int, Field(ge=0, le=10000)] = Field(3, description="Inferences before those that count.")
    max_seconds: Annotated[float, Field(gt=0, le=600)] = Field(5, description="Of a run.")
    benchmark_binary: str | None = Field(
        None, description="A benchmark_model beside the sweep's file, or the version of one to download."
    )
    seed: int = Field(0, description="Of the order in which files run.")


class Sweep(Part):
    """What is exported, measured and timed, in which combinations."""

    matrix: Matrix
    exclude: tuple[Axes, ...] = Field(
        (),
        description="Each takes away the combinations whose values it names; it may name precisions or targets, not "
        "both.",
    )
    include: tuple[Axes, ...] = Field(
        (), description="Each adds a matrix of its own, after all exclusions; axes that it leaves out are the matrix's."
    )
    weights: dict[str, str] = Field(
        default_factory=dict, description="Checkpoint of a model, by the model; or `none`, or `pretrained`."
    )
    calibration: str | None = Field(None, description="Folder of images, or .npz, that int8 is calibrated on.")
    inputs: str | None = Field(None, description="Folder of images, CSV or .npz that stages are measured on.")
    diff: bool = Field(
        True, description="Measure each bundle once more where it lies; without, its export's own ledger is taken."
    )
    fleet: str | None = Field(None, description="File of a fleet, whose phones `devices` names by label or serial.")
    bench: Timing = Field(default_factory=Timing)
