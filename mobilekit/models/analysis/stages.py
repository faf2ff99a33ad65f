"""A model's parameters and multiply-accumulates stage by stage, and by kind of operation."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mobilekit.models.dfc import FullyConnected
from mobilekit.store.jsonable import Jsonable

KINDS = ("pointwise", "depthwise", "conv", "linear", "matmul", "dfc")
"""1x1 convolutions, dense or grouped; convolutions with a group for each channel; other convolutions; linear layers;
products of two computed matrices, as in attention; DFC's linear maps."""
_CONTAINERS = ("blocks", "stages", "features")
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_REST = "(model)"


@dataclass
class StageRow(Jsonable):
    """One stage: a top-level module, or a member of a top-level `blocks`, `stages` or `features`.

    What a model computes or holds outside these is in a row of its own, "(model)".
    """

    name: str
    shape: tuple[int, ...] = ()
    """Shape of its output without the batch: (C, H, W), or (features,); () where it returns no tensor."""
    params: int = 0
    macs: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    """Multiply-accumulates of each of `KINDS` that the stage has."""


def stage_table(model: nn.Module, shape: tuple[int, ...]) -> list[StageRow]:
    """Return the stages that have parameters or multiply-accumulates; they sum to `count_params` and `count_macs`.

    Args:
        model: May live on any device, `meta` included (nothing is computed there).
        shape: Shape of the input, NCHW, batch of 1.
    """
    rows = {name: StageRow(name) for name in (*_stage_names(model), _REST)}
    for path, parameter in model.named_parameters():
        rows[_row_of(path, rows)].params += parameter.numel()
    run = _Run(model, shape)
    for path, module in model.named_modules():
        row = rows[_row_of(path, rows)]
        for kind, macs in _macs_by_kind(module, run.flops[path], run.shapes.get(path, ())).items():
            row.kinds[kind] = row.kinds.get(kind, 0) + macs
            row.macs += macs
    for row in rows.values():
        path = "" if row.name == _REST else row.name
        row.shape = run.shapes.get(path, ())[1:]
    return [row for row in rows.values() if row.params or row.macs]


def _stage_names(model: nn.Module) -> list[str]:
    names = []
    for name, child in model.named_children():
        members = [f"{name}.{member}" for member, _ in child.named_children()] if name in _CONTAINERS else []
        names += members or [name]
    return names


def _row_of(path: str, rows: dict[str, StageRow]) -> str:
    """Return the row that a module or parameter of this path belongs to."""
    parts = path.split(".")
    return next((name for name in (parts[0], ".".join(parts[:2])) if name in rows), _REST)


class _Run:
    """One run of a model: what each module itself computes, and the shape that it returns."""

    def __init__(self, model: nn.Module, shape: tuple[int, ...]) -> None:
        self.flops: dict[str, Counter[Any]] = {path: Counter() for path, _ in model.named_modules()}
        """By path and ATen operator; what a module's children compute is theirs alone."""
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._running = [""]
        self._seen: Counter[Any] = Counter()
        self._counter = FlopCounterMode(display=False)
        hooks = []
        for path, module in model.named_modules():
            hooks.append(module.register_forward_pre_hook(lambda _module, _inputs, path=path: self._enter(path)))
            hooks.append(module.register_forward_hook(lambda _module, _inputs, out, path=path: self._leave(path, out)))
        try:
            with torch.no_grad(), self._counter:
                model(torch.empty(shape, device=next(model.parameters()).device))
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, path: str) -> None:
        self._settle()
        self._running.append(path)

    def _leave(self, path: str, output: Any) -> None:
        self._settle()
        self._running.pop()
        if isinstance(output, torch.Tensor):
            self.shapes[path] = tuple(output.shape)

    def _settle(self) -> None:
        """Give what was counted since the last call to the module that has been running."""
        total = Counter(self._counter.flop_counts["Global"])
        self.flops[self._running[-1]] += total - self._seen
        self._seen = total


def _macs_by_kind(module: nn.Module, flops: Counter[Any], shape: tuple[int, ...]) -> dict[str, int]:
    """Return what a module itself computes, without its children, for an output of this shape."""
    if isinstance(module, FullyConnected) and shape:
        return {"dfc": module.macs(shape[-2], shape[-1])}
    kinds: dict[str, int] = {}
    for operator, count in flops.items():
        kind = _kind(module, str(operator))
        kinds[kind] = kinds.get(kind, 0) + count // 2
    return kinds


def _kind(module: nn.Module, operator: str) -> str:
    if isinstance(module, nn.Linear):
        return "linear"
    if not isinstance(module, _CONVOLUTIONS):
        return "conv" if "convolution" in operator else "matmul"
    if math.prod(module.kernel_size) == 1:
        return "pointwise"
    return "depthwise" if module.groups == module.in_channels > 1 else "conv"
