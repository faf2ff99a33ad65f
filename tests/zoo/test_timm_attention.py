"""timm's networks of attention: as many heads as tokens, and tables of position biases, told apart from zero."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekit.models.timm_models import import_timm
from mobilekit.models.weights import calibrate_batch_norms
from tests.conftest import Cli
from tests.other_hands import run_litert
from tests.zoo import MODELS

FACTORY = """
from tests.zoo.test_timm_attention import drawn


def make():
    return drawn("{name}")
"""


def drawn(name: str) -> nn.Module:
    """Return timm's model with what timm starts at zero drawn anew: else a wrong branch adds nothing.

    Last norms of branches, layer scales and tables of biases start at 0 or 1e-5.
    """
    torch.manual_seed(0)
    model: nn.Module = import_timm().create_model(name).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if "attention_bias" in path:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
            elif parameter.ndim == 1 and not path.endswith("bias"):
                parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    calibrate_batch_norms(model, [{"input": torch.randn(8, 3, 224, 224, generator=generator)}])
    return model


@pytest.mark.parametrize("model", [model for model in MODELS if model == "ghostnet"])
@pytest.mark.parametrize("name", ["levit_128s", "tiny_vit_5m_224", "efficientformer_l1"])
def test_attention_arrives_in_float32(model: str, name: str, tmp_path: Path, cli: Cli) -> None:
    """LiteRT's output is timm's, but for the roundings of some 100 layers: a few 1e-6 of the largest value."""
    assert model
    factory = tmp_path / "net.py"
    factory.write_text(FACTORY.format(name=name))
    done = cli("export", f"{factory}:make", "--precision", "float32", "--input-size", "224", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stdout + done.stderr
    image = np.random.default_rng(3).standard_normal((1, 3, 224, 224), dtype=np.float32)
    with torch.no_grad():
        expected = drawn(name)(torch.from_numpy(image)).numpy()
    given = run_litert(tmp_path / "out" / "model.float32.tflite", image)
    assert np.abs(given - expected).max() <= 2e-5 * np.abs(expected).max()
