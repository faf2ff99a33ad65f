"""Parameters and multiply-accumulates, counted as the papers count them."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mobilekit.models.dfc import FullyConnected


def count_params(model: nn.Module) -> int:
    """Return the number of parameters; buffers, such as batch norm statistics, are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, *shapes: tuple[int, ...]) -> int:
    """Return the multiply-accumulates of convolutions, linear layers and matrix products for one input.

    A shift-invariant fully connected map counts the taps inside its band, not the zeros of its matrix, as the
    papers do.

    Args:
        model: May live on any device, `meta` included (nothing is computed there).
        shapes: Shape of each input in the order in which the model takes them, the first NCHW, batch of 1.
    """
    device = next(model.parameters()).device
    maps: dict[str, tuple[int, int]] = {}
    hooks = [
        module.register_forward_pre_hook(_note_size(name, maps))
        for name, module in model.named_modules()
        if isinstance(module, FullyConnected)
    ]
    counter = FlopCounterMode(depth=64, display=False)
    try:
        with torch.no_grad(), counter:
            model(*(torch.empty(shape, device=device) for shape in shapes))
    finally:
        for hook in hooks:
            hook.remove()
    flops = counter.get_flop_counts()
    macs = sum(flops["Global"].values()) // 2
    modules = dict(model.named_modules())
    for name, (height, width) in maps.items():
        counted = sum(flops.get(f"{type(model).__name__}.{name}", {}).values()) // 2
        module = modules[name]
        assert isinstance(module, FullyConnected)
        macs += module.macs(height, width) - counted
    return macs


def _note_size(name: str, maps: dict[str, tuple[int, int]]):  # type: ignore[no-untyped-def]
    def note(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        maps[name] = (inputs[0].shape[-2], inputs[0].shape[-1])

    return note
