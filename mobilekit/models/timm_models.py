"""timm's models, by name."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from mobilekit.errors import ToolError, UsageError, first_line, nearest
from mobilekit.models.registry import ModelEntry, Pretrained
from mobilekit.models.weights import read_checkpoint
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
    source = f"timm {timm.__version__}"
    return ModelEntry(
        name=spec,
        build=build,
        paper=source,
        input_size=size[-1],
        in_channels=size[0],
        num_classes=classes,
        pretrained=_pretrained(timm, spec, name, settings) if settings else None,
        preprocessing=_preprocessing(settings) if settings else {},
        preprocessing_from=TIMM_CONFIG,
    )


_MODES = {"center": "crop", "squash": "stretch", "border": "pad"}
"""timm's ways to give a picture the input's shape, as a recipe names them."""
_FILTERS = ("bilinear", "bicubic", "nearest", "lanczos")
_HUB_FILE = "model.safetensors"


def _preprocessing(settings: Any) -> dict[str, Any]:
    """Return how a model wants pictures, as a recipe's `input` says it."""
    resize = {"mode": _MODES.get(settings.crop_mode, "crop")}
    if settings.interpolation in _FILTERS:
        resize["filter"] = settings.interpolation
    side = min(settings.input_size[1:])
    return {
        "size": settings.input_size[1:],
        "crop": side / math.floor(side / settings.crop_pct),  # it scales to whole pixels, and cuts fractions off
        "resize": resize,
        "mean": settings.mean,
        "std": settings.std,
    }


def _pretrained(timm: Any, spec: str, name: str, settings: Any) -> Pretrained | None:
    """Return the weights that timm has for a model: on the hub, or at an address; None where it has none."""
    if not (settings.hf_hub_id or settings.url):
        return None
    repository, _, revision = (settings.hf_hub_id or "").partition("@")
    file = settings.hf_hub_filename or _HUB_FILE

    def find() -> Path | None:
        if repository:
            from huggingface_hub import try_to_load_from_cache

            found = try_to_load_from_cache(repository, file, revision=revision or None)
            return Path(found) if isinstance(found, str) else None
        place = Path(torch.hub.get_dir(), "checkpoints", Path(settings.url).name)
        return place if place.is_file() else None

    def fetch() -> None:
        try:
            if repository:
                from huggingface_hub import hf_hub_download

                hf_hub_download(repository, file, revision=revision or None)
            else:
                torch.hub.load_state_dict_from_url(settings.url, map_location="cpu", progress=False, weights_only=True)
        except Exception as error:  # of several libraries, each with its own for what a network can do
            raise ToolError(
                f"The weights of {spec} cannot be downloaded: {first_line(error)}.",
                f"Where there is a network, save {file if repository else settings.url}"
                f"{f' of {repository} on the hub' if repository else ''}, and give it by --weights.",
            ) from error

    def load(model: nn.Module) -> None:
        place = find()
        assert place
        # timm's own changes to names and shapes are those of a model that it makes with these weights.
        overlay = {"state_dict": read_checkpoint(place)}
        try:
            trained = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
            model.load_state_dict(trained.state_dict())
        except (RuntimeError, KeyError, ValueError) as error:
            raise UsageError(f"{place} does not fit the model: {first_line(error)}.") from error

    what = f"{settings.tag} of timm" if settings.tag else "those of timm"
    return Pretrained(name=what, find=find, fetch=fetch, load=load)
