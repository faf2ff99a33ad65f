"""DFC attention against the paper's equations and the official code's convolutions, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from mobilekit.models.dfc import (
    Axis,
    DenseFullyConnected,
    DFCAttention,
    DFCOptions,
    FullyConnected,
    SharedFullyConnected,
)
from mobilekit.models.registry import find_model
from mobilekit.recipes.modules import GATED_BRANCHES
from tests.properties import times

AXES: tuple[Axis, Axis] = ("horizontal", "vertical")
quick = settings(times(0.8), derandomize=True)
channels = st.integers(1, 4)
lengths = st.integers(1, 9)
kernels = st.sampled_from([1, 3, 5, 7, 9])  # often longer than the map
axes = st.sampled_from(AXES)
seeds = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-300))


def shared(c: int, kernel: int, axis: Axis, seed: int = 0) -> SharedFullyConnected:
    module = SharedFullyConnected(c, kernel, axis).double()
    module.weight.data = normal(seed, *module.weight.shape)
    return module


def by_the_equations(z: np.ndarray, matrix: np.ndarray, axis: Axis) -> np.ndarray:
    """Equations 4 and 5, one sum at a time: a[h, w] = sum over h' (or w') of F[.,.] z[h', w] (or z[h, w'])."""
    out = np.zeros_like(z)
    images, depth, height, width = z.shape
    for n, c, h, w in np.ndindex(images, depth, height, width):
        if axis == "vertical":
            out[n, c, h, w] = sum(matrix[c, h, other] * z[n, c, other, w] for other in range(height))
        else:
            out[n, c, h, w] = sum(matrix[c, w, other] * z[n, c, h, other] for other in range(width))
    return out


@quick
@given(channels, lengths, lengths, kernels, axes, seeds)
def test_shared_map_is_the_papers_sum_with_shift_invariant_weights(
    c: int, height: int, width: int, kernel: int, axis: Axis, seed: int
) -> None:
    module, z = shared(c, kernel, axis, seed), normal(seed + 1, 2, c, height, width)
    length = width if axis == "horizontal" else height
    taps = module.weight.detach().numpy().reshape(c, kernel)
    matrix = np.zeros((c, length, length))
    for channel, row, column in np.ndindex(matrix.shape):
        tap = column - row + kernel // 2
        if 0 <= tap < kernel:
            matrix[channel, row, column] = taps[channel, tap]
    assert np.array_equal(module.matrix(length).detach().numpy(), matrix)
    expected = torch.from_numpy(by_the_equations(z.numpy(), matrix, axis))
    assert error(module(z).detach(), expected) <= 1e-13


@quick
@given(channels, lengths, lengths, kernels, axes, seeds)
def test_shared_map_is_the_official_codes_depthwise_convolution(
    c: int, height: int, width: int, kernel: int, axis: Axis, seed: int
) -> None:
    module, z = shared(c, kernel, axis, seed), normal(seed + 1, 2, c, height, width)
    half = kernel // 2
    padding = (0, half) if axis == "horizontal" else (half, 0)
    with torch.no_grad():
        assert error(module(z), F.conv2d(z, module.weight, padding=padding, groups=c)) <= 1e-13


@quick
@given(channels, lengths, lengths, axes, seeds)
def test_dense_map_is_a_matrix_for_each_channel(c: int, height: int, width: int, axis: Axis, seed: int) -> None:
    module = DenseFullyConnected(c, width if axis == "horizontal" else height, axis).double()
    z = normal(seed, 2, c, height, width)
    with torch.no_grad():
        equation = "cij,nchj->nchi" if axis == "horizontal" else "cij,ncjw->nciw"
        assert error(module(z), torch.einsum(equation, module.weight, z)) <= 1e-13
    expected = by_the_equations(z.numpy(), module.weight.detach().numpy(), axis)
    assert error(module(z).detach(), torch.from_numpy(expected)) <= 1e-13


@pytest.mark.parametrize("axis", AXES)
def test_dense_map_refuses_another_length(axis: Axis) -> None:
    module = DenseFullyConnected(2, 6, axis)
    other = (1, 2, 6, 5) if axis == "horizontal" else (1, 2, 5, 6)
    with pytest.raises(ValueError, match=f"for a map of 6 along the {axis} axis, not 5"):
        module(torch.zeros(other))
    assert module(torch.zeros(1, 2, *other[:1:-1])).shape == (1, 2, *other[:1:-1])  # the other axis is free


def test_maps_without_a_matrix_are_abstract() -> None:
    with pytest.raises(TypeError, match="abstract"):
        FullyConnected("vertical")  # type: ignore[abstract]


def test_weights_have_the_shapes_of_the_official_checkpoints() -> None:
    assert shared(6, 5, "horizontal").weight.shape == (6, 1, 1, 5)
    assert shared(6, 5, "vertical").weight.shape == (6, 1, 5, 1)
    assert DenseFullyConnected(6, 7, "vertical").weight.shape == (6, 7, 7)


def test_macs_of_the_maps() -> None:
    assert shared(6, 5, "vertical").macs(7, 9) == 6 * 5 * 7 * 9
    assert DenseFullyConnected(6, 9, "horizontal").macs(7, 9) == 6 * 9 * 7 * 9


CHOICES = list(
    itertools.product(
        ("avg", "max"), ("nearest", "bilinear"), ("before", "after"), ("horizontal-first", "vertical-first"), (8, 11)
    )
)


@pytest.mark.parametrize(("pool", "upsample", "gate", "order", "size"), CHOICES)
def test_attention_is_the_official_chain_of_layers(pool: str, upsample: str, gate: str, order: str, size: int) -> None:
    """The chain as the official code writes it, with convolutions and batch norm's formula."""
    module = DFCAttention(3, 4, DFCOptions("shared", 5, pool, upsample, gate, order)).double().eval()  # type: ignore[arg-type]
    for index, tensor in enumerate(module.state_dict().values()):
        if tensor.dtype.is_floating_point:
            tensor.copy_(normal(index, *tensor.shape).abs() + 0.2 if tensor.ndim == 1 else normal(index, *tensor.shape))

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        bn = module.get_submodule(f"{name}_bn")
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        return (x - bn.running_mean.view(1, -1, 1, 1)) * scale.view(1, -1, 1, 1) + bn.bias.view(1, -1, 1, 1)

    x = normal(99, 2, 3, size, size + 3)
    with torch.no_grad():
        windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
        z = windows.mean(4) if pool == "avg" else windows.amax(4)
        z = norm(torch.einsum("oi,nihw->nohw", module.project.weight[:, :, 0, 0], z), "project")
        for axis in ("horizontal", "vertical") if order == "horizontal-first" else ("vertical", "horizontal"):
            weight = module.get_submodule(axis).weight
            padding = (weight.shape[2] // 2, weight.shape[3] // 2)
            z = norm(F.conv2d(z, weight, padding=padding, groups=4), axis)  # type: ignore[arg-type]
        small = torch.sigmoid(z) if gate == "before" else z
        if upsample == "nearest":
            rows = torch.arange(size) * z.shape[2] // size
            columns = torch.arange(size + 3) * z.shape[3] // (size + 3)
            large = small[:, :, rows][:, :, :, columns]
        else:
            large = F.interpolate(small, size=(size, size + 3), mode="bilinear")
        expected = large if gate == "before" else torch.sigmoid(large)
        found = module(x)
    assert found.shape == (2, 4, size, size + 3)
    assert error(found, expected) <= 1e-12
    assert expected.std() > 0.05


def test_dense_attention_needs_the_input_size() -> None:
    with pytest.raises(ValueError, match="need the input size"):
        DFCAttention(3, 4, DFCOptions("dense"))


@pytest.mark.parametrize("size", [64, 224])
def test_dense_model_runs_at_the_size_that_it_was_built_for(size: int) -> None:
    model = find_model("ghostnetv2").create(weights="dense", input_size=size, num_classes=5)
    maps = [module.weight.shape[-1] for module in model.modules() if isinstance(module, DenseFullyConnected)]
    assert len(maps) == 28
    assert (maps[0], maps[-1]) == (size // 8, size // 64)
    with torch.no_grad():
        out = model(torch.ones(1, 3, size, size))
        assert out.shape == (1, 5)
        assert torch.isfinite(out).all()
        with pytest.raises(ValueError, match="dense DFC weights are for a map of"):
            model(torch.ones(1, 3, size + 32, size + 32))


def test_reports_know_the_branch_by_its_class() -> None:
    assert {DFCAttention.__name__: "DFC"} == GATED_BRANCHES
