"""What `--layers` does, for every command that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilekit.errors import UsageError
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import Cache

CalibrationOption = Annotated[
    Path | None, typer.Option(help="With --layers: what int8 was calibrated on, if not built-in data.")
]
PrecisionOption = Annotated[
    str | None, typer.Option(help="With --layers: of float32,float16,dynamic,int8; all of the bundle's without.")
]


def refuse_without_layers(**options: object) -> None:
    """Refuse options that mean nothing without --layers.

    Raises:
        UsageError: One is given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"--{given[0]} says how --layers is done, which is not asked for.", "Add --layers.")


def look_inside(
    bundle: Bundle,
    inputs: Path | None,
    reference: str | None,
    calibration: Path | None,
    precision: str | None,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Return the values inside at every stage, as `Layers.to_json` gives them.

    Raises:
        UsageError: The inputs, the calibration or the precisions do not fit the bundle.
        ToolError: A converter or runtime failed.
    """
    from mobilekit.jobs.diff_layers import LayersRequest, layers

    words = None if precision is None else [word.strip() for word in precision.split(",") if word.strip()]
    return layers(LayersRequest(bundle, inputs, reference, calibration, words), Cache.default(), tell).to_json()
