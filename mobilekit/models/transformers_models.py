"""Image models of transformers: from a folder with a config.json, or from the hub's cache."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.errors import ToolError, UsageError, first_line
from mobilekit.models.names import TRANSFORMERS, distinct
from mobilekit.models.registry import ModelEntry, Pretrained

_CONFIG = "config.json"
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}
"""Filters by the numbers that Pillow has for them."""
_WARPED_FROM = 384
"""Side from which on a ConvNeXt's processor crops no more (`ConvNextImageProcessor.resize` of transformers)."""
_FILES = ("*.json", "*.safetensors")
"""Of a model on the hub; weights in other formats are not taken, as loading them could run code."""


def transformers_entry(spec: str, name: str, may_download: bool = False) -> ModelEntry:
    """Return the image model in a folder or in the hub's cache, with its own preprocessing and labels.

    Args:
        spec: What the user calls it.
        name: The folder, or the model's name on the hub.
        may_download: Fetch what is not in the cache.

    Raises:
        ToolError: transformers cannot be imported, or nothing can be downloaded.
        UsageError: There is no such folder or name, or what is there is no image model of transformers.
    """
    try:
        import transformers
    except (ImportError, RuntimeError) as error:
        raise ToolError(
            f"{spec} needs transformers, which cannot be imported: {first_line(error)}.",
            "`pip install transformers torchvision` brings it; in a checkout, `make export MODEL=hf:NAME` does.",
        ) from error
    folder = _folder(spec, name, may_download)
    transformers.utils.logging.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{folder / _CONFIG} is no config that transformers {transformers.__version__} knows: {first_line(error)}.",
            "A model that needs code of its own is exported as FILE.py:FACTORY.",
        ) from error
    kind = _class_of(transformers, config, folder)

    def build(num_classes: int | None = None) -> nn.Module:
        own = transformers.AutoConfig.from_pretrained(str(folder), local_files_only=True)
        if num_classes is not None:
            own.num_labels = num_classes
        model: nn.Module = kind(own)
        return model

    channels = getattr(config, "num_channels", 3)
    preprocessing = _preprocessing(folder, config)
    return ModelEntry(
        name=spec,
        build=build,
        paper=f"transformers {transformers.__version__}, {kind.__name__}",
        in_channels=channels,
        num_classes=config.num_labels,
        pretrained=_pretrained(folder, kind, config),
        config=folder / _CONFIG,
        preprocessing=preprocessing,
        preprocessing_from="transformers' config",
    )


