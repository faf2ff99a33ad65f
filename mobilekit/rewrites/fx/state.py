"""Which tensors of a model's state a rewritten model has, and what became of the others."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import chain

import torch
from torch import nn
from torch.fx import GraphModule


@dataclass(frozen=True)
class StateChange:
    """The keys of a state that one step took away, and those that it made of them."""

    step: str
    """The rewrite's name; `graph` for layers made of what the model calls as functions on its own tensors."""
    gone: tuple[str, ...]
    new: tuple[str, ...]


def state_change(step: str, before: Set[str], graph: GraphModule) -> StateChange | None:
    """Return what a step did to the keys of a graph's state; None if nothing."""
    after = graph.state_dict().keys()
    gone, new = tuple(sorted(before - after)), tuple(key for key in after if key not in before)
    return StateChange(step, gone, new) if gone or new else None


def drop_unread(graph: GraphModule) -> None:
    """Take away the tensors that no node of a graph reads and no layer that it calls holds."""
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr"}
    called = tuple(f"{node.target}." for node in graph.graph.nodes if node.op == "call_module")
    for key, _tensor in list(_tensors(graph)):
        if key not in read and not key.startswith(called):
            path, _, name = key.rpartition(".")
            delattr(graph.get_submodule(path), name)
    graph.delete_all_unused_submodules()


def note_unused(graph: GraphModule, model: nn.Module) -> None:
    """Note in `meta["unused"]` the tensors that a model keeps and its graph does not read, by their keys.

    Args:
        graph: Captured of the model, with whose tensors it shares memory.
        model: The module that was captured.
    """
    read = {_memory(tensor) for _key, tensor in _tensors(graph)}
    kept = model.state_dict().keys()
    graph.meta["unused"] = {key: one for key, one in _tensors(model) if key in kept and _memory(one) not in read}


def with_unused(graph: GraphModule) -> GraphModule:
    """Return a graph with what `note_unused` noted, so that its state loads into the class of the original."""
    for key, tensor in graph.meta.get("unused", {}).items():
        path, _, name = key.rpartition(".")
        if path and path not in dict(graph.named_modules()):
            graph.add_submodule(path, nn.Module())
        owner = graph.get_submodule(path)
        if not hasattr(owner, name):
            value = tensor.detach().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            setattr(owner, name, nn.Parameter(value)) if is_parameter else owner.register_buffer(name, value)
    return graph


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    return chain(module.named_parameters(remove_duplicate=False), module.named_buffers(remove_duplicate=False))


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata  # type: ignore[no-any-return]
