"""Where to look inside a model: which values of a graph become further outputs of a tapped copy.

Converters fuse, reorder and rename, so that no name inside an artifact can be trusted. A copy of the rewritten graph
that also returns the values inside goes through the same conversion, and what comes out beside the model's own outputs
is those values, whatever became of their names.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from mobilekit.artifacts.tflite import TAP
from mobilekit.models.inputs import arguments
from mobilekit.models.outputs import named_outputs
from mobilekit.rewrites.fx import ops
from mobilekit.rewrites.fx.graph import module_of, note_shapes, path_of, shape_of

aten = torch.ops.aten

_SIGN = ops.Op((aten.neg.default, aten.abs.default))
_OTHER_ACTIVATIONS = ops.Op(
    (aten.leaky_relu.default, aten.elu.default, aten.mish.default, aten.tanh.default, aten.softplus.default),
    (nn.PReLU,),
)
_BATCH_NORM = ops.Op((), (nn.BatchNorm1d, nn.BatchNorm2d))
_SAME = (ops.DROPOUT,)
_ELEMENTWISE = (
    *(ops.SIGMOID, ops.HARD_SIGMOID, ops.SILU, ops.HARD_SWISH, ops.GELU, ops.RELU),
    *(ops.CLAMP, ops.MULTIPLY, ops.DIVIDE, ops.ADD, ops.SUBTRACT),
    *_SAME,
    *(_SIGN, _OTHER_ACTIVATIONS, _BATCH_NORM),
)
_SPACE = ops.Op((aten.pixel_shuffle.default, aten.pixel_unshuffle.default, *ops.CHANNEL_SHUFFLE.targets))
# These make no new numbers: a padding or a transposition that is an output may keep what follows from taking it in.
_ONLY_MOVE = (
    *(ops.TRANSPOSE, ops.PERMUTE, ops.RESHAPE, ops.PAD, ops.FLATTEN, ops.UNFLATTEN, ops.SQUEEZE, ops.UNSQUEEZE),
    *(ops.SLICE, ops.SPLIT, ops.PART, ops.EXPAND, _SPACE),
)


@dataclass(frozen=True)
class Tap:
    """A value inside a rewritten model, or one of its outputs."""

    name: str
    """Name of the output that carries it."""
    node: Node
    """The step of the rewritten graph that makes it."""
    module: str
    """Path of the module that it is the result of: the first of the steps that a kernel may do in one."""
    sources: tuple[str, ...]
    """Names of the taps that it is computed from, with nothing tapped between."""
    terms: int = 1
    """How many products or values the first of those steps adds up for one of its results."""
    is_output: bool = False

    @property
    def step(self) -> str:
        """Path of the last of those steps, whose result this is."""
        return path_of(self.node)


def find_taps(graph: GraphModule, examples: Mapping[str, torch.Tensor]) -> list[Tap]:
    """Return the values to look at, in the order in which they are computed, the model's own outputs among them.

    Labels are no quantities, and left out.

    A tap must not keep a converter from fusing, or the copy would be another model. So a convolution's value is looked
    at after its batch norm and activation, and so is every other one after the elementwise steps that take nothing
    else; what only moves values is left out.

    Args:
        graph: The rewritten model, float32.
        examples: Inputs that it takes, by name; shapes are noted for them.
    """
    note_shapes(graph, examples)
    roots = _roots(graph)
    outputs = {_origin(graph, node): name for name, node in _named_outputs(graph, examples).items()}
    chosen: dict[Node, str] = {}
    for node, root in roots.items():
        if not _is_float(node):
            continue
        if node in outputs:
            chosen[node] = outputs[node]
        elif _is_computed(graph, root) and not ops.is_call(graph, node, *_SAME):
            readers = _readers(graph, node)
            if any(roots[reader] is not root for reader in readers):
                chosen[node] = f"{TAP}{len(chosen)}"
    return [
        Tap(name, node, path_of(root), _sources(node, chosen), _terms(graph, root), node in outputs)
        for node, name in chosen.items()
        for root in (roots[node],)
    ]


def tapped(graph: GraphModule, steps: Mapping[str, str], examples: Mapping[str, torch.Tensor]) -> GraphModule:
    """Return a copy of a graph that returns its own outputs by name, as `named_outputs` names them, and then the taps.

    The steps of the copy keep their names.

    Args:
        graph: The graph.
        steps: Names of the steps whose values are returned too, by the names of their outputs.
        examples: Inputs that it takes, by name.
    """
    own = {name: node.name for name, node in _named_outputs(graph, examples).items()}
    result = copy.deepcopy(graph)
    by_name = {node.name: node for node in result.graph.nodes}
    output = result.graph.output_node()
    output.args = ({name: by_name[step] for name, step in {**own, **steps}.items()},)
    result.graph.lint()
    result.recompile()
    return result


def _named_outputs(graph: GraphModule, examples: Mapping[str, torch.Tensor]) -> dict[str, Node]:
    """Return the steps whose values the graph returns, in the order of `named_outputs` and by its names."""
    nodes: list[Node] = []
    map_arg(graph.graph.output_node().args, lambda node: nodes.append(node))
    with torch.no_grad():
        names = named_outputs(graph(*arguments(graph, examples)))
    return dict(zip(names, nodes, strict=True))


def _roots(graph: GraphModule) -> dict[Node, Node]:
    """Return, for each step but the output, the one at which its chain of elementwise steps begins."""
    roots: dict[Node, Node] = {}
    for node in graph.graph.nodes:
        before = {roots[source] for source in node.all_input_nodes if source.op != "get_attr"}
        is_chained = len(before) == 1 and ops.is_call(graph, node, *_ELEMENTWISE)
        first = next(iter(before), node)
        is_chained = is_chained and _is_computed(graph, first) and shape_of(node) == shape_of(first)
        roots[node] = first if is_chained else node
    return roots


def _is_computed(graph: GraphModule, root: Node) -> bool:
    return root.op not in ("placeholder", "get_attr", "output") and not ops.is_call(graph, root, *_ONLY_MOVE)


def _origin(graph: GraphModule, node: Node) -> Node:
    """Return the step that made a value which identities hand on."""
    while ops.is_call(graph, node, *_SAME):
        node = node.all_input_nodes[0]
    return node


def _readers(graph: GraphModule, node: Node) -> list[Node]:
    """Return the steps that compute with a node's values, also those that get them from identities."""
    found: list[Node] = []
    for user in ops.value_users(graph, node):
        found += _readers(graph, user) if ops.is_call(graph, user, *_SAME) else [user]
    return found


