"""timm's models: its preprocessing, and its weights where they are in the hub's cache."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mobilekit.errors import ToolError
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.build import open_source
from mobilekit.jobs.given import given_of
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED
from mobilekit.models.timm_models import _preprocessing
from mobilekit.models.user import resolve
from mobilekit.recipes.inputs.preprocess import preprocess
from mobilekit.recipes.picture import Input

pytest.importorskip("timm")
NAME = "timm:mobilenetv3_small_050"
REPOSITORY = "models--timm--mobilenetv3_small_050.lamb_in1k"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, without a network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path


@pytest.fixture
def weights(cache: Path) -> nn.Module:
    """A model whose weights lie in the cache, under the name that timm's have."""
    from safetensors.torch import save_file

    torch.manual_seed(5)
    model = resolve(NAME).create().eval()
    model.get_submodule("bn1").running_mean.fill_(0.1)  # type: ignore[union-attr, operator]  # trained ones saw pictures
    folder = cache / REPOSITORY
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    save_file(model.state_dict(), folder / "snapshots" / "abc" / "model.safetensors")
    return model


def small(weights: Path | None) -> Source:
    return Source(NAME, adjust(recipe_of_model(NAME, weights), input_size=64), weights)


@pytest.mark.parametrize("asked", [None, PRETRAINED])
def test_weights_on_the_disk_are_taken_and_said(weights: nn.Module, asked: Path | None) -> None:
    source = small(asked)
    opened = open_source(source)
    assert [file.name for file in opened.files] == ["model.safetensors"]
    reference = opened.fill().reference
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reference.model.eval()(images), weights(images), rtol=0, atol=0)
    assert reference.weights_source == "trained ones (lamb_in1k of timm: model.safetensors)"
    said = given_of(source)[-1]
    assert said.origin == ("option" if asked else "on this disk")
    assert open_source(small(NO_WEIGHTS)).files == ()


def test_without_a_network_the_download_is_refused(cache: Path) -> None:
    said = given_of(small(None))[-1]
    assert (said.value, said.is_assumed) == ("drawn anew (seed 0), not lamb_in1k of timm", True)
    with pytest.raises(ToolError, match=f"The weights of {NAME} cannot be downloaded: ") as refused:
        open_source(small(PRETRAINED))
    assert refused.value.hint == (
        "Where there is a network, save model.safetensors of timm/mobilenetv3_small_050.lamb_in1k on the hub, and give "
        "it by --weights."
    )


def test_the_config_says_how_a_picture_is_resized() -> None:
    found: dict[str, Any] = {
        name: resolve(f"timm:{name}").preprocessing for name in ("resnet18", "cspdarknet53", "coatnet_rmlp_2_rw_384")
    }
    assert found["resnet18"]["resize"] == {"mode": "crop", "filter": "bicubic"}
    assert found["cspdarknet53"]["resize"] == {"mode": "crop", "filter": "bilinear"}
    assert found["coatnet_rmlp_2_rw_384"]["resize"] == {"mode": "stretch", "filter": "bicubic"}


@pytest.mark.parametrize("share", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize(("filter_", "limit"), [("bilinear", 2.01), ("bicubic", 3.01)])
def test_pictures_are_those_of_its_own_transform(share: float, filter_: str, limit: float) -> None:
    """To two levels on noise, three where overshoot is cut off: Pillow rounds twice, and a half may go either way."""
    import timm.data

    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 130, 3), np.uint8))
    how = {"input_size": (3, 56, 56), "crop_pct": share, "crop_mode": "center", "interpolation": filter_}
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    expected = timm.data.create_transform(**how, **plain)(noise).numpy()
    spec = Input.model_validate(_preprocessing(SimpleNamespace(**how, **plain)))
    apart = 255 * np.abs(preprocess(noise, spec) - expected)
    assert apart.max() <= limit and apart.mean() < 0.5
