"""GhostNetV2: GhostNet with DFC attention beside the first ghost module of a bottleneck.

Source: GhostNetV2, arXiv 2211.12905, section 4.3.
"""

from __future__ import annotations

from typing import Literal

from mobilekit.models.dfc import DFCOptions
from mobilekit.models.families.ghostnet import GhostNet
from mobilekit.models.layers import Rounding
from mobilekit.models.registry import ModelEntry, Published, register


def ghostnetv2(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem_stride: int = 2,
    head_channels: int = 1280,
    se_rounding: Rounding = "nearest",
    weights: Literal["shared", "dense"] = "shared",
    kernel_size: int = 5,
    pool: Literal["avg", "max"] = "avg",
    upsample: Literal["nearest", "bilinear"] = "nearest",
    gate: Literal["before", "after"] = "before",
    order: Literal["horizontal-first", "vertical-first"] = "horizontal-first",
    input_size: int = 224,
    features_only: bool = False,
) -> GhostNet:
    """Build GhostNetV2; see `GhostNet` and `DFCOptions` for the options."""
    dfc = DFCOptions(weights, kernel_size, pool, upsample, gate, order)
    return GhostNet(
        width, num_classes, in_channels, stem_stride, head_channels, se_rounding, dfc, input_size, features_only
    )


_PAPER = "GhostNetV2: Enhance Cheap Operation with Long-Range Attention, arXiv 2211.12905"
_PHONE = "ARM phone, TFLite; read off a figure, to about 0.5 ms"
_SOURCE = "arXiv 2211.12905, ImageNet results, and its figure of latency"

for _name, _width, _published in (
    ("ghostnetv2", 1.0, Published(None, 167_000_000, 75.3, 37.5, _PHONE, _SOURCE)),
    ("ghostnetv2_130", 1.3, Published(None, 269_000_000, 76.9, 56.5, _PHONE, _SOURCE)),
    ("ghostnetv2_160", 1.6, Published(None, 399_000_000, 77.8, 77.5, _PHONE, _SOURCE)),
):
    register(ModelEntry(_name, ghostnetv2, _PAPER, 224, 3, 1000, _published, defaults={"width": _width}))

register(
    ModelEntry(
        "ghostnetv2_digits",
        ghostnetv2,
        _PAPER,
        input_size=32,
        in_channels=1,
        num_classes=10,
        published=Published(),
        weights="ghostnetv2_digits.safetensors",
        defaults={
            "width": 0.25,
            "num_classes": 10,
            "in_channels": 1,
            "stem_stride": 1,
            "head_channels": 256,
            "input_size": 32,
        },
    )
)
