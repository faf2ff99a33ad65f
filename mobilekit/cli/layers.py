"""What `--layers` does, for every command that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mobilekit.cli.options import split_words
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import Cache


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

    return layers(
        LayersRequest(bundle, inputs, reference, calibration, split_words(precision)), Cache.default(), tell
    ).to_json()
