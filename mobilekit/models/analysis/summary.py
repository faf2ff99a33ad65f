"""A reference model in figures: measured beside published."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.analysis.stages import StageRow, stage_table
from mobilekit.models.registry import ModelEntry, Published
from mobilekit.store.jsonable import ABSENT_IF_NONE, Jsonable


@dataclass(frozen=True)
class Deviation(Jsonable):
    """By which share of the published figure the measured one is larger; None where nothing is published."""

    params: float | None
    macs: float | None


@dataclass(frozen=True)
class ModelSummary(Jsonable):
    """What `mobilekit models` says of a model."""

    name: str
    params: int
    macs: int
    """Multiply-accumulates of one input."""
    input: tuple[int, int, int]
    """(C, H, W)."""
    classes: int
    published: Published
    deviation: Deviation
    paper: str
    trained_weights: bool
    """Whether trained weights come with mobilekit."""
    options: tuple[str, ...]
    """Names of the options that a recipe may set."""
    stages: tuple[StageRow, ...] | None = field(default=None, metadata=ABSENT_IF_NONE)
    """Of one model that was asked for by its name."""


ModelSummaries = tuple[ModelSummary, ...]


def summarize(entry: ModelEntry, with_stages: bool = False) -> ModelSummary:
    """Return a model's figures; it is built without memory for its weights."""
    with torch.device("meta"):
        model = entry.create()
    shape = (entry.in_channels, entry.input_size, entry.input_size)
    params, macs, published = count_params(model), count_macs(model, (1, *shape)), entry.published
    return ModelSummary(
        name=entry.name,
        params=params,
        macs=macs,
        input=shape,
        classes=entry.num_classes,
        published=published,
        deviation=Deviation(_share(params, published.params), _share(macs, published.macs)),
        paper=entry.paper,
        trained_weights=entry.weights is not None,
        options=tuple(entry.option_names()),
        stages=tuple(stage_table(model, (1, *shape))) if with_stages else None,
    )


def _share(measured: int, published: int | None) -> float | None:
    return measured / published - 1 if published else None
