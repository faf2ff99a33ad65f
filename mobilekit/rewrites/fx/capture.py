"""A model as one functional graph of ATen operators, in which torch's layers and the model's linear maps stay whole."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torch.fx.graph import CodeGen
from torch.fx.node import map_aggregate
from torch.utils import _pytree as pytree

from mobilekit.models.batches import mixes_rows, rows_given
from mobilekit.models.inputs import by_parameter
from mobilekit.rewrites.fx.functional import make_functional
from mobilekit.rewrites.fx.functional_layers import raise_layers
from mobilekit.rewrites.fx.layers import keep_layers, name_calls
from mobilekit.rewrites.fx.precision import name_dtypes
from mobilekit.rewrites.fx.refusals import refuse_changed_state, refuse_changes, refuse_half_floats, refuse_values
from mobilekit.rewrites.fx.spelling import drop_colons, one_spelling
from mobilekit.rewrites.fx.state import drop_unread, note_unused

aten = torch.ops.aten

# What does nothing to a tensor, and checks that held while the model was exported.
_NOTHING = {
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.resolve_conj.default,
    aten.resolve_neg.default,
}
_CHECKS = {aten._assert_tensor_metadata.default, aten._assert_async.msg, aten._assert_scalar.default}


def capture(model: nn.Module, examples: Mapping[str, torch.Tensor]) -> GraphModule:
    """Return the graph of a copy of the model, in evaluation mode, for inputs of these shapes.

    What was captured for these shapes before, and rewritten since, is only copied.

    The batch is free wherever the model takes any; `meta["one_size"]` tells where it takes one image alone. Height
    and width are the examples'.

    Args:
        model: Left as it is.
        examples: float32 inputs by name; the graph takes these, in their order.

    Raises:
        Exception: Whatever torch.export makes of a model that it cannot export.
        UsageError: The model's shapes depend on values, or it changes its own state.
    """
    model = copy.deepcopy(model).eval()
    shapes = {name: tensor.shape[1:] for name, tensor in examples.items()}
    if isinstance(model, GraphModule):
        if model.meta.get("captured") == shapes:
            return model
        name_calls(model)
    inputs = by_parameter(model, examples)
    one = {name: tensor[:1] for name, tensor in examples.items()}
    is_free = rows_given(model, one) and not mixes_rows(model, one)
    program = _with_free_batch(model, inputs) if is_free else None
    is_fixed = program is None
    if program is None:
        program = _export(model, inputs, None)
    graph = _plain(model, program)
    graph.meta["captured"] = shapes
    graph.meta["one_size"] = is_fixed
    refuse_values(graph)
    refuse_half_floats(graph)
    refuse_changed_state(graph)
    make_functional(graph)
    refuse_changes(graph)
    _drop_nothings(graph)
    drop_colons(graph)
    one_spelling(graph)
    name_dtypes(graph)
    keep_layers(graph, model)
    raise_layers(graph)
    graph.graph.eliminate_dead_code()
    drop_unread(graph)
    note_unused(graph, model)
    return graph


def _export(model: nn.Module, inputs: dict[str, torch.Tensor], shapes: dict[str, Any] | None) -> ExportedProgram:
    first, *others = inputs
    keywords = {name: inputs[name] for name in others}
    with quiet(), torch.no_grad():
        return torch.export.export(model, (inputs[first],), keywords, strict=False, dynamic_shapes=shapes)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep torch's exporters from printing whole graphs where they refuse, and from logging what they cannot know."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        said = io.StringIO()
        with (
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
            warnings.catch_warnings(action="ignore"),
        ):
            yield
    finally:
        logging.disable(before)


def _with_free_batch(model: nn.Module, inputs: dict[str, torch.Tensor]) -> ExportedProgram | None:
    """Export for any batch; None where the model takes one batch alone.

    Two images stand for any number. Each output must have the inputs' batch as its first axis: a model that was written
    for one image may well run for two, and join them.
    """
    if any(tensor.ndim == 0 for tensor in inputs.values()):
        return None
    two = {name: torch.cat([tensor[:1]] * 2) for name, tensor in inputs.items()}
    batch = {name: {0: torch.export.Dim.DYNAMIC} for name in inputs}
    try:
        program = _export(model, two, batch)
    except Exception:  # of any kind: it is exported again for one image, and that error counts
        return None
    placeholders = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    batches = [node.meta["val"].shape[0] for node in placeholders]
    names = {str(size) for size in batches}
    results = [node.meta["val"] for node in program.graph.output_node().args[0] if isinstance(node, Node)]
    rows = {str(value.shape[0]) if value.ndim else "" for value in results if isinstance(value, torch.Tensor)}
    is_free = len(names) == 1 and all(isinstance(size, torch.SymInt) for size in batches)
    return program if is_free and rows <= names else None


def _plain(model: nn.Module, program: ExportedProgram) -> GraphModule:
    """Return a plain graph: inputs in their order, results nested as the model nests them, the model's own state."""
    module = program.module(check_guards=False)
    assert isinstance(module, GraphModule)
    nodes = module.graph
    for node in list(nodes.nodes):
        if node.op == "call_module":  # the guards' function
            nodes.erase_node(node)
    for node in list(nodes.nodes):
        if node.target is torch.ops.higher_order.wrap_with_autocast and not node.args[2]:
            _unwrap(module, node)
    output = nodes.output_node()
    results: Any = output.args[0]
    assert module._out_spec is not None
    output.args = (_nested(pytree.tree_unflatten(list(results), module._out_spec)),)
    nodes.set_codegen(CodeGen())
    nodes._tracer_cls = None  # torch.export's own needs the model to be made again from a pickle
    for node in nodes.nodes:
        if node.op == "get_attr":
            node.meta["val"] = attrgetter(str(node.target))(module)
    return GraphModule(module, nodes, type(model).__name__)


