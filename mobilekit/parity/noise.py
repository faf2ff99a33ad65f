"""The error that a number format brings by itself, measured on the model at hand.

A limit that a number of somebody's taste sets passes broken artifacts of robust models and fails sound artifacts of
sensitive ones. Here each format is imitated on the PyTorch model, which the converters never touch, and what it does
to the outputs is the yardstick for the artifact.
"""

from __future__ import annotations

import copy
import operator
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.fx import GraphModule, Interpreter, Node

from mobilekit.bundle import INPUT
from mobilekit.models.inputs import arguments
from mobilekit.parity.metrics import compare
from mobilekit.runtimes.base import Arrays
from mobilekit.runtimes.pytorch import TorchRuntime


@dataclass(frozen=True)
class Noise:
    """What the formats do to the outputs of one model on one set of inputs."""

    float32_max_abs: float
    """Largest difference between the model in float32 and in float64."""
    scale: float
    """Largest absolute output."""
    float16_relative_l2: float
    """Change of the outputs when every weight is rounded to float16."""
    dynamic_relative_l2: float
    """Change when weights (per channel) and the inputs of linear layers (per tensor) are rounded to 8 bits."""
    int8_relative_l2: float
    """Change when weights (per channel) and every other tensor (per tensor) are rounded to 8 bits."""


def measure_noise(
    reference: nn.Module,
    rewritten: GraphModule,
    inputs: Arrays,
    reference_outputs: Arrays,
    rewritten_outputs: Arrays,
    float_quotients: bool = False,
) -> dict[str, Noise]:
    """Run the model in each format, and return what that does to each output.

    Args:
        reference: The reference model, float32.
        rewritten: The rewritten model, float32; its folded weights are those that the artifacts round.
        inputs: float32 (N, ...) by name.
        reference_outputs: What the reference gives for them in float32.
        rewritten_outputs: What the rewritten model gives.
        float_quotients: Int8 leaves what leads to a division in float, as the recipe may say.
    """
    exact = TorchRuntime(copy.deepcopy(reference).double()).run(inputs)
    halved, dynamic, static = (copy.deepcopy(rewritten) for _ in range(3))
    round_weights_to_float16(halved)
    round_weights_to_int8(dynamic)
    round_layer_inputs(dynamic)
    round_weights_to_int8(static)

    def changes(model: nn.Module) -> dict[str, float]:
        outputs = TorchRuntime(model).run(inputs)
        return {name: compare(rewritten_outputs[name], outputs[name]).relative_l2 for name in rewritten_outputs}

    by_float16, by_dynamic = changes(halved), changes(dynamic)
    by_int8 = changes(EveryTensorRounded(static, float_quotients))
    return {
        name: Noise(
            float32_max_abs=compare(exact[name], reference_outputs[name]).max_abs,
            scale=float(np.abs(exact[name]).max()),
            float16_relative_l2=by_float16[name],
            dynamic_relative_l2=by_dynamic[name],
            int8_relative_l2=by_int8[name],
        )
        for name in reference_outputs
    }


def round_weights_to_float16(model: nn.Module) -> None:
    """Round every parameter to float16 and back, in place; values beyond its range saturate as in TFLite."""
    limit = torch.finfo(torch.float16).max
    for parameter in model.parameters():
        parameter.data = parameter.data.clamp(-limit, limit).half().to(parameter.dtype)


def round_weights_to_int8(model: nn.Module) -> None:
    """Round convolutions' and linear layers' weights to -127..127 steps, a scale for each output channel, in place.

    Source: TensorFlow Lite 8-bit quantization specification.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight.data
            scale = (weight.abs().flatten(1).amax(1) / 127).clamp_min(torch.finfo(weight.dtype).tiny)
            scale = scale.reshape(-1, *([1] * (weight.dim() - 1)))
            module.weight.data = (weight / scale).round() * scale


def round_layer_inputs(model: nn.Module) -> None:
    """Make layers round their inputs as TFLite's dynamic-range kernels do, each image by its own range, in place.

    Depthwise and grouped convolutions keep float inputs there.
    """

    def rounded(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (torch.stack([round_to_256_steps(image) for image in inputs[0]]), *inputs[1:])

    for module in model.modules():
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1):
            module.register_forward_pre_hook(rounded)


def round_to_256_steps(x: torch.Tensor) -> torch.Tensor:
    """Round a tensor to 256 even steps over its range, which has zero in it (the same specification)."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(x.dtype).tiny)
    return ((x - low) / scale).round() * scale + low


class EveryTensorRounded(nn.Module):
    """A graph that rounds every tensor it makes, as a full int8 model does.

    A convolution whose only user is a ReLU is one op with it in TFLite, and only the ReLU's result is rounded.

    Args:
        graph: The graph.
        float_quotients: Leave what leads from the last layer before a division to the division unrounded.
    """

    def __init__(self, graph: GraphModule, float_quotients: bool = False) -> None:
        super().__init__()
        self.graph = graph
        self.unrounded = _before_quotients(graph) if float_quotients else set()
        self.meta = graph.meta

    def forward(self, picture: torch.Tensor, /, **further: torch.Tensor) -> object:
        """Run the graph on rounded inputs."""
        inputs = arguments(self.graph, {INPUT: picture, **further})
        return _RoundingInterpreter(self.graph, self.unrounded).run(*inputs)


_DIVISIONS = (operator.truediv, torch.div, torch.true_divide)


def _before_quotients(graph: GraphModule) -> set[Node]:
    """Return the nodes from the last layer before each division of two tensors, which is left out, to the division."""
    found: set[Node] = set()
    waiting = [node for node in graph.graph.nodes if _is_quotient(node)]
    while waiting:
        node = waiting.pop()
        if node in found or node.target is torch.cat or (node.op == "call_module" and not _is_relu(graph, node)):
            continue
        found.add(node)
        waiting += node.all_input_nodes
    return found


def _is_quotient(node: Node) -> bool:
    divides = node.target in _DIVISIONS if node.op == "call_function" else node.target in ("div", "true_divide")
    return divides and len(node.all_input_nodes) == 2


def _is_relu(graph: GraphModule, node: Node) -> bool:
    return isinstance(graph.get_submodule(str(node.target)), nn.ReLU)


class _RoundingInterpreter(Interpreter):
    def __init__(self, graph: GraphModule, unrounded: set[Node]) -> None:
        super().__init__(graph)
        self.unrounded = unrounded

    def run_node(self, n: Node) -> object:
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and n.op not in ("output", "get_attr") and self._is_rounded(n):
            return round_to_256_steps(result)
        return result

    def _is_rounded(self, n: Node) -> bool:
        return n not in self.unrounded and not self._is_fused(n)

    def _is_fused(self, n: Node) -> bool:
        users = list(n.users)
        if n.op != "call_module" or len(users) != 1 or users[0].op != "call_module":
            return False
        layer, after = (self.module.get_submodule(str(node.target)) for node in (n, users[0]))
        return isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(after, nn.ReLU)
