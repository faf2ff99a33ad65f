"""float16 arithmetic, simulated: exact where every sum is, and rounded in the order that is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.parity.ledger.device_limits import device_bounds, float16_arithmetic_bounds
from mobilekit.parity.ledger.float16_arithmetic import InFloat16, float16_losses
from mobilekit.parity.ledger.result import FormatError
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.bundle import INPUT
from mobilekit.store.stages import Stage

ERROR = FormatError(
    float32_max_abs=1e-6,
    float32_relative_l2=1e-6,
    scale=1.0,
    float16_relative_l2=1e-3,
    dynamic_relative_l2=0.02,
    int8_relative_l2=0.05,
    int8_fitted_relative_l2=0.05,
    float16_arithmetic_relative_l2=4e-3,
)


def small(*shape: int) -> torch.Tensor:
    """Return whole numbers whose products and sums float16 holds."""
    return torch.randint(-3, 4, shape).float()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(12, 8, 1),
        nn.Conv2d(6, 9, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(8, 8, (1, 5), padding=(0, 2), groups=8),
        nn.Conv2d(8, 12, 3, dilation=2, padding="same", groups=2),
        nn.Conv2d(5, 4, (3, 2), stride=(2, 3), padding=(2, 1)),
    ],
    ids=str,
)
def test_whole_numbers_come_out_as_from_torch(layer: nn.Conv2d) -> None:
    torch.manual_seed(0)
    layer.weight.data = small(*layer.weight.shape)
    if layer.bias is not None:
        layer.bias.data = small(len(layer.bias))
    x = small(2, layer.in_channels, 11, 10)
    graph = trace(nn.Sequential(layer), {INPUT: x})
    with torch.no_grad():
        assert torch.equal(InFloat16(graph)(x), layer(x))


def test_a_linear_layer_rounds_after_each_four_products() -> None:
    layer = nn.Linear(10, 3)
    torch.manual_seed(1)
    x = torch.randn(5, 10).half().float()
    layer.weight.data, layer.bias.data = torch.randn(3, 10).half().float(), torch.randn(3).half().float()
    weight, total = layer.weight.detach().numpy(), np.zeros((5, 3), np.float32)
    for first in range(0, 10, 4):
        part = x[:, first : first + 4].numpy() @ weight[:, first : first + 4].T
        total = (total + part).astype(np.float16).astype(np.float32)
    wanted = (total + layer.bias.detach().numpy()).astype(np.float16).astype(np.float32)
    with torch.no_grad():
        found = InFloat16(trace(nn.Sequential(layer), {INPUT: x}))(x)
    np.testing.assert_array_equal(found.numpy(), wanted)


def test_sums_lose_more_than_values() -> None:
    """A sum of 4096 products in float16 is farther off than its rounded result."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4096, 64)).eval()
    x = torch.randn(8, 4096)
    graph = trace(model, {INPUT: x})
    inputs = {INPUT: x.numpy()}
    with torch.no_grad():
        outputs = {"output": model(x).numpy()}
    [loss] = float16_losses(graph, inputs, {next(iter(_names(graph, inputs))): outputs["output"]}).values()
    rounded = outputs["output"].astype(np.float16).astype(np.float32)
    own = np.linalg.norm(rounded - outputs["output"]) / np.linalg.norm(outputs["output"])
    assert 5 * own < loss < 0.02


def _names(graph: torch.fx.GraphModule, inputs: dict[str, np.ndarray]) -> list[str]:
    from mobilekit.artifacts.pytorch import TorchRuntime

    return list(TorchRuntime(graph).run(inputs))


def test_limits_on_a_gpu() -> None:
    """Two independent roundings lie between the files; in float32 the GPU is another processor."""
    by_stage = {stage: device_bounds(stage, ERROR)[0].limit for stage in (Stage.GPU_FLOAT32, Stage.GPU_INT8)}
    assert by_stage == {Stage.GPU_FLOAT32: 8e-6, Stage.GPU_INT8: 0.1}
    [bound] = float16_arithmetic_bounds(ERROR, 0.0)
    assert (bound.metric, bound.limit) == ("relative_l2", 8e-3)
    assert float16_arithmetic_bounds(ERROR, None) == ()
    assert float16_arithmetic_bounds(replace(ERROR, float16_arithmetic_relative_l2=np.nan), 0.0) == ()
