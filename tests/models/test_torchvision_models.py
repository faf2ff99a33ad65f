"""torchvision's models: its preprocessing and labels, its weights where they are on the disk, and its import."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import nn

from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.build import open_source
from mobilekit.jobs.given import given_of
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED
from mobilekit.models.torchvision_models import _with_new_names
from mobilekit.models.user import resolve
from mobilekit.recipes.inputs.preprocess import preprocess

NAME = "torchvision:mobilenet_v3_small"
FILE = "mobilenet_v3_small-047dcff4.pth"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def weights(cache: Path) -> nn.Module:
    """A model whose weights lie in the cache, under the name that torchvision's have."""
    torch.manual_seed(5)
    model = resolve(NAME).create()
    model.get_submodule("features.0.1").running_mean.fill_(0.1)  # trained ones have seen pictures
    torch.save(model.state_dict(), cache / FILE)
    return model


def test_its_import_works_in_a_users_code(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import torchvision\n\ndef make():\n    return torchvision.models.resnet18()\n")
    code = (
        f"from mobilekit.models.user import resolve; print(type(resolve('{tmp_path}/net.py:make').create()).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ResNet\n"), done.stderr


def test_the_preprocessing_is_that_of_the_weights(cache: Path) -> None:
    """The tensor that torchvision's own transforms make of a picture of a gradient."""
    from PIL import Image
    from torchvision.models import ResNet50_Weights  # works, as mobilekit was imported

    loaded = recipe_of_model("torchvision:resnet50", None)
    assert (loaded.recipe.input.size, loaded.recipe.input.resized_side) == (224, 232)
    assert set(loaded.set_by.values()) == {"torchvision's weights"} and loaded.recipe.labels == ()
    ramp = Image.linear_gradient("L").resize((500, 400))
    picture = Image.merge("RGB", (ramp, ramp.rotate(180), ramp.rotate(90)))
    theirs = ResNet50_Weights.DEFAULT.transforms()(picture).numpy()
    assert abs(preprocess(picture, loaded.recipe.input) - theirs).mean() < 0.02


def test_weights_on_the_disk_are_taken_and_said(cache: Path, weights: nn.Module) -> None:
    loaded = recipe_of_model(NAME, None)
    assert len(loaded.recipe.labels) == 1000 and loaded.recipe.labels[0] == "tench"
    source = Source(NAME, adjust(loaded, input_size=64))
    opened = open_source(source)
    assert [file.name for file in opened.files] == [FILE]
    reference = opened.fill().reference
    assert reference.is_trained
    assert reference.weights_source == f"trained ones (IMAGENET1K_V1 of torchvision: {FILE})"
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reference.model(images), weights.eval()(images), rtol=0, atol=0)
    said = given_of(source)[-1]
    assert (said.value, said.origin) == (f"IMAGENET1K_V1 of torchvision: {FILE}", "on this disk")


def test_weights_that_are_not_taken_are_said(cache: Path) -> None:
    source = Source(NAME, adjust(recipe_of_model(NAME, None), input_size=64))
    said = given_of(source)[-1]
    assert said.is_assumed and said.option == "--pretrained, --weights"
    assert said.value == "drawn anew (seed 0), not IMAGENET1K_V1 of torchvision"
    reference = open_source(source).fill().reference
    assert not reference.is_trained
    assert reference.weights_source.endswith("accuracy means nothing; IMAGENET1K_V1 of torchvision are not taken")


def test_other_classes_are_drawn_anew(weights: nn.Module) -> None:
    """As the head of the weights is for 1000; and `none` draws all of them."""
    loaded = adjust(recipe_of_model(NAME, None), input_size=64, num_classes=7)
    assert loaded.recipe.labels == ()
    opened = open_source(Source(NAME, loaded))
    assert opened.files == () and not opened.fill().reference.is_trained
    anew = Source(NAME, adjust(recipe_of_model(NAME, NO_WEIGHTS), input_size=64), NO_WEIGHTS)
    assert open_source(anew).files == () and anew.recipe.recipe.labels == ()


def test_without_a_network_the_download_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments: object, **_options: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    loaded = adjust(recipe_of_model(NAME, PRETRAINED), input_size=64)
    assert len(loaded.recipe.labels) == 1000
    with pytest.raises(ToolError) as refused:
        open_source(Source(NAME, loaded, PRETRAINED))
    assert refused.value.what.startswith(f"IMAGENET1K_V1 of {NAME} cannot be downloaded: <urlopen error no route>")
    assert FILE in refused.value.hint and refused.value.exit_code == 4


def test_a_download_is_taken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    state = resolve(NAME).create().state_dict()
    monkeypatch.setattr(
        torch.hub, "load_state_dict_from_url", lambda url, **_options: torch.save(state, cache / Path(url).name)
    )
    source = Source(NAME, adjust(recipe_of_model(NAME, PRETRAINED), input_size=64), PRETRAINED)
    reference = open_source(source).fill().reference
    assert not reference.is_trained and "its batch norms were never trained" in reference.weights_source
    model = reference.model
    assert torch.equal(model.state_dict()["classifier.3.weight"], state["classifier.3.weight"])
    assert (given_of(source)[-1].origin, given_of(source)[-1].option) == ("option", "--pretrained")


def test_trained_weights_that_nobody_has_are_refused() -> None:
    loaded = adjust(recipe_of_model("ghostnetv2", None), input_size=64)
    with pytest.raises(UsageError, match="takes weights that a library has, and there are none for ghostnetv2"):
        open_source(Source("ghostnetv2", replace(loaded), PRETRAINED))


def test_unknown_models_are_told_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="mobilenet_v3_small"):
        resolve("torchvision:mobilenet_v3_smal")


def test_a_segmentation_net_downloads_no_backbone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *_a, **_o: pytest.fail("a download"))
    model = resolve("torchvision:lraspp_mobilenet_v3_large").create(num_classes=3)
    with torch.no_grad():
        assert model(torch.zeros(1, 3, 64, 64))["out"].shape == (1, 3, 64, 64)


def test_old_names_of_densenets_are_joined() -> None:
    old = {"features.denseblock1.denselayer1.norm.1.weight": torch.zeros(1), "classifier.bias": torch.zeros(1)}
    new = _with_new_names(old)
    assert set(new) == {"features.denseblock1.denselayer1.norm1.weight", "classifier.bias"}
    assert "features.denseblock1.denselayer1.norm1.weight" in resolve("torchvision:densenet121").create().state_dict()


def test_a_segmentation_net_has_no_labels_of_its_outputs() -> None:
    """Its classes are the channels of a map, and labels name the outputs of a classifier."""
    found = [resolve(f"torchvision:{name}").pretrained for name in ("lraspp_mobilenet_v3_large", "mobilenet_v3_small")]
    assert [len(each.labels) for each in found if each] == [0, 1000]
