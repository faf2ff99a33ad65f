"""A PyTorch model with the constants, weights and inputs of layers that TFLite's formats have.

What a format rounds, and in which ranges, was read from files of single layers that LiteRT ran: in the simulation their
outputs are equal to them in all but float32's rounding.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node

from mobilekit.artifacts import dynamic_cost
from mobilekit.rewrites.fx.constants import constant_of, store_constants
from mobilekit.rewrites.fx.graph import path_of, shape_of
from mobilekit.rewrites.shared.int8 import in_steps
from mobilekit.rewrites.shared.norms import scale_and_shift

aten = torch.ops.aten

Layer = nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d | nn.Linear
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_HALF = torch.finfo(torch.float16)

# Their numbers are constants in the file.
_WITH_NUMBERS = {
    aten.add.Tensor,
    aten.sub.Tensor,
    aten.rsub.Scalar,
    aten.mul.Tensor,
    aten.div.Tensor,
    aten.pow.Tensor_Scalar,
    aten.pow.Scalar,
    aten.clamp.default,
}
_PRODUCTS = {aten.matmul.default, aten.bmm.default, aten.mm.default}


class Product(nn.Module):
    """The product of a value (..., K) and a stored matrix (K, M), or stored matrices (..., K, M).

    Args:
        weight: What is stored.
        equation: The sums in einsum's words, where they are other ones.
    """

    def __init__(self, weight: torch.Tensor, equation: str = "") -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())
        self.equation = equation
        value, stored, _made = re.split(",|->", equation) if equation else ("k", "km", "m")
        summed = set(value) & set(stored) - set(_made)
        self.value_axes = tuple(value.index(letter) - len(value) for letter in sorted(summed))
        """Along which axes of the value there are sums."""
        self.weight_axes = (0,) if weight.ndim == 2 and not equation else tuple(range(weight.ndim))
        """Along which axes of what is stored TFLite has one scale."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the product."""
        both = (x, self.weight)
        product: torch.Tensor = torch.einsum(self.equation, *both) if self.equation else torch.matmul(*both)
        return product


def round_weights_to_float16(model: nn.Module) -> None:
    """Round every float constant to float16 and back, in place: parameters, buffers, and what a graph makes of them.

    A batch norm is rounded as the factor and the summand that the file has of it, and so are the numbers that a graph
    calculates with. Values beyond float16's range saturate as in TFLite.
    """
    for module in model.modules():
        if isinstance(module, _NORMS) and module.running_mean is not None:
            _as_factor_and_summand(module)
    if isinstance(model, GraphModule):
        store_constants(model)
        for node in model.graph.nodes:
            _round_numbers(node)
        model.recompile()
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.clamp(_HALF.min, _HALF.max).half().to(tensor.dtype)


def _as_factor_and_summand(norm: nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) -> None:
    scale, shift = scale_and_shift(norm)
    norm.weight, norm.bias, norm.eps = nn.Parameter(scale), nn.Parameter(shift), 0.0
    norm.running_mean, norm.running_var = torch.zeros_like(scale), torch.ones_like(scale)


def _round_numbers(node: Node) -> None:
    """Round the numbers that a call adds, multiplies by or clips at, but where it counts in integers."""
    if node.op != "call_function":
        return
    if node.target is aten.hardsigmoid.default:
        node.target = _hard_sigmoid
    divisor = node.args[1] if node.target is aten.div.Tensor else None
    if isinstance(divisor, int | float) and divisor:
        node.target, node.args = aten.mul.Tensor, (node.args[0], 1 / divisor)  # as TFLite has it
    value = node.meta.get("val")
    counts = isinstance(value, torch.Tensor) and not value.is_floating_point()
    if node.target in _WITH_NUMBERS and not counts:
        node.args = tuple(_halved(each) for each in node.args)
        node.kwargs = {name: each if name == "alpha" else _halved(each) for name, each in node.kwargs.items()}


def _halved(value: Any) -> Any:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return value
    return float(torch.tensor(float(value), dtype=torch.float64).clamp(_HALF.min, _HALF.max).half())


