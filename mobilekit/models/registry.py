"""The list of reference models, with what their authors published.

A file of models/families registers each of its models as `ModelEntry(name="...", ...)`, the name written out. The files
are found by looking; `mobilekit.models.names.registered_names` reads the names from them without torch.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from mobilekit.errors import UsageError, nearest
from mobilekit.models import families
from mobilekit.models.names import family_names, nearest_models
from mobilekit.store.jsonable import Jsonable

Build = TypeVar("Build", bound=Callable[..., nn.Module])


@dataclass(frozen=True, kw_only=True)
class Published(Jsonable):
    """Figures that others published; None where they did not."""

    params: int | None = None
    """Number of parameters."""
    macs: int | None = None
    """Multiply-accumulates of one 224 x 224 image."""
    top1: float | None = None
    """ImageNet top-1 accuracy in percent."""
    phone_latency_ms: float | None = None
    """Milliseconds an image on `phone`."""
    phone: str = ""
    """Device, and what is known of threads and runtime, that the latency was measured with."""
    source: str = ""
    """Where the figures stand."""


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """Trained weights that a library has for a model."""

    name: str
    """What the library calls them."""
    find: Callable[[], Path | None]
    """Returns the file where they are on the disk."""
    fetch: Callable[[], None]
    """Downloads them, or raises ToolError."""
    load: Callable[[nn.Module], None]
    """Fills a model with them from the disk, or raises UsageError where they do not fit."""
    labels: tuple[str, ...] = ()
    """Names of the classes, in the order of the outputs."""


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A reference model's builder and the data beside it."""

    name: str
    build: Callable[..., nn.Module]
    paper: str
    input_size: int = 224
    in_channels: int = 3
    """0 where it is not known before the model is run."""
    num_classes: int = 1000
    published: Published = Published()
    weights: str | None = None
    """File in mobilekit/models/checkpoints with trained weights, if any come with mobilekit."""
    pretrained: Pretrained | None = None
    """Trained weights that the model's library has."""
    config: Path | None = None
    """File that decides what `build` makes."""
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """Parts of a recipe's `input` that the model itself asks for."""
    preprocessing_from: str = ""
    """What says these, such as `timm's config`."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Options that this entry gives to `build`."""

    def create(self, **options: Any) -> nn.Module:
        """Build the model in evaluation mode with fresh weights.

        Args:
            options: Override the entry's defaults; see `option_names`.

        Raises:
            UsageError: The model has no such option, or a value is wrong.
        """
        unknown = sorted(set(options) - set(self.option_names()))
        if unknown and not self._takes_any_option():
            raise UsageError(f"{self.name} has no option {unknown[0]}.", nearest(unknown[0], self.option_names()))
        try:
            return self.build(**{**self.defaults, **options}).eval()
        except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise UsageError(f"{self.name}: {error}.") from error

    def option_names(self) -> list[str]:
        """Return the names of the options that `create` takes."""
        parameters = inspect.signature(self.build).parameters.values()
        return [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]

    def _takes_any_option(self) -> bool:
        parameters = inspect.signature(self.build).parameters.values()
        return any(one.kind is one.VAR_KEYWORD for one in parameters)


def takes_fields_of(options: type) -> Callable[[Build], Build]:
    """Let a builder's `**keywords` be the fields of a dataclass, which then stand in its signature.

    So a group of options is stated once, with names, types and defaults, where it is checked.
    """

    def name_them(build: Build) -> Build:
        own = inspect.signature(build)
        kept = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        fields = [one.replace(kind=one.KEYWORD_ONLY) for one in inspect.signature(options).parameters.values()]
        build.__signature__ = own.replace(parameters=[*kept, *fields])  # type: ignore[attr-defined]
        return build

    return name_them


_ENTRIES: dict[str, ModelEntry] = {}


def register(entry: ModelEntry) -> None:
    """Add a reference model to the list.

    Raises:
        ValueError: The name is taken.
    """
    if entry.name in _ENTRIES:
        raise ValueError(f"a model named {entry.name} is registered already")
    _ENTRIES[entry.name] = entry


def model_names() -> list[str]:
    """Return the names of all reference models, sorted."""
    _import_models()
    return sorted(_ENTRIES)


def find_model(name: str) -> ModelEntry:
    """Return the reference model of this name.

    Raises:
        UsageError: There is none; the nearest names are in the message.
    """
    _import_models()
    if name not in _ENTRIES:
        raise UsageError(f"There is no model {name}.", nearest_models(name, _ENTRIES))
    return _ENTRIES[name]


def _import_models() -> None:
    for name in family_names():  # each registers its entries
        importlib.import_module(f"{families.__name__}.{name}")
