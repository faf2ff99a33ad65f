"""Which steps of a PyTorch graph int8 leaves in float: the same parts as `convert/float_regions.py` finds in TFLite's.

The two are told apart on purpose: the simulation of int8 must not rest on what a converter made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.errors import UsageError
from mobilekit.recipes.modules import is_inside
from mobilekit.rewrites.fx import ops
from mobilekit.rewrites.fx.graph import path_of
from mobilekit.rewrites.fx.ops import Op, is_call

aten = torch.ops.aten

DENSE = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_DENSE = Op((aten.linear.default, aten.conv1d.default, aten.conv2d.default, aten.conv_transpose2d.input), DENSE)
_PRODUCTS = Op((*ops.MATRIX_PRODUCT.targets, aten.einsum.default))
_ATTENTION = Op((aten.scaled_dot_product_attention.default, *ops.SOFTMAX.targets))
_NORMS = Op(
    (
        aten.rsqrt.default,
        aten.sqrt.default,
        aten.var.correction,
        aten.var.dim,
        aten.std.correction,
        aten.std.dim,
        aten.var_mean.correction,
        aten.linalg_vector_norm.default,
        aten.layer_norm.default,
        aten.group_norm.default,
        aten.instance_norm.default,
        aten.rms_norm.default,
    ),
    (nn.LayerNorm, nn.GroupNorm),
)
_COORDINATES = Op((aten.grid_sampler.default, aten.grid_sampler_2d.default))
_SUMS = Op((*ops.SUM.targets, *ops.MEAN.targets))


def float_nodes(graph: GraphModule, keep_float: Collection[str]) -> set[Node]:
    """Return the steps of parts that stay in float, in the words of the recipe's `int8.keep_float`.

    `hard-swish` and `residual-add` are no parts but single steps: see `float_results`.
    """
    seeds: list[Node] = []
    for word, (is_seed, goes_on) in _PARTS.items():
        found = [node for node in graph.graph.nodes if word in keep_float and is_seed(graph, node)]
        if word == "coordinates" and word in keep_float:
            found += _weighted_means(graph)
        seeds += _reach(graph, found, lambda node: node.users) if goes_on else found
    kept = _reach(graph, seeds, lambda node: node.all_input_nodes)
    if "coordinates" in keep_float:
        grids = [node.args[1] for node in graph.graph.nodes if _reads_at_coordinates(graph, node)]
        kept |= _makers_of(graph, [grid for grid in grids if isinstance(grid, Node)])
    return kept


def float_results(graph: GraphModule, keep_float: Collection[str]) -> set[Node]:
    """Return the steps that stay in float alone: what they give is rounded where an int8 op takes it.

    Those are, in the words of `int8.keep_float`, Hard-Swishes, and sums of two computed tensors, with the ReLU that is
    in the same op; and identities after them, which TFLite has not.
    """
    found: set[Node] = set()
    if "hard-swish" in keep_float:
        found |= {node for node in graph.graph.nodes if _is_hard_swish(graph, node)}
    if "residual-add" in keep_float:
        sums = {node for node in graph.graph.nodes if is_call(graph, node, ops.ADD) and len(_computed(node)) == 2}
        relus = {node for node in graph.graph.nodes if is_relu(graph, node) and sums & set(_fused_with(graph, node))}
        found |= sums | relus
    for node in graph.graph.nodes:
        if is_call(graph, node, ops.DROPOUT) and node.all_input_nodes[0] in found:
            found.add(node)
    return found


def nodes_inside(graph: GraphModule, modules: Collection[str]) -> set[Node]:
    """Return the steps of modules that stay in float, in the words of the recipe's `int8.float_modules`.

    An op of TFLite belongs to its dense layer: so do the identities after the layer and the ReLU in the same op.

    Raises:
        UsageError: One of the modules is not in the graph, or has no step.
    """
    steps = [node for node in graph.graph.nodes if node.op not in ("placeholder", "get_attr", "output")]
    missing = [name for name in modules if not any(is_inside(path_of(node), [name]) for node in steps)]
    if missing:
        raise UsageError(
            f"The recipe leaves {missing[0]} in float, and the rewritten model has no such module.",
            "`mobilekit quantize-search` finds modules that are worth it.",
        )
    kept: set[Node] = set()
    for node in steps:
        chain = _fused_with(graph, node) if is_relu(graph, node) else []
        source = node.all_input_nodes[0] if is_call(graph, node, ops.DROPOUT) else None
        if chain and is_dense(graph, chain[-1]):
            is_kept = chain[-1] in kept
        else:
            is_kept = is_inside(path_of(node), modules) if source is None else source in kept
        if is_kept:
            kept.add(node)
    return kept


def fused_nodes(graph: GraphModule) -> set[Node]:
    """Return the steps whose results TFLite never has, as one op makes them and the ReLU of them."""
    return {node for relu in graph.graph.nodes if is_relu(graph, relu) for node in _fused_with(graph, relu)}


def hard_swished_nodes(graph: GraphModule) -> set[Node]:
    """Return the steps that Hard-Swishes alone read, perhaps through identities."""
    found: set[Node] = set()
    for node in reversed(graph.graph.nodes):
        if node.users and all(
            _is_hard_swish(graph, user) or _is_identity_in(graph, user, found) for user in node.users
        ):
            found.add(node)
    return found


def _is_identity_in(graph: GraphModule, node: Node, found: set[Node]) -> bool:
    return node in found and is_call(graph, node, ops.DROPOUT)


def _is_hard_swish(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, ops.HARD_SWISH)


def _fused_with(graph: GraphModule, relu: Node) -> list[Node]:
    """Return the dense layer or sum before a ReLU, and the identities between; nothing where others use them too."""
    chain: list[Node] = []
    node = relu
    while len(node.all_input_nodes) == 1 and len(node.all_input_nodes[0].users) == 1:
        node = node.all_input_nodes[0]
        chain.append(node)
        if is_dense(graph, node) or is_call(graph, node, ops.ADD):
            return chain
        if not is_call(graph, node, ops.DROPOUT):
            break
    return []


def _reach(graph: GraphModule, nodes: Iterable[Node], neighbors: Callable[[Node], Iterable[Node]]) -> set[Node]:
    """Return the steps, and those that can be reached from them without passing a dense layer."""
    found: set[Node] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [one for one in neighbors(node) if not _ends(graph, one)]
    return found


def _ends(graph: GraphModule, node: Node) -> bool:
    if node.op in ("placeholder", "get_attr", "output") or is_dense(graph, node):
        return True
    return is_relu(graph, node) and any(is_dense(graph, one) for one in _fused_with(graph, node))


def is_dense(graph: GraphModule, node: Node) -> bool:
    """Return whether a step is a convolution or a fully connected layer."""
    return is_call(graph, node, _DENSE)


def is_relu(graph: GraphModule, node: Node) -> bool:
    """Return whether a step is a ReLU or a ReLU6."""
    return is_call(graph, node, ops.RELU) or ops.relu6_input(graph, node) is not None


def _computed(node: Node) -> list[Node]:
    return [one for one in node.all_input_nodes if one.op != "get_attr"]


def _is_quotient(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, ops.DIVIDE) and len(node.all_input_nodes) == 2


def _is_attention(graph: GraphModule, node: Node) -> bool:
    is_product = is_call(graph, node, _PRODUCTS) and len(_computed(node)) > 1
    return is_product or is_call(graph, node, _ATTENTION)


def _is_norm(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, _NORMS)


def _makers_of(graph: GraphModule, grids: Iterable[Node]) -> set[Node]:
    """Return the dense layers that make coordinates, or what leads to these."""
    places = _reach(graph, grids, lambda node: node.all_input_nodes)
    return {one for node in (*grids, *places) for one in (node, *node.all_input_nodes) if is_dense(graph, one)}


def _is_exponential(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, ops.EXPONENTIALS)


def _weighted_means(graph: GraphModule) -> list[Node]:
    """Return the sums over a softmax's shares, alone or times constants: the mean of the places of a map."""
    computed: set[Node] = set()  # linspace is a step that nothing computed leads to
    shares: set[Node] = set()
    for node in graph.graph.nodes:
        taken = [one for one in node.all_input_nodes if one in computed]
        if taken or node.op == "placeholder":
            computed.add(node)
        starts = any(one in shares or is_call(graph, one, ops.SOFTMAX) for one in taken)
        if starts and len(taken) == 1 and not _ends(graph, node):
            shares.add(node)
    return [node for node in graph.graph.nodes if node in shares and is_call(graph, node, _SUMS)]


def _reads_at_coordinates(graph: GraphModule, node: Node) -> bool:
    return is_call(graph, node, _COORDINATES)


_PARTS = {
    "division": (_is_quotient, False),
    "attention": (_is_attention, False),
    "normalization": (_is_norm, True),
    "exponential": (_is_exponential, True),
    "coordinates": (_reads_at_coordinates, True),
}
"""By the word of `keep_float`: what it names, and whether what follows stays in float too."""