def _hard_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """A factor and a summand, clipped: TFLite has no such op."""
    scaled: torch.Tensor = x * _halved(1 / 6)
    return (scaled + 0.5).clamp(0, 1)


def round_as_dynamic(graph: GraphModule, least: int) -> None:
    """Let a graph round as a dynamic-range file does, in place: weights of layers, and the values that these take.

    Depthwise convolutions stay in float, as `convert/weights.py` leaves them in every file, whoever made its graph, and
    those of which rounding the inputs costs more than it saves.

    Args:
        graph: float32.
        least: Weights with fewer values stay in float, and so does what is multiplied by them.
    """
    store_constants(graph)
    hold_products(graph)
    left = _kept_float(graph)
    round_weights_to_int8(graph, least, left)
    round_layer_inputs(graph, least, left)


def _kept_float(graph: GraphModule) -> set[str]:
    """Return the paths of convolutions that dynamic-range files leave in float wherever they are called."""
    calls = [(node, graph.get_submodule(str(node.target))) for node in graph.graph.nodes if node.op == "call_module"]
    convolutions = [(node, module) for node, module in calls if isinstance(module, nn.Conv1d | nn.Conv2d)]
    rounded = [module for node, module in convolutions if not _stays_float(node, module)]
    left = [module for _, module in convolutions if module not in rounded]
    return {path for path, module in graph.named_modules() if module in left}  # of two names of one, the first


def _stays_float(node: Node, module: nn.Conv1d | nn.Conv2d) -> bool:
    taken, made = shape_of(node.all_input_nodes[0]), shape_of(node)
    if module.groups == module.in_channels > 1:  # TFLite's DEPTHWISE_CONV_2D: each channel has kernels of its own
        return True
    if taken is None or made is None:
        return False
    weights = (module.out_channels, module.weight[0].numel())
    return dynamic_cost.Layer.of(taken, made, module.in_channels, weights, max(module.stride)).stays_float


def hold_products(graph: GraphModule) -> None:
    """Make products by stored matrices the layers that they are in TFLite, in place; steps keep their names."""
    for node in graph.graph.nodes:
        operands, equation = _operands(node)
        if len(operands) != 2 or operands[0].op == "get_attr" or operands[1].op != "get_attr":
            continue
        stored = constant_of(graph, operands[1])
        if stored is not None and stored.is_floating_point() and stored.ndim > 1:
            path = path_of(node)
            while any(name == path for name, _module in graph.named_modules()):
                path += "_"
            graph.add_submodule(path, Product(stored, equation))
            node.op, node.target, node.args, node.kwargs = "call_module", path, (operands[0],), {}
    graph.graph.eliminate_dead_code()
    graph.recompile()


def _operands(node: Node) -> tuple[list[Node], str]:
    """Return what a node multiplies, and the equation of an einsum; nothing where it is no product."""
    if node.target in _PRODUCTS:
        return list(node.all_input_nodes), ""
    if node.target is aten.einsum.default and re.fullmatch("[a-z]+,[a-z]+->[a-z]*", str(node.args[0])):
        return list(node.all_input_nodes), str(node.args[0])
    return [], ""


def round_weights_to_int8(model: nn.Module, least: int = 1, leave: Collection[str] = ()) -> None:
    """Round layers' weights to -127..127 steps, a scale for each output channel, in place.

    Source: TensorFlow Lite 8-bit quantization specification. Stored matrices that are multiplied one by one have one
    scale for all.

    Args:
        model: What is changed.
        least: Weights with fewer values are left.
        leave: Paths of modules that are left.
    """
    for path, module in model.named_modules():
        if not isinstance(module, (*_LAYERS, Product)) or _size(module) < least or path in leave:
            continue
        weight = module.weight.data
        if isinstance(module, nn.ConvTranspose2d):  # (in, out / groups, kH, kW)
            by_group = weight.reshape(module.groups, -1, *weight.shape[1:])
            module.weight.data = in_steps(by_group, (1, 3, 4)).flatten(0, 1)
        elif isinstance(module, Product):
            module.weight.data = in_steps(weight, module.weight_axes)
        else:
            module.weight.data = in_steps(weight, tuple(range(1, weight.ndim)))


