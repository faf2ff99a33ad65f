"""What `--layers` does, for every command that has it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.cli.option_values import split_words
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import Cache

if TYPE_CHECKING:
    from mobilekit.artifacts.on_device import OnDevice
    from mobilekit.parity.layers.result import Layers


def look_inside(
    bundle: Bundle,
    inputs: Path | None,
    reference: str | None,
    calibration: Path | None,
    precision: str | None,
    tell: Callable[[str], None],
    device: OnDevice | None = None,
) -> Layers:
    """Return the values inside at every stage, those on a device among them.

    Raises:
        UsageError: The inputs, the calibration or the precisions do not fit the bundle.
        ToolError: A converter or runtime failed.
    """
    from mobilekit.jobs.diff_layers import LayersRequest, layers

    request = LayersRequest(bundle, inputs, reference, calibration, split_words(precision), device)
    return layers(request, Cache.default(), tell)
