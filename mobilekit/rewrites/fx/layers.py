"""torch's layers and DFC's linear maps as one call each: rewrites change their weights, and training needs them."""

from __future__ import annotations

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.models.dfc import FullyConnected
from mobilekit.rewrites.fx.lowered import Lowered

_LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
    *(nn.Linear, nn.Embedding, nn.PReLU),
)
_OWN = (FullyConnected, Lowered)


def keep_layers(graph: GraphModule, model: nn.Module) -> None:
    """Put a call of the layer in the place of the operators that stand in its `forward`.

    Args:
        graph: Of the model; its nodes carry the stack of modules in whose `forward` they stand.
        model: What was exported, whose layers are taken.
    """
    paths = {path for path, module in model.named_modules(remove_duplicate=False) if path and _is_layer(module)}
    for nodes, path in _regions(graph, paths):
        _call_instead(graph, model, nodes, path)


def name_calls(graph: GraphModule) -> None:
    """Let each call of a layer in a graph, and nothing else, have the layer in its stack of modules, in place.

    torch.export takes the stack from the node where it exports a graph, and a rewrite gives what it makes the stack of
    the node that was there.
    """
    layers = {str(node.target) for node in graph.graph.nodes if node.op == "call_module"}
    for node in graph.graph.nodes:
        if node.op == "call_function":
            above = node.meta.get("nn_module_stack") or {}
            node.meta["nn_module_stack"] = {key: one for key, one in above.items() if one[0] not in layers}
        elif node.op == "call_module":
            path = str(node.target)
            kind = type(graph.get_submodule(path))
            own = {f"{path}@{node.name}": (path, f"{kind.__module__}.{kind.__qualname__}")}
            above = node.meta.get("nn_module_stack") or {}
            node.meta["nn_module_stack"] = {key: one for key, one in above.items() if one[0] != path} | own


def _is_layer(module: nn.Module) -> bool:
    """Return whether the call of a module stays one node: one of torch's own, with torch's own `forward`."""
    if isinstance(module, _OWN):
        return True
    kind = next((kind for kind in _LAYERS if isinstance(module, kind)), None)
    changes = module._forward_hooks or module._forward_pre_hooks or hasattr(module, "parametrizations")
    return kind is not None and type(module).forward is kind.forward and not changes


def _regions(graph: GraphModule, paths: set[str]) -> list[tuple[list[Node], str]]:
    """Return the nodes of each call of a module at these paths; a second call of one is a region of its own."""
    regions: dict[str, tuple[list[Node], str]] = {}
    for node in graph.graph.nodes:
        stack = node.meta.get("nn_module_stack", {}) if node.op == "call_function" else {}
        for key, (path, _kind) in stack.items():
            if path in paths:
                regions.setdefault(key, ([], path))[0].append(node)
                break
    return list(regions.values())


def _call_instead(graph: GraphModule, model: nn.Module, nodes: list[Node], path: str) -> None:
    """Call the module at `path` in the place of its nodes, if they take one tensor and make one."""
    inside = set(nodes)
    taken = [source for node in nodes for source in node.all_input_nodes if source not in inside]
    sources = list(dict.fromkeys(source for source in taken if source.op != "get_attr" and _is_tensor(source)))
    results = [node for node in nodes if any(user not in inside for user in node.users)]
    if len(results) != 1 or len(sources) != 1:
        return
    graph.add_submodule(path, model.get_submodule(path))
    with graph.graph.inserting_before(results[0]):
        new = graph.graph.call_module(path, tuple(sources))
    new.meta = dict(results[0].meta)
    results[0].replace_all_uses_with(new)
    for node in reversed(nodes):
        graph.graph.erase_node(node)


def _is_tensor(node: Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)
