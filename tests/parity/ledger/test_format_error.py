"""The noise of a format is its own rounding: of weights, of layers' inputs, and of every tensor."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

import mobilekit.parity.ledger.format_error as noise_module
from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.models.inputs import call, zeros
from mobilekit.models.shapes import Shapes
from mobilekit.parity.ledger.float_nodes import fused_nodes
from mobilekit.parity.ledger.format_error import (
    FakeQuantInt8,
    in_float64,
    measure_format_errors,
    run_formats,
)
from mobilekit.parity.ledger.rounding import (
    round_layer_inputs,
    round_to_256_steps,
    round_to_int16,
    round_weights_to_float16,
    round_weights_to_int8,
)
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.inputs.extra import random_inputs
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.bundle import INPUT
from tests.nets_of_several_inputs import MASKED, Masked, recipe

MAP = {"input": torch.zeros(1, 2, 8, 8)}


def _layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 6, 3, groups=6), nn.Hardswish(), nn.Flatten(), nn.Linear(96, 5)
    ).eval()


def test_int8_weights_have_255_levels_a_channel() -> None:
    model, before = _layers(), _layers()
    with torch.no_grad():
        for layers in (model, before):
            layers[0].weight[3] = 0.0
            layers[0].weight[1] *= 1000
    round_weights_to_int8(model)
    for name, parameter in model.named_parameters():
        old = before.get_parameter(name)
        if name.endswith("bias"):
            assert torch.equal(parameter, old)
            continue
        for channel, exact in zip(parameter, old, strict=True):
            scale = exact.abs().max() / 127
            steps = channel / scale if scale > 0 else channel
            assert (channel - exact).abs().max() <= scale * 0.5001
            assert (steps - steps.round()).abs().max() < 1e-4
            assert steps.abs().max() <= 127.0001
            assert len(channel.unique()) <= 255
    assert not torch.equal(model[0].weight, before[0].weight)


def test_float16_weights_are_numpys() -> None:
    model = nn.Linear(4, 2)
    weight = np.float32([[1 / 3, -1e-9, 70000, 0.1], [-70000, 65504, 6e-8, 1e-5]])
    model.weight.data = torch.from_numpy(weight.copy())
    round_weights_to_float16(model)
    wanted = np.clip(weight, -65504, 65504).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(model.weight.detach().numpy(), wanted)
    assert model.weight.dtype == torch.float32


class Places(nn.Module):
    """A layer, a buffer, and positions that forward makes in float32 and adds to a map."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear = nn.Conv2d(2, 4, 1), nn.Linear(8, 8)
        self.register_buffer("offset", torch.linspace(-1, 1, 8))
        self.register_buffer("count", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(1, 9, dtype=torch.float32) / 3
        return self.conv(x) + self.linear(places) * self.count + self.offset


def test_float16_rounds_all_constants_and_what_is_made_of_them_alone() -> None:
    model, x = Places(), torch.randn(2, 2, 8, 8)
    graph = trace(model, MAP)
    with torch.no_grad():
        made = model.linear(torch.arange(1, 9, dtype=torch.float32) / 3) * 3
        round_weights_to_float16(graph)
        wanted = F.conv2d(x, model.conv.weight.half().float(), model.conv.bias.half().float())
        got = graph(x)
    wanted = wanted + made.half().float() + model.offset.half().float()
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert graph.get_buffer("offset").dtype == torch.float32


def test_a_model_that_names_float32_is_run_in_float64() -> None:
    model, x = Places(), np.random.default_rng(0).standard_normal((2, 2, 8, 8), dtype=np.float32)
    exact = in_float64(model, {"input": x}).run({"input": x})["output"]
    wide = copy.deepcopy(model).double()
    with torch.no_grad():
        places = torch.arange(1, 9, dtype=torch.float64) / 3
        wanted = wide.conv(torch.from_numpy(x).double()) + wide.linear(places) * 3 + wide.offset
    assert np.array_equal(exact, wanted.numpy().astype(np.float32))


@given(hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-1000, 1000, width=32)))
def test_rounded_tensors_have_256_levels(values: NDArray[np.float32]) -> None:
    rounded = round_to_256_steps(torch.from_numpy(values)).numpy()
    scale = (max(values.max(), 0) - min(values.min(), 0)) / 255
    # Half a step, and half a one more at the ends, which move with 0 onto the grid.
    assert np.abs(rounded - values).max() <= scale * 1.001 + 1e-30
    assert np.median(np.abs(rounded - values)) <= scale * 0.501 + 1e-30
    assert len(np.unique(rounded)) <= 256
    assert not rounded[values == 0].any()


