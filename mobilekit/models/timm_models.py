"""timm's models, by name."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from torch import nn

from mobilekit.errors import UsageError, first_line, nearest
from mobilekit.models.registry import ModelEntry
from mobilekit.store.manifest import TIMM_CONFIG


def import_timm() -> ModuleType:
    """Return timm.

    Raises:
        ImportError: timm or torchvision is not installed.
    """
    import timm

    module: ModuleType = timm
    return module


def timm_entry(spec: str, name: str) -> ModelEntry:
    """Return timm's model of this name, with the preprocessing that timm has for it.

    Raises:
        UsageError: timm cannot be imported, or has no such model.
    """
    try:
        timm = import_timm()
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            f"{spec} needs timm, which cannot be imported: {first_line(error)}.",
            "`pip install timm` brings it; in a checkout, `make export MODEL=timm:NAME` does.",
        ) from error
    if name not in timm.list_models():
        raise UsageError(f"timm has no model {name}.", nearest(name, timm.list_models()))
    settings = timm.get_pretrained_cfg(name)
    size = settings.input_size if settings else (3, 224, 224)

    def build(**options: Any) -> nn.Module:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
        return model

    classes = settings.num_classes if settings else 1000
    preprocessing = (
        {"size": size[1:], "crop": settings.crop_pct, "mean": settings.mean, "std": settings.std} if settings else {}
    )
    source = f"timm {timm.__version__}"
    return ModelEntry(
        name=spec,
        build=build,
        paper=source,
        input_size=size[-1],
        in_channels=size[0],
        num_classes=classes,
        preprocessing=preprocessing,
        preprocessing_from=TIMM_CONFIG,
    )