def _folder(spec: str, name: str, may_download: bool) -> Path:
    """Return the folder of a model: the one that is named, or the one in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / _CONFIG).is_file():
            raise UsageError(
                f"{folder} has no {_CONFIG}.", "`model.save_pretrained(FOLDER)` makes a folder of a model."
            )
        return folder
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FILES), local_files_only=not may_download))
    except (HFValidationError, LocalEntryNotFoundError) as error:
        if may_download and isinstance(error, LocalEntryNotFoundError):
            raise _cannot_download(spec, error) from error
        raise UsageError(
            f"There is no folder {folder}, and no model of that name in the hub's cache.",
            f"--pretrained downloads a model of the hub: {TRANSFORMERS}OWNER/NAME.",
        ) from error
    except Exception as error:  # of several libraries, each with its own for what a network can do
        raise _cannot_download(spec, error) from error


def _cannot_download(spec: str, error: Exception) -> ToolError:
    told = first_line(error)
    return ToolError(
        f"{spec} cannot be downloaded: {told}.",
        "Where there is a network, save it by `model.save_pretrained(FOLDER)`, and name it hf:FOLDER.",
    )


def _class_of(transformers: Any, config: Any, folder: Path) -> Any:
    """Return the class of a config's model.

    Raises:
        UsageError: transformers has none, or it takes no pictures.
    """
    names = getattr(config, "architectures", None) or []
    kind = getattr(transformers, names[0], None) if names else None
    if kind is None:
        mapping = transformers.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING
        kind = mapping.get(type(config), None)
    if kind is None or not issubclass(kind, nn.Module) or getattr(kind, "main_input_name", "") != "pixel_values":
        what = names[0] if names else type(config).__name__
        raise UsageError(f"{folder} holds {what}, which is no image model of transformers.")
    return kind


def _preprocessing(folder: Path, config: Any) -> dict[str, Any]:
    """Return how the model wants pictures, as a recipe's `input` says it.

    A processor gives `(value * rescale_factor - mean) / std` of values in 0..255, less 1 before the mean where it has
    a `rescale_offset`; here values are in 0..1. One that has both sides of the size stretches a picture to them, and
    one that has its shorter side keeps its shape. A ConvNeXt's processor stretches from 384 pixels on.
    """
    path = folder / "preprocessor_config.json"
    told: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    size = _sides(told.get("crop_size")) if told.get("do_center_crop") else None
    resized = _sides(told.get("size"))
    size = size or resized or _sides(getattr(config, "image_size", None))
    found: dict[str, Any] = {"size": size} if size else {}
    if not told or not size:
        return found
    scale = 255 * (told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 1)
    offset = 1.0 if told.get("rescale_offset") else 0.0
    channels, is_mobilevit = getattr(config, "num_channels", 3), "MobileViT" in str(told.get("image_processor_type"))
    normal = told.get("do_normalize", not is_mobilevit)  # whose processor normalizes only where that is said
    mean = told.get("image_mean") if normal else None
    std = told.get("image_std") if normal else None
    if std and told.get("include_top"):  # EfficientNet's processor divides by it once more
        std = [value * value for value in std]
    share = told.get("crop_pct") or (min(size) / min(resized) if resized else 1.0)
    is_large = "crop_pct" in told and min(size) >= _WARPED_FROM
    return {
        **found,
        "crop": 1.0 if is_large else min(1.0, share),
        "resize": _resize(told, is_large),
        "mean": tuple((value + offset) / scale for value in mean or [0.0] * channels),
        "std": tuple(value / scale for value in std or [1.0] * channels),
        **({"color": "gray"} if channels == 1 else {"color": "bgr"} if told.get("do_flip_channel_order") else {}),
    }


def _resize(told: dict[str, Any], is_warped: bool) -> dict[str, Any]:
    """Return filter and mode of a processor's resizing; what it does not say is left to the recipe."""
    size = told.get("size")
    has_both = isinstance(size, dict) and "shortest_edge" not in size
    is_plain = isinstance(size, int | list | tuple) and not told.get("do_center_crop")
    resize = {"mode": "stretch" if has_both or is_plain or is_warped else "crop"}
    known = _FILTERS.get(told.get("resample", -1))
    return {**resize, "filter": known} if known else resize


def _sides(size: Any) -> tuple[int, int] | None:
    """Return height and width of what a config calls a size; None where it says none."""
    if isinstance(size, dict):
        side = size.get("shortest_edge")
        size = (size.get("height", side), size.get("width", side))
    sides = (size, size) if isinstance(size, int) else size
    if not isinstance(sides, list | tuple) or len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        return None
    return sides[0], sides[1]


def _pretrained(folder: Path, kind: Any, config: Any) -> Pretrained:
    def find() -> Path | None:
        return next(iter(sorted(folder.glob("*.safetensors"))), None)

    def fetch() -> None:
        raise UsageError(f"{folder} has no weights as safetensors.", "`model.save_pretrained(FOLDER)` writes them.")

    def load(model: nn.Module) -> None:
        place = str(folder)
        trained, told = kind.from_pretrained(
            place, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
        missing = sorted(told["missing_keys"])
        if missing:
            raise UsageError(f"{find()} does not fit the model: {len(missing)} missing: {', '.join(missing[:3])}.")
        try:
            model.load_state_dict(trained.state_dict())
        except RuntimeError as error:
            raise UsageError(f"{find()} does not fit the model: {first_line(error)}.") from error

    names = [str(config.id2label[number]) for number in sorted(config.id2label)]
    are_numbers = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    is_classifier = kind.__name__.endswith("ForImageClassification")  # others have their classes in a map's channels
    labels = distinct(names) if is_classifier and not are_numbers else ()
    return Pretrained(name="those of the folder", find=find, fetch=fetch, load=load, labels=labels)