def test_rounding_in_a_given_range_saturates() -> None:
    x = torch.tensor([-9.0, -1.0, -0.004, 0.0, 0.3, 1.55, 40.0])
    got = round_to_256_steps(x, -1.0, 1.55)
    torch.testing.assert_close(got, torch.tensor([-1.0, -1.0, 0.0, 0.0, 0.3, 1.55, 1.55]), rtol=0, atol=1e-6)
    assert round_to_256_steps(x, 0.5, 1.0).min() == 0, "the range has zero in it"
    assert round_to_256_steps(torch.tensor([1.0, math.inf])).isnan().all()


def test_ranges_are_those_of_all_inputs_and_begin_at_minus_3_before_hard_swishes_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.swish, self.identity = nn.Hardswish(), nn.Dropout()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            twice = x * 2
            return self.swish(self.identity(twice)) + self.swish(x)

    inputs = {"input": np.float32([[-8, 1], [2, 3]])}
    examples = {"input": torch.from_numpy(inputs["input"])}
    net, one = (record(trace(module, examples), inputs).ranges for module in (Net(), nn.Identity()))
    assert one["input_1"] == (-8.0, 3.0)
    assert net["x"] == (-8.0, 3.0), "the product reads it too"
    assert net["mul"] == net["identity"] == (-3.0, 6.0)
    assert net["hardswish"] == (pytest.approx(-1 / 3, abs=0.05), 6.0) or net["hardswish"][0] == 0.0
    assert net["add"][1] == 9.0


def test_int8_is_simulated_in_the_ranges_of_the_calibration() -> None:
    graph = trace(_layers(), MAP)
    small, large = (torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * size for size in (1, 9))
    ranges = record(graph, {"input": small.numpy()}).ranges
    with torch.no_grad():
        own, same = FakeQuantInt8(graph)(small), FakeQuantInt8(graph, (), ranges)(small)
        fitted, beyond = FakeQuantInt8(graph)(large), FakeQuantInt8(graph, (), ranges)(large)
        exact = graph(large)
    torch.testing.assert_close(own, same, rtol=0, atol=0.05)
    error = [float((values - exact).norm() / exact.norm()) for values in (fitted, beyond)]
    assert error[0] < 0.03
    assert error[1] > 0.3, "what lies outside the ranges is lost"


@pytest.mark.parametrize("form", ["module", "function", "method"])
def test_a_relu_is_one_op_with_the_layer_or_sum_before_it(form: str) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.between, self.relu = nn.Conv2d(2, 2, 1), nn.Dropout(), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            def relu(y: torch.Tensor) -> torch.Tensor:
                return self.relu(y) if form == "module" else torch.relu(y) if form == "function" else y.relu()

            first = relu(self.between(self.conv(x)))
            pooled = relu(nn.functional.max_pool2d(x, 1))
            return relu(first + pooled)

    assert {node.name for node in fused_nodes(trace(Net(), MAP))} == {"conv", "between", "add"}


