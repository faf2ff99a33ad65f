"""The approximation of dense DFC weights: the best taps by two measures, and a drift that is measured and held."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from mobilekit.errors import GateError, UsageError
from mobilekit.models.dfc import Axis, DenseFullyConnected, SharedFullyConnected
from mobilekit.models.registry import find_model
from mobilekit.models.weights import calibrate_batch_norms
from mobilekit.recipes.load import LoadedRecipe, parse_recipe
from mobilekit.rewrites.catalogue import steps_of
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.rules.dfc_dense import DFCDense, DFCDenseOptions, fit_least_squares, project_diagonals
from tests.properties import times

quick = settings(times(0.8), derandomize=True)
channels = st.integers(1, 3)
lengths = st.integers(1, 9)
kernels = st.sampled_from([1, 3, 5, 7])
seeds = st.integers(0, 2**16)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated(seed: int, c: int, count: int, length: int, rho: float = 0.9) -> torch.Tensor:
    """AR(1) rows, as neighboring pixels are: (C, M, L) of variance 1."""
    rows = normal(seed, c, count, length)
    for i in range(1, length):
        rows[..., i] = rho * rows[..., i - 1] + (1 - rho**2) ** 0.5 * rows[..., i]
    return rows


def toeplitz(taps: torch.Tensor, length: int) -> torch.Tensor:
    """(C, K) to (C, L, L): F[i, j] = taps[j - i + K // 2]."""
    c, kernel = taps.shape
    matrix = torch.zeros(c, length, length, dtype=taps.dtype)
    for i in range(length):
        for j in range(length):
            if 0 <= j - i + kernel // 2 < kernel:
                matrix[:, i, j] = taps[:, j - i + kernel // 2]
    return matrix


def inside(kernel: int, length: int) -> list[int]:
    """The taps whose diagonals lie within the matrix; no others can be told from a matrix."""
    return [k for k in range(kernel) if abs(k - kernel // 2) < length]


def loss(taps: torch.Tensor, matrix: torch.Tensor, rows: torch.Tensor) -> float:
    """Relative L2 error of the convolution against the matrix."""
    kernel = taps.shape[1]
    windows = F.pad(rows, (kernel // 2, kernel // 2)).unfold(2, kernel, 1)
    target = rows @ matrix.transpose(1, 2)
    return float((torch.einsum("cmlk,ck->cml", windows, taps) - target).norm() / target.norm())


@quick
@given(channels, lengths, kernels, seeds)
def test_projection_gives_a_toeplitz_matrix_its_taps_back(c: int, length: int, kernel: int, seed: int) -> None:
    taps = normal(seed, c, kernel)
    found = project_diagonals(toeplitz(taps, length), kernel)
    known = inside(kernel, length)
    assert torch.allclose(found[:, known], taps[:, known], rtol=0, atol=1e-14)
    assert found.count_nonzero() == c * len(known)


@quick
@given(channels, lengths, kernels, seeds)
def test_projection_is_nearest_in_the_frobenius_norm(c: int, length: int, kernel: int, seed: int) -> None:
    matrix = normal(seed, c, length, length)
    known = inside(kernel, length)
    basis = np.stack(
        [toeplitz(torch.eye(kernel, dtype=torch.float64)[[k]], length)[0].numpy().ravel() for k in known], 1
    )
    found = project_diagonals(matrix, kernel)[:, known].numpy()
    for channel in range(c):
        expected = np.linalg.lstsq(basis, matrix[channel].numpy().ravel(), rcond=None)[0]
        assert np.abs(found[channel] - expected).max() <= 1e-12


@quick
@given(channels, st.integers(3, 9), kernels, st.integers(8, 20), seeds)
def test_least_squares_equals_numpys(c: int, length: int, kernel: int, count: int, seed: int) -> None:
    matrix, rows = normal(seed, c, length, length), correlated(seed + 1, c, count, length)
    found = fit_least_squares(matrix, rows, kernel).numpy()
    known = inside(kernel, length)
    padded = np.pad(rows.numpy(), ((0, 0), (0, 0), (kernel // 2, kernel // 2)))
    for channel in range(c):
        design = np.stack([padded[channel, :, k : k + length].ravel() for k in known], 1)
        target = (rows[channel].numpy() @ matrix[channel].numpy().T).ravel()
        expected = np.linalg.lstsq(design, target, rcond=None)[0]
        assert np.abs(found[channel, known] - expected).max() <= 1e-9 * max(1.0, np.abs(expected).max())


def test_what_the_activations_never_show_keeps_the_projection() -> None:
    matrix = normal(0, 2, 6, 6)
    silent = torch.zeros(2, 4, 6, dtype=torch.float64)
    assert torch.equal(fit_least_squares(matrix, silent, 5), project_diagonals(matrix, 5))
    constant = torch.ones(2, 4, 6, dtype=torch.float64)
    found = fit_least_squares(matrix, constant, 1)
    assert torch.allclose(found[:, 0], matrix.sum(2).mean(1), rtol=1e-12)


@pytest.mark.parametrize("kind", ["random", "decaying"])
def test_least_squares_beats_projection_on_correlated_inputs(kind: str) -> None:
    """On inputs that were not fitted to; more taps help. A random matrix stays hopeless all the same."""
    c, length = 16, 14
    matrix = normal(7, c, length, length)
    if kind == "decaying":
        distance = (torch.arange(length)[:, None] - torch.arange(length)).abs()
        matrix = 0.8**distance * (1 + 0.3 * matrix)
    seen, unseen = correlated(1, c, 400, length), correlated(2, c, 400, length)
    projected = [loss(project_diagonals(matrix, k), matrix, unseen) for k in (3, 5, 7)]
    fitted = [loss(fit_least_squares(matrix, seen, k), matrix, unseen) for k in (3, 5, 7)]
    assert all(fit < mean for fit, mean in zip(fitted, projected, strict=True))
    assert fitted == sorted(fitted, reverse=True)
    assert projected == sorted(projected, reverse=True)
    if kind == "random":
        assert all(0.9 < value < 1.1 for value in projected + fitted)
    else:
        assert all(fit < 0.75 * mean for fit, mean in zip(fitted, projected, strict=True))


@pytest.mark.parametrize("length", [7, 14, 28])
def test_random_dense_weights_lose_everything(length: int) -> None:
    matrix = normal(length, 32, length, length)
    rows = normal(length + 1, 32, 50, length)
    assert 0.9 < loss(project_diagonals(matrix, 5), matrix, rows) < 1.1


# -- on a model --------------------------------------------------------------------------------------------------------


def recipe(options: str = "", max_drift: float = 0.0) -> LoadedRecipe:
    text = (
        "input: {size: 32, crop: 1.0, color: gray, mean: [0.5], std: [0.5]}\n"
        f"rewrites:\n  - name: dfc-dense\n    options: {{{options}}}\n    max_drift: {max_drift}\n"
    )
    return parse_recipe(text, "test", "dense.yaml")


def images(seed: int, count: int = 24) -> torch.Tensor:
    """Smooth images."""
    return F.interpolate(normal(seed, count, 1, 8, 8).float(), size=32, mode="bilinear")


def dense_model(banded: bool) -> nn.Module:
    """The small model with dense weights, random or as 5 random taps give them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = find_model("ghostnetv2_digits").create(weights="dense")
    for index, module in enumerate(model.modules()):
        if banded and isinstance(module, DenseFullyConnected):
            c, length = module.weight.shape[:2]
            module.weight.data = toeplitz(normal(index, c, 5), length).float()
    calibrate_batch_norms(model, [{"input": images(0)}])
    return model


def drift_of(result: Rewritten) -> float:
    [step] = result.steps
    assert step.proof is None
    assert len(step.applied) == 28
    assert step.drift is not None
    return step.drift


@pytest.mark.parametrize("options", ["kernel_size: 7", "fit: projection"])
def test_banded_weights_survive(options: str) -> None:
    model = dense_model(banded=True)
    result = rewrite(model, recipe(options, 1e-6), {"input": images(1)})
    assert drift_of(result) <= 1e-6
    maps = [
        module for module in result.graph.modules() if isinstance(module, DenseFullyConnected | SharedFullyConnected)
    ]
    assert maps == []
    x = images(2)
    with torch.no_grad():
        assert (result.graph(x) - model(x)).abs().max() <= 1e-4 * model(x).abs().max()


def test_too_few_taps_for_the_band_drift() -> None:
    model, inputs = dense_model(banded=True), images(1)
    assert drift_of(rewrite(model, recipe("kernel_size: 3", 10), {"input": inputs})) > 0.01


def test_the_drift_is_the_relative_change_of_the_outputs() -> None:
    model, inputs = dense_model(banded=False), images(1)
    result = rewrite(model, recipe(max_drift=100), {"input": inputs})
    with torch.no_grad():
        before, after = model(inputs), result.graph(inputs)
    assert drift_of(result) == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-3)
    assert drift_of(result) > 0.05
    assert result.steps[0].max_drift == 100
    assert result.steps[0].to_json()["drift"] == drift_of(result)


def test_random_weights_are_stopped_at_the_limit() -> None:
    with pytest.raises(GateError) as caught:
        rewrite(dense_model(banded=False), recipe(max_drift=0.01), {"input": images(1)})
    assert "dfc-dense changes the outputs by" in caught.value.what
    assert "max_drift is 0.01 at dense.yaml:3." in caught.value.what


@pytest.mark.parametrize("fit", ["least-squares", "projection"])
@pytest.mark.parametrize("axis", ["horizontal", "vertical"])
def test_taps_are_fitted_to_what_flows_along_the_maps_axis(
    axis: Axis, fit: Literal["least-squares", "projection"]
) -> None:
    class Mapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = DenseFullyConnected(2, 8, axis).double()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(x * 2)
            return out

    model = Mapped()
    inputs = correlated(1, 5 * 2, 8, 8).reshape(5, 2, 8, 8)  # neighbors are alike along the width, not the height
    graph, action = trace(model, {"input": inputs[:1]}), DFCDense(DFCDenseOptions(kernel_size=3, fit=fit))
    sites = action.find(graph)
    action.prepare(graph, sites, {"input": inputs})
    action.apply(graph, sites[0])
    found = graph.get_parameter("fc.weight")
    assert found.shape == ((2, 1, 1, 3) if axis == "horizontal" else (2, 1, 3, 1))
    rows = (inputs * 2 if axis == "horizontal" else inputs.mT * 2).transpose(0, 1).flatten(1, 2)
    matrix = model.fc.weight.detach()
    expected = fit_least_squares(matrix, rows, 3) if fit == "least-squares" else project_diagonals(matrix, 3)
    assert torch.allclose(found.flatten(1), expected, rtol=1e-9)
    assert (fit_least_squares(matrix, rows, 3) - project_diagonals(matrix, 3)).abs().max() > 0.01


def test_a_drift_needs_inputs_to_measure_it_on() -> None:
    with pytest.raises(GateError, match="no inputs to measure its drift on"):
        rewrite(dense_model(banded=True), recipe(max_drift=1), None)


def test_a_map_that_is_called_twice_becomes_one_convolution() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = DenseFullyConnected(1, 32, "vertical")
            self.fc.weight.data = toeplitz(normal(0, 1, 5), 32).float()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.fc(self.fc(x))
            return out

    [step] = rewrite(Twice(), recipe(max_drift=1e-6), {"input": images(1)}).steps
    assert step.applied == ("fc", "fc")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("kernel_size: 4", ["kernel_size is 4, not odd"]),
        ("kernel_size: 0", ["kernel_size", "greater than or equal to 1"]),
        ("kernel: 5", ["unknown key kernel. Did you mean kernel_size?"]),
        ("fit: mean", ["fit", "'projection' or 'least-squares'"]),
    ],
)
def test_wrong_options_name_their_line(options: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        steps_of(recipe(options))
    for word in ["dense.yaml:4", *words]:
        assert word in str(caught.value)
