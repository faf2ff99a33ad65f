"""GhostNetV2: GhostNet with DFC attention beside the first ghost module of a bottleneck.

Source: GhostNetV2, arXiv 2211.12905, section 4.3.
"""

from __future__ import annotations

from typing import Any

from mobilekit.models.dfc import DFCOptions
from mobilekit.models.families.ghostnet import GhostNet
from mobilekit.models.layers import Rounding
from mobilekit.models.registry import ModelEntry, Published, register, takes_fields_of


@takes_fields_of(DFCOptions)
def ghostnetv2(
    width: float = 1.0,
    num_classes: int = 1000,
    in_channels: int = 3,
    stem_stride: int = 2,
    head_channels: int = 1280,
    se_rounding: Rounding = "nearest",
    input_size: int = 224,
    features_only: bool = False,
    **dfc: Any,
) -> GhostNet:
    """Build GhostNetV2; see `GhostNet` for the options, and `DFCOptions` for those of its attention."""
    return GhostNet(
        width=width,
        num_classes=num_classes,
        in_channels=in_channels,
        stem_stride=stem_stride,
        head_channels=head_channels,
        se_rounding=se_rounding,
        dfc=DFCOptions(**dfc),
        input_size=input_size,
        features_only=features_only,
    )


_PAPER = "GhostNetV2: Enhance Cheap Operation with Long-Range Attention, arXiv 2211.12905"
_PHONE = "ARM phone, TFLite; read off a figure, to about 0.5 ms"
_SOURCE = "arXiv 2211.12905, ImageNet results, and its figure of latency"

register(
    ModelEntry(
        name="ghostnetv2",
        build=ghostnetv2,
        paper=_PAPER,
        published=Published(macs=167_000_000, top1=75.3, phone_latency_ms=37.5, phone=_PHONE, source=_SOURCE),
        defaults={"width": 1.0},
    )
)
register(
    ModelEntry(
        name="ghostnetv2_130",
        build=ghostnetv2,
        paper=_PAPER,
        published=Published(macs=269_000_000, top1=76.9, phone_latency_ms=56.5, phone=_PHONE, source=_SOURCE),
        defaults={"width": 1.3},
    )
)
register(
    ModelEntry(
        name="ghostnetv2_160",
        build=ghostnetv2,
        paper=_PAPER,
        published=Published(macs=399_000_000, top1=77.8, phone_latency_ms=77.5, phone=_PHONE, source=_SOURCE),
        defaults={"width": 1.6},
    )
)
register(
    ModelEntry(
        name="ghostnetv2_digits",
        build=ghostnetv2,
        paper=_PAPER,
        input_size=32,
        in_channels=1,
        num_classes=10,
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