def test_dynamic_rounds_the_inputs_of_layers_image_by_image() -> None:
    model, x = _layers(), torch.randn(3, 2, 8, 8) * torch.tensor([1.0, 100.0, 0.01]).reshape(3, 1, 1, 1)
    seen: dict[int, torch.Tensor] = {}
    round_layer_inputs(model)
    for index in (0, 2, 5):
        model[index].register_forward_hook(lambda _m, inputs, _o, index=index: seen.__setitem__(index, inputs[0]))
    with torch.no_grad():
        model(x)
        depthwise = seen[2]
        wanted = torch.stack([round_to_256_steps(image) for image in model[1](model[0](x))])
    for image, exact in zip(seen[0], x, strict=True):
        assert len(image.unique()) <= 128, "256 steps for 128 values, of its own range"
        assert (image - exact).abs().max() <= (exact.max() - exact.min()) / 255 * 0.501
        torch.testing.assert_close(image, round_to_256_steps(exact))
        assert not torch.equal(image, exact)
    torch.testing.assert_close(depthwise, wanted)
    assert all(len(row.unique()) <= 256 for row in seen[5])


def test_dynamic_rounds_each_vector_that_a_matrix_multiplies() -> None:
    """Each pixel's channels, where a convolution has one tap and steps of 1, and each row before a linear layer."""
    x = torch.randn(2, 6, 5, 5)
    for layer, values in ((nn.Conv2d(6, 4, 1), x), (nn.Linear(6, 4), x.permute(0, 2, 3, 1))):
        round_layer_inputs(layer)
        seen: list[torch.Tensor] = []
        layer.register_forward_hook(lambda _m, inputs, _o, seen=seen: seen.append(inputs[0]))
        layer(values)
        axis = 1 if isinstance(layer, nn.Conv2d) else -1
        vectors = zip(values.movedim(axis, -1).reshape(-1, 6), seen[0].movedim(axis, -1).reshape(-1, 6), strict=True)
        assert all(torch.allclose(rounded, round_to_256_steps(exact), atol=1e-6) for exact, rounded in vectors)


def test_dynamic_leaves_layers_with_few_weights_in_float() -> None:
    x = torch.randn(2, 2, 8, 8)
    model, other = _layers(), _layers()
    round_weights_to_int8(model, least=109)  # weights of 2 x 6 x 9 = 108, 54, and 480 values
    round_layer_inputs(model, least=109)
    assert [torch.equal(model[i].weight, other[i].weight) for i in (0, 2, 5)] == [True, True, False]
    assert [bool(model[i]._forward_pre_hooks) for i in (0, 2, 5)] == [False, False, True]
    with torch.no_grad():
        assert not torch.equal(model(x), other(x))


def test_int8_rounds_every_tensor_but_one_that_is_fused_with_its_relu() -> None:
    model, x = _layers(), torch.randn(2, 2, 8, 8)
    with torch.no_grad():
        got = FakeQuantInt8(trace(model, MAP))(x)
        y = round_to_256_steps(model[1](model[0](round_to_256_steps(x))))
        y = round_to_256_steps(model[3](round_to_256_steps(model[2](y))))
        wanted = round_to_256_steps(model[5](round_to_256_steps(y.flatten(1))))
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-6)
    assert not torch.allclose(got, model(x), rtol=0, atol=1e-4)


def test_noise_is_measured_on_each_format_and_leaves_the_models_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _layers()
    graph = trace(_layers(), MAP)
    monkeypatch.setattr(noise_module, "DYNAMIC_LEAST", 1)  # these layers are small
    inputs = np.random.default_rng(0).standard_normal((4, 2, 8, 8), dtype=np.float32)
    with torch.no_grad():
        outputs = model(torch.from_numpy(inputs)).numpy()
        exact = _layers().double()(torch.from_numpy(inputs).double()).numpy()
        halved = _layers()
        round_weights_to_float16(halved)
        half = halved(torch.from_numpy(inputs)).numpy()
    name = "logits" if outputs.ndim == 2 else "output"
    noise = measure_format_errors(model, graph, {"input": inputs}, {name: outputs}, {name: outputs})[name]
    assert noise.scale == pytest.approx(np.abs(exact).max(), rel=1e-6)
    assert 0 < noise.float32_max_abs < 1e-5
    assert noise.float32_max_abs == pytest.approx(np.abs(exact.astype(np.float32) - outputs).max(), abs=1e-12)
    assert noise.float16_relative_l2 == pytest.approx(np.linalg.norm(half - outputs) / np.linalg.norm(outputs))
    assert noise.float16_relative_l2 < noise.dynamic_relative_l2 < noise.int8_relative_l2 < 0.1
    for name, parameter in graph.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name))
    assert model[0].weight.dtype == torch.float32
    assert not model[0]._forward_pre_hooks


