"""Files that take several inputs at once give each the row that the net gives it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.batches import check_batch
from mobilekit.rewrites.fx.graph import trace
from tests.conftest import Cli
from tests.tflite_faults import with_larger_weights
from tests.tiny import TINY, Tiny

BATCH = 3
INPUTS = np.random.default_rng(0).standard_normal((BATCH, 3, 32, 32), dtype=np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """A bundle of the tiny net whose files take three pictures, measured on eight: the last batch is not full."""
    out = tmp_path_factory.mktemp("batches") / "out"
    done = cli("export", TINY, "--input-size", "32", "--batch", str(BATCH), "-o", out)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def expected(bundle: Path) -> NDArray[np.float32]:
    from safetensors.torch import load_file

    net = Tiny().eval()
    net.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    with torch.no_grad():
        made: NDArray[np.float32] = net(torch.from_numpy(INPUTS)).numpy()
    return made


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "limit"), [("float32", 1e-6), ("dynamic", 1e-6), ("float16", 2e-3), ("int8", 0.1)]
)
def test_each_row_is_that_of_its_input(bundle: Path, precision: str, limit: float) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(bundle / f"model.{precision}.tflite"))
    interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert taken["shape"].tolist() == [BATCH, 32, 32, 3]

    def numbers(values: NDArray[Any], detail: dict[str, Any]) -> NDArray[Any]:
        scale, zero_point = detail["quantization"]
        return np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8) if scale else values

    interpreter.set_tensor(taken["index"], np.ascontiguousarray(numbers(INPUTS.transpose(0, 2, 3, 1), taken)))
    interpreter.invoke()
    made, (scale, zero_point) = interpreter.get_tensor(given["index"]), given["quantization"]
    made = (made.astype(np.float32) - zero_point) * scale if scale else made
    right = expected(bundle)
    assert made.shape == right.shape
    for row, correct in zip(made, right, strict=True):
        assert np.linalg.norm(row - correct) / np.linalg.norm(correct) < limit


@pytest.mark.slow
def test_the_onnx_file_takes_them_too(bundle: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": INPUTS})[0], expected(bundle), atol=1e-6)


@pytest.mark.slow
def test_a_fault_in_one_of_the_files_is_found(bundle: Path, tmp_path: Path, cli: Cli) -> None:
    wrong = tmp_path / "wrong"
    shutil.copytree(bundle, wrong)
    file = wrong / "model.float32.tflite"
    file.write_bytes(with_larger_weights(file.read_bytes(), "DEPTHWISE_CONV_2D"))
    done = cli("diff", wrong, "--reference", TINY, "--bisect", tmp_path / "fault")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "in the candidate: DEPTHWISE_CONV_2D" in done.stdout


class OneImage(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, -1).sum(1)


def test_a_model_that_takes_one_input_alone_is_refused() -> None:
    graph = trace(OneImage(), {"input": torch.zeros(1, 3, 8, 8)})
    check_batch(graph, "net.py:make", 1)
    with pytest.raises(UsageError, match=r"net.py:make takes one input at a time, so files cannot take a batch of 2"):
        check_batch(graph, "net.py:make", 2)