def _is_float(node: Node) -> bool:
    dtype = getattr(node.meta.get("tensor_meta"), "dtype", None)
    return isinstance(dtype, torch.dtype) and dtype.is_floating_point


def _terms(graph: GraphModule, root: Node) -> int:
    """Return the length of a step's sums: of a dense layer's by its weight, else by how much smaller its result is."""
    module = module_of(graph, root)
    weight = getattr(module, "weight", None)
    if isinstance(weight, torch.Tensor) and weight.dim() > 1:
        return weight[0].numel()
    if ops.is_call(graph, root, ops.MATRIX_PRODUCT):
        return (shape_of(root.all_input_nodes[0]) or (1,))[-1]
    sizes = [math.prod(shape) for node in (root, *root.all_input_nodes) if (shape := shape_of(node))]
    return max(1, max(sizes) // max(1, sizes[0])) if sizes else 1


def _sources(node: Node, chosen: Mapping[Node, str]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    waiting, seen = list(node.all_input_nodes), set(node.all_input_nodes)  # not those that are asked for a shape alone
    while waiting:
        source = waiting.pop()
        if source in chosen:
            found[chosen[source]] = None
            continue
        fresh = [one for one in source.all_input_nodes if one not in seen and "tensor_meta" in one.meta]
        seen.update(fresh)
        waiting += fresh
    return tuple(found)