def test_every_input_is_rounded_as_int8_has_it() -> None:
    class Difference(nn.Module):
        def forward(self, image: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
            return image - offset

    shapes: Shapes = {"input": (2, 3, 4, 4), "offset": (2, 3, 1, 1)}
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    got = call(FakeQuantInt8(trace(Difference(), zeros(shapes))), inputs)
    rounded = round_to_256_steps(inputs["input"]) - round_to_256_steps(inputs["offset"])
    torch.testing.assert_close(got, round_to_256_steps(rounded), rtol=0, atol=0)


def test_the_noise_of_the_formats_is_measured_on_all_inputs() -> None:
    model = Masked().eval()
    mine = recipe(MASKED)
    graph, inputs = trace(model, zeros(mine.shapes)), random_inputs(mine)
    outputs = TorchRuntime(model).run(inputs)
    noise = measure_format_errors(model, graph, inputs, outputs, outputs)
    assert set(noise) == {"scores", "map"}
    for one in noise.values():
        assert 0 < one.float16_relative_l2 < one.int8_relative_l2 < 0.1


def test_an_int8_softmax_has_steps_of_a_256th_whatever_range_was_recorded() -> None:
    """As TFLite has it: probabilities of .2 to .4 are no nearer than others."""

    class Scores(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.softmax(1)

    graph = trace(Scores(), {"x": torch.zeros(1, 3)})
    (name,) = (node.name for node in graph.graph.nodes if "softmax" in node.name)
    made = FakeQuantInt8(graph, ranges={name: (0.0, 0.4), "x": (-1.0, 1.0)})(torch.tensor([[0.2, -0.1, 0.3]]))
    steps = made.double().numpy() * 256
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)
    assert not np.allclose(made.double().numpy() * 255 / 0.4, np.rint(made.double().numpy() * 255 / 0.4), atol=1e-2)


@given(hnp.arrays(np.float32, st.integers(1, 400), elements=st.floats(-1000, 1000, width=32)))
def test_16_bits_have_even_steps_around_0(values: NDArray[np.float32]) -> None:
    rounded = round_to_int16(torch.from_numpy(values)).numpy()
    step = np.abs(values).max() / 32767
    assert np.abs(rounded - values).max() <= step * 0.51 + 1e-30
    cut = round_to_int16(torch.from_numpy(values), -1.0, 0.5).numpy()
    np.testing.assert_allclose(cut, np.clip(np.rint(values * 32767), -32768, 32767) / 32767, rtol=1e-6)


def test_int16x8_is_simulated_where_it_is_asked_for() -> None:
    """It is the model with the weights of int8, but for what 16 bits change."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    graph, x = trace(model, MAP), np.random.default_rng(0).standard_normal((2, 2, 8, 8), dtype=np.float32)
    formats = run_formats(graph, {0: {INPUT: x}}, more=("int16x8",))[0]
    assert "int16x8" not in run_formats(graph, {0: {INPUT: x}})[0]
    round_weights_to_int8(model)
    with torch.no_grad():
        wanted = model(torch.from_numpy(x)).numpy()
    (made,), (narrow,) = formats["int16x8"].values(), formats["int8"].values()
    assert np.abs(made - wanted).max() < 2e-4 * np.abs(wanted).max() < 0.1 * np.abs(narrow - wanted).max()
