"""The error that a number format brings by itself, measured on the model at hand.

A limit that a number of somebody's taste sets passes broken artifacts of robust models and fails sound artifacts of
sensitive ones. Here each format is simulated on the PyTorch model, which the converters never touch, and what it does
to the outputs is the yardstick for the artifact.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, is_label
from mobilekit.convert.int8.ranges import with_headroom
from mobilekit.models.inputs import arguments
from mobilekit.parity.ledger.float_nodes import float_nodes, float_results, fused_nodes, nodes_inside
from mobilekit.parity.ledger.invariants import INT8_LOG_SOFTMAX_LOW, INT8_LOG_SOFTMAX_STEP, INT8_SOFTMAX_STEP
from mobilekit.parity.ledger.metrics import Floats, compare
from mobilekit.parity.ledger.other_orders import FEWEST_ORDERS, run_in_other_orders
from mobilekit.parity.ledger.result import FormatError, Metrics, StableShare
from mobilekit.parity.ledger.rounding import (
    hold_products,
    round_as_dynamic,
    round_to_256_steps,
    round_to_int16,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.parity.ledger.task import Labels, k_for, stable_share
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.fx.ops import LOG_SOFTMAX, SOFTMAX, is_call
from mobilekit.rewrites.fx.precision import compute_in
from mobilekit.store.bundle import INPUT
from mobilekit.store.stages import Precision

FLOAT32_TOLERANCE = 8
"""How far two independent float32 evaluations may be apart, in units of one evaluation's distance from float64. Their
rounding errors have one distribution, so the difference has sqrt(2) of its deviation; the unit is the largest of some
thousand outputs, and another evaluation's largest may be twice that; kernels that add in longer chains than PyTorch's
have up to about 3 times the deviation: sqrt(2) x 2 x 3 = 8.5, rounded down."""
ANOTHER_ORDER = 3
"""How far an evaluation that adds one term after the other may be from float64, in units of the largest error of some
that do so: with a chance of 9e-4 a single value is farther off, if errors are independent and normal, and outputs are
several (`other_orders.ORDERS`). In 36 trials TensorFlow Lite's means over 256 to 12,544 values were 0.35 to 1.5 times
as far off as the farthest of three."""
ORDERS_TOLERANCE = 4
"""How far two such may be apart: sqrt(2) times that, rounded down."""
FORMAT_SHARE = 2
"""The artifact of a format rounds as its simulation does, independently (sqrt(2) between two of them), and it rounds
in places where the simulation does not: dynamic and int8 kernels round their scales, their fused activations, and what
they add (sqrt(2) again, if every tensor is rounded twice)."""
DYNAMIC_LEAST = 1024
"""Weights with fewer values stay in float in dynamic files (TensorFlow Lite's `weights_min_num_elements`)."""
_FITTED = "int8, fitted"
K = TypeVar("K")
Ranges = Mapping[str, tuple[float, float]]
"""Lowest and highest value of each step of a graph, by its name."""
Rounding = Callable[..., torch.Tensor]
"""Takes a tensor, and the ends of its range where they are not its own."""


def measure_format_errors(
    reference: nn.Module,
    rewritten: GraphModule,
    inputs: Arrays,
    reference_outputs: Arrays,
    rewritten_outputs: Arrays,
    int8: Int8 | None = None,
    ranges: Ranges | None = None,
    *,
    exact: Arrays | None = None,
    by_format: Mapping[str, Arrays] | None = None,
    labels: Labels | None = None,
    top_k: int | None = None,
) -> dict[str, FormatError]:
    """Run the model in each format, and return what that does to each output.

    Args:
        reference: The reference model, float32.
        rewritten: The rewritten model, float32; its folded weights are those that the artifacts round.
        inputs: float32 (N, ...) by name.
        reference_outputs: What the reference gives for them in float32.
        rewritten_outputs: What the rewritten model gives.
        int8: What the recipe says of int8; all is rounded without.
        ranges: What `activations.record` gave for the calibration inputs; where they are not known, int8 has ranges of
            these inputs' own.
        exact: What the reference gives in float64; it is run without.
        by_format: What `run_formats` gave for these inputs; they are run without.
        labels: Class numbers (N,), where they are known.
        top_k: The recipe's.
    """
    exact = in_float64(reference, inputs).run(inputs) if exact is None else exact
    orders = _errors_of_orders(reference, inputs, reference_outputs, exact)
    by_format = dict(run_formats(rewritten, {None: inputs}, int8, ranges)[None] if by_format is None else by_format)
    fitted = by_format.pop(_FITTED)

    def error(name: str) -> FormatError:
        before, made = rewritten_outputs[name], {word: outputs[name] for word, outputs in by_format.items()}
        by_float32 = compare(exact[name], reference_outputs[name])
        by_orders = orders[name]
        lost = {word: compare(before, after).relative_l2 for word, after in made.items()}
        return FormatError(
            float32_max_abs=by_float32.max_abs,
            float32_relative_l2=by_float32.relative_l2,
            scale=float(np.abs(exact[name]).max()),
            float16_relative_l2=lost["float16"],
            dynamic_relative_l2=lost["dynamic"],
            int8_relative_l2=lost["int8"],
            int8_fitted_relative_l2=compare(before, fitted[name]).relative_l2,
            float32_orders_max_abs=max(one.max_abs for one in by_orders),
            float32_orders_relative_l2=max(one.relative_l2 for one in by_orders),
            labels=before.size if is_label(before) else None,
            int16x8_relative_l2=lost.get("int16x8", 0.0),
            stable=_stable((exact[name], reference_outputs[name]), before, made, top_k, labels),
        )

    return {name: error(name) for name in reference_outputs}


def run_formats(
    rewritten: GraphModule,
    inputs: Mapping[K, Arrays],
    int8: Int8 | None = None,
    ranges: Ranges | None = None,
    more: Collection[Precision] = (),
) -> dict[K, dict[str, Arrays]]:
    """Return what a model gives in float16, dynamic and int8, and in int8 with ranges of the inputs' own.

    One copy of the model at a time is there.

    Args:
        rewritten: float32; left as it is.
        inputs: Sets of them, each float32 (N, ...) by name.
        int8: As `measure_format_errors` takes it, as `ranges`.
        ranges: Without them int8 has the inputs' own as well.
        more: Precisions of which `int16x8` is simulated as well.
    """
    found: dict[K, dict[str, Arrays]] = {kind: {} for kind in inputs}

    def run(word: str, model: nn.Module) -> None:
        for kind, arrays in inputs.items():
            found[kind][word] = TorchRuntime(model).run(arrays)

    run("float16", in_float16(rewritten))
    run("dynamic", in_dynamic(rewritten))
    run(_FITTED, fake_quantize_int8(rewritten, int8))
    if ranges:
        run("int8", fake_quantize_int8(rewritten, int8, ranges))
    else:
        found = {kind: {**outputs, "int8": outputs[_FITTED]} for kind, outputs in found.items()}
    if "int16x8" in more:
        run("int16x8", fake_quantize_int16x8(rewritten, int8, ranges))
    return found


def _errors_of_orders(reference: nn.Module, inputs: Arrays, outputs: Arrays, exact: Arrays) -> dict[str, list[Metrics]]:
    """Return how far each output is from float64 with sums in other orders; few of them where no sum is long."""
    own = {name: compare(exact[name], outputs[name]).max_abs for name in outputs}
    found: dict[str, list[Metrics]] = {name: [] for name in outputs}
    for count, again in enumerate(run_in_other_orders(reference, inputs), 1):
        for name, errors in found.items():
            errors.append(compare(exact[name], again[name]))
        is_long = any(error.max_abs > 2 * own[name] for name, errors in found.items() for error in errors)
        if count >= FEWEST_ORDERS and not is_long:
            break
    return found


def _stable(
    rounded: tuple[Floats, Floats], before: Floats, made: Mapping[str, Floats], top_k: int | None, labels: Labels | None
) -> dict[str, StableShare]:
    """Return what stays of the classification in each format; nothing where the outputs are no classes.

    Args:
        rounded: The reference in float64 and in float32.
        before: The rewritten model's outputs.
        made: Those of the simulation of each format.
        top_k: The recipe's.
        labels: Class numbers.
    """
    if before.ndim != 2 or before.shape[1] < 2 or is_label(before):
        return {}
    k, rounding = k_for(before.shape[1], top_k), (FLOAT32_TOLERANCE, *rounded)
    changes = {"float32": [rounding], **{word: [rounding, (FORMAT_SHARE, before, one)] for word, one in made.items()}}
    return {word: stable_share(before, each, k, labels) for word, each in changes.items()}


def in_float64(reference: nn.Module, inputs: Arrays) -> TorchRuntime:
    """Return what runs a model in float64, float32 that its own code names included; values are rounded last.

    Args:
        reference: float32; left as it is.
        inputs: Some that it will be run on, (N, ...) by name.
    """
    examples = {name: torch.from_numpy(array[:1]) for name, array in inputs.items()}
    return TorchRuntime(compute_in(trace(reference, examples), torch.float64))


def in_float16(graph: GraphModule) -> GraphModule:
    """Return a copy of a graph with the constants of a float16 file."""
    rounded = copy.deepcopy(graph)
    round_weights_to_float16(rounded)
    return rounded


def in_dynamic(graph: GraphModule) -> GraphModule:
    """Return a copy of a graph that rounds as a dynamic-range file does."""
    rounded = copy.deepcopy(graph)
    round_as_dynamic(rounded, DYNAMIC_LEAST)
    return rounded


def fake_quantize_int16x8(graph: GraphModule, int8: Int8 | None = None, ranges: Ranges | None = None) -> nn.Module:
    """Return a copy of a graph that rounds as an int16x8 file does; see `fake_quantize_int8`.

    Where int16 has no kernel the file stays in float, and this rounds to 16 bits: next to the weights, that is nothing.
    """
    return fake_quantize_int8(graph, int8, with_headroom(ranges) if ranges else None, round_to_int16)


def fake_quantize_int8(
    graph: GraphModule,
    int8: Int8 | None = None,
    ranges: Ranges | None = None,
    rounding: Rounding = round_to_256_steps,
) -> nn.Module:
    """Return a copy of a graph that rounds as a full int8 file does.

    Args:
        graph: float32; left as it is.
        int8: What the recipe says of int8; all is rounded without.
        ranges: What `activations.record` gave; ranges of the inputs' own without.
        rounding: Of the values.

    Raises:
        UsageError: A module that is to stay in float is not in the graph.
    """
    int8 = int8 or Int8()
    rounded = copy.deepcopy(graph)
    hold_products(rounded)
    kept = nodes_inside(rounded, int8.float_modules)
    round_weights_to_int8(rounded, leave={str(node.target) for node in kept if node.op == "call_module"})
    return FakeQuantInt8(rounded, int8.keep_float, ranges, int8.float_modules, rounding)


class EachStep(nn.Module):
    """A graph in which `output_hook` sees the tensor that each step makes, and returns what the next steps get."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.graph = graph
        self.meta = graph.meta

    def output_hook(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        """Return the step's result for the next steps."""
        raise NotImplementedError

    def read(self, reader: Node, node: Node, value: Any) -> Any:
        """Return the step's result as `reader` gets it."""
        return value

    def forward(self, picture: torch.Tensor, /, **further: torch.Tensor) -> object:
        """Run the graph."""
        return _Stepper(self).run(*arguments(self.graph, {INPUT: picture, **further}))


class _Stepper(Interpreter):
    def __init__(self, steps: EachStep) -> None:
        super().__init__(steps.graph)
        self.steps = steps

    def map_nodes_to_values(self, args: Any, n: Node) -> Any:
        return map_arg(args, lambda node: self.steps.read(n, node, self.env[node]))

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        is_made = isinstance(result, torch.Tensor) and result.is_floating_point()
        return self.steps.output_hook(n, result) if is_made and n.op not in ("output", "get_attr") else result


SOFTMAX_RANGE = (0.0, 255 * INT8_SOFTMAX_STEP)
"""Of an int8 softmax's outputs, whatever they are."""
LOG_SOFTMAX_RANGE = (INT8_LOG_SOFTMAX_LOW + INT8_LOG_SOFTMAX_STEP, 0.0)
"""Of an int8 log-softmax's."""


class FakeQuantInt8(EachStep):
    """A graph that rounds every tensor it makes, as a full int8 model does, but those inside one op of TFLite.

    What stays in float is rounded where an int8 op takes it; as an output it is not, but for probabilities.

    Args:
        graph: The graph.
        keep_float: What stays unrounded, in the words of the recipe's `int8.keep_float`.
        ranges: The ranges to round in, by the names of the steps; each tensor's own without.
        float_modules: Modules that stay in float.
        rounding: Rounds a tensor in a range, by its ends.
    """

    def __init__(
        self,
        graph: GraphModule,
        keep_float: Collection[str] = (),
        ranges: Ranges | None = None,
        float_modules: Collection[str] = (),
        rounding: Rounding = round_to_256_steps,
    ) -> None:
        super().__init__(graph)
        self.rounding = rounding
        parts = float_nodes(graph, keep_float)
        self.kept = nodes_inside(graph, float_modules) | float_results(graph, keep_float)
        self.in_float = parts | self.kept
        self.unrounded = parts | fused_nodes(graph)
        self.softmaxes = {node for node in graph.graph.nodes if is_call(graph, node, SOFTMAX)}
        logs = [node.name for node in graph.graph.nodes if is_call(graph, node, LOG_SOFTMAX)]
        fixed = dict.fromkeys(logs, LOG_SOFTMAX_RANGE) if rounding is round_to_256_steps else {}
        fixed |= dict.fromkeys((node.name for node in self.softmaxes), SOFTMAX_RANGE)
        self.ranges = {**(ranges or {}), **fixed}

    def output_hook(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        """Round the tensor, unless int8 leaves it in float."""
        return value if node in self.unrounded or node in self.kept else self._round(node, value)

    def read(self, reader: Node, node: Node, value: Any) -> Any:
        """Round what goes from what stays in float to an op in int8."""
        is_given = reader.op == "output" and node not in self.softmaxes
        is_border = node in self.in_float and reader not in self.in_float and not is_given
        is_made = isinstance(value, torch.Tensor) and value.is_floating_point()
        return self._round(node, value) if is_border and is_made else value

    def _round(self, node: Node, value: torch.Tensor) -> torch.Tensor:
        return self.rounding(value, *self.ranges.get(node.name, (None, None)))