def _size(layer: Layer | Product) -> int:
    """Return how many weights a layer has; one that is transposed has an op in TFLite for each of its groups."""
    groups = layer.groups if isinstance(layer, nn.ConvTranspose2d) else 1
    return layer.weight.numel() // groups


def round_layer_inputs(model: nn.Module, least: int = 1, leave: Collection[str] = ()) -> None:
    """Make layers round their inputs as LiteRT's kernels for dynamic-range files do, in place.

    XNNPACK's kernels and TensorFlow Lite's own agree: a convolution rounds each image in its own range, and each vector
    of channels has its own where it is a matrix product: in linear layers, and in convolutions with kernels of 1 and
    steps of 1.

    Args:
        model: What is changed.
        least: Layers whose weights have fewer values are left.
        leave: Paths of modules that are left.
    """

    def rounded(layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (_rounded_input(layer, inputs[0]), *inputs[1:])

    for path, module in model.named_modules():
        if isinstance(module, (*_LAYERS, Product)) and _size(module) >= least and path not in leave:
            module.register_forward_pre_hook(rounded)


def _rounded_input(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    if isinstance(layer, nn.Linear | Product):
        return _each_in_256_steps(x, layer.value_axes if isinstance(layer, Product) else (-1,))
    if isinstance(layer, nn.ConvTranspose2d):
        by_group = x.reshape(len(x), layer.groups, -1, *x.shape[2:])
        return _each_in_256_steps(by_group, (2, 3, 4)).flatten(1, 2)
    assert isinstance(layer, nn.Conv1d | nn.Conv2d)
    is_product = layer.groups == 1 and {*layer.kernel_size, *layer.stride} == {1}
    return _each_in_256_steps(x, (1,) if is_product else tuple(range(1, x.ndim)))


def _each_in_256_steps(x: torch.Tensor, axes: tuple[int, ...]) -> torch.Tensor:
    """Round as `round_to_256_steps` does, in ranges of their own along these axes."""
    low, high = x.amin(axes, keepdim=True).clamp(max=0), x.amax(axes, keepdim=True).clamp(min=0)
    scale = ((high - low) / 255).clamp_min(torch.finfo(x.dtype).tiny)
    zero = (-low / scale).round()
    return (x / scale).round().clamp(-zero, 255 - zero) * scale


def round_to_int16(x: torch.Tensor, low: float | None = None, high: float | None = None) -> torch.Tensor:
    """Round a tensor to 2^16 even steps around 0, as values of int16x8 files are, and what lies outside to the ends.

    Args:
        x: Any values.
        low: Lowest value to carry; the tensor's own without.
        high: Highest value to carry; the tensor's own without.
    """
    lowest, highest = float(x.amin()) if low is None else low, float(x.amax()) if high is None else high
    scale = max(max(abs(lowest), abs(highest)) / (2**15 - 1), torch.finfo(x.dtype).tiny)
    if not math.isfinite(scale):
        return torch.full_like(x, math.nan)
    return (x / scale).round().clamp(-(2**15), 2**15 - 1) * scale


def round_to_256_steps(x: torch.Tensor, low: float | None = None, high: float | None = None) -> torch.Tensor:
    """Round a tensor to 256 even steps, of which 0 is one, and what lies outside to the first or last.

    Source: the same specification.

    Args:
        x: Any values.
        low: Lowest value to carry; the tensor's own without.
        high: Highest value to carry; the tensor's own without.
    """
    low = min(float(x.amin()) if low is None else low, 0.0)
    high = max(float(x.amax()) if high is None else high, 0.0)
    scale = max((high - low) / 255, torch.finfo(x.dtype).tiny)
    if not math.isfinite(scale):
        return torch.full_like(x, math.nan)
    zero = round(-low / scale)
    return ((x / scale).round().clamp(-zero, 255 - zero)) * scale