def _unwrap(module: GraphModule, region: Node) -> None:
    """Put the steps of a region without autocast, which is a graph of its own, in its place: here nothing is cast."""
    nodes, source = module.graph, region.args[4]
    assert isinstance(source, Node)
    path = str(source.target)
    inner: GraphModule = attrgetter(path)(module)
    given = iter(region.args[5:])
    copies: dict[Node, Any] = {}
    results: Any = ()
    with nodes.inserting_before(region):
        for node in inner.graph.nodes:
            if node.op == "placeholder":
                copies[node] = next(given)
            elif node.op == "output":
                results = map_aggregate(node.args[0], lambda one: copies[one] if isinstance(one, Node) else one)
            else:
                copies[node] = nodes.node_copy(node, copies.__getitem__)
                if node.op in ("get_attr", "call_module"):
                    copies[node].target = f"{path}.{node.target}"
    for user in list(region.users):  # each takes one of the results
        user.replace_all_uses_with(results[user.args[1]])
        nodes.erase_node(user)
    nodes.erase_node(region)
    nodes.erase_node(source)


def _nested(result: Any) -> Any:
    """Return a result in which classes of the user's own that are mappings or tuples are plain ones."""
    if isinstance(result, Mapping):
        return {str(key): _nested(value) for key, value in result.items()}
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return {name: _nested(value) for name, value in zip(result._fields, result, strict=True)}
    if isinstance(result, tuple | list):
        return tuple(_nested(value) for value in result)
    return result


def _drop_nothings(graph: GraphModule) -> None:
    for node in list(graph.graph.nodes):
        if node.target in _CHECKS:
            graph.graph.erase_node(node)
        elif node.target in _NOTHING or _is_cast_to_own_dtype(node):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def _is_cast_to_own_dtype(node: Node) -> bool:
    """Return whether a cast does nothing: left in, it would break the model in float64."""
    if node.target not in (aten.to.dtype, aten.to.device, aten.to.dtype_layout, aten._to_copy.default):
        return False
    source = node.args[0]
    return isinstance(source, Node) and source.meta["val"].dtype == node.meta["val"].dtype
