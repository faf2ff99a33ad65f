"""torchvision's models, by name, with the weights that it has for them."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.errors import ToolError, UsageError, first_line, nearest
from mobilekit.models.names import distinct
from mobilekit.models.registry import ModelEntry, Pretrained
from mobilekit.models.weights import State, fill, read_checkpoint

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.(\d\.(?:weight|bias|running_mean|running_var))")
"""Names in DenseNets' checkpoints, which are older than the layers' names; torchvision joins the two parts, too."""


def torchvision_entry(spec: str, name: str) -> ModelEntry:
    """Return torchvision's model of this name, with its default weights and their preprocessing.

    Raises:
        ToolError: torchvision cannot be imported.
        UsageError: It has no such model.
    """
    try:
        import torchvision
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        raise ToolError(
            f"{spec} needs torchvision, which cannot be imported: {first_line(error)}.",
            "`pip install torchvision` brings it; in a checkout, `make export MODEL=torchvision:NAME` does.",
        ) from error
    known = [one for one in models.list_models() if not one.startswith("quantized_")]
    if name not in known:
        raise UsageError(f"torchvision has no model {name}.", nearest(name, known))
    enum = models.get_model_weights(name)
    weights = getattr(enum, "DEFAULT", None) or next(iter(enum), None)

    def build(**options: Any) -> nn.Module:
        builder = models.get_model_builder(name)
        parts = inspect.signature(builder).parameters
        backbone = {"weights_backbone": None} if "weights_backbone" in parts else {}  # else these are downloaded
        model: nn.Module = builder(**{"weights": None, **backbone, **options})
        return model

    preprocessing = _preprocessing(weights) if weights else {}
    return ModelEntry(
        name=spec,
        build=build,
        paper=f"torchvision {torchvision.__version__}",
        input_size=preprocessing.get("size", 224),
        num_classes=len(weights.meta.get("categories", ())) or 1000 if weights else 1000,
        pretrained=_pretrained(spec, weights) if weights else None,
        preprocessing=preprocessing,
        preprocessing_from="torchvision's weights",
    )


def _preprocessing(weights: Any) -> dict[str, Any]:
    """Return how these weights want pictures, as a recipe's `input` says it; of detectors torchvision says nothing."""
    asked = weights.transforms()
    resized = (getattr(asked, "resize_size", None) or [0])[0]
    size = (getattr(asked, "crop_size", None) or [resized])[0]
    if not size or not hasattr(asked, "mean"):
        return {}
    mean, std = tuple(asked.mean), tuple(asked.std)
    resize = {"filter": asked.interpolation.value}  # Pillow always antialiases
    return {"size": size, "crop": min(1.0, size / resized), "resize": resize, "mean": mean, "std": std}


def _pretrained(spec: str, weights: Any) -> Pretrained:
    def find() -> Path | None:
        place = Path(torch.hub.get_dir(), "checkpoints", Path(weights.url).name)
        return place if place.is_file() else None

    def fetch() -> None:
        try:
            torch.hub.load_state_dict_from_url(
                weights.url, map_location="cpu", check_hash=True, progress=False, weights_only=True
            )
        except (OSError, RuntimeError) as error:
            raise ToolError(
                f"{weights.name} of {spec} cannot be downloaded: {first_line(error)}.",
                f"Where there is a network, save {Path(weights.url).name}, and give it by --weights.",
            ) from error

    def load(model: nn.Module) -> None:
        place = find()
        assert place
        fill(model, _with_new_names(read_checkpoint(place)), place)

    is_classifier = hasattr(weights.transforms(), "crop_size")  # a segmentation net has its classes in a map's channels
    labels = distinct(weights.meta.get("categories", ())) if is_classifier else ()
    return Pretrained(name=f"{weights.name} of torchvision", find=find, fetch=fetch, load=load, labels=labels)


def _with_new_names(state: State) -> State:
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}
