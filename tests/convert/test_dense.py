"""Grouped 1 x 1 convolutions of 8 bits as dense ones: the same function, to the bit in integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.tflite import TFLiteGraph, constant
from mobilekit.convert.dense import with_dense_pointwise
from tests.tflite_by_hand import make_grouped


def outputs(content: bytes, folder: Path) -> np.ndarray:
    path = folder / "net.tflite"
    path.write_bytes(content)
    runtime = LiteRTRuntime(path)
    given = np.random.default_rng(1).normal(size=(4, 8, 4, 4)).astype(np.float32)
    [made] = runtime.run({runtime.inputs[0].name: given}).values()
    return made


def weights_of(content: bytes) -> torch.Tensor:
    """Return the weights of the file's convolution, (out, in / groups, height, width), as float32."""
    graph = TFLiteGraph(content)
    values = constant(graph.model, graph.tensors[graph.operands[0][1]])
    assert values is not None
    return torch.from_numpy(values.astype(np.float32)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_the_function_stays(groups: int, tmp_path: Path) -> None:
    before = make_grouped(1, groups)
    after, changed = with_dense_pointwise(before)
    assert changed == 1
    assert weights_of(after).shape == (16, 8, 1, 1)
    x = torch.randint(-127, 128, (2, 8, 3, 3)).float()
    assert torch.equal(F.conv2d(x, weights_of(after)), F.conv2d(x, weights_of(before), groups=groups))
    assert np.array_equal(outputs(after, tmp_path), outputs(before, tmp_path))
    assert len(np.unique(outputs(after, tmp_path))) > 20


def test_scales_stay_and_old_values_go() -> None:
    before = make_grouped(1, 2)
    graph = TFLiteGraph(with_dense_pointwise(before)[0])
    old, new = graph.tensors[1], graph.tensors[graph.operands[0][1]]
    assert list(new.quantization.scale) == list(old.quantization.scale)
    assert constant(graph.model, old) is None


@pytest.mark.parametrize(("kernel", "groups"), [(1, 1), (3, 2)])
def test_other_convolutions_stay(kernel: int, groups: int) -> None:
    content = make_grouped(kernel, groups)
    assert with_dense_pointwise(content) == (content, 0)
