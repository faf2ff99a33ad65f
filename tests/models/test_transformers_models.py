"""Image models of transformers, from folders that the tests make of a config."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.build import open_source
from mobilekit.jobs.given import given_of
from mobilekit.jobs.source import Source, recipe_of_model
from mobilekit.models.names import NO_WEIGHTS, PRETRAINED
from mobilekit.models.user import resolve
from mobilekit.recipes.inputs.preprocess import preprocess

LABELS = {0: "cat", 1: "dog", 2: "cow"}
PROCESSOR = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
}


@pytest.fixture(scope="module")
def transformers() -> Any:
    return pytest.importorskip("transformers")


@pytest.fixture
def folder(tmp_path: Path, transformers: Any) -> Path:
    """A ViT of two small blocks with its weights and its processor's settings."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ViTConfig(**small, image_size=32, patch_size=8, id2label=LABELS)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    write_processor(tmp_path / "vit", PROCESSOR)
    return tmp_path / "vit"


def write_processor(folder: Path, content: dict[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def test_a_folder_brings_weights_labels_and_preprocessing(folder: Path, transformers: Any) -> None:
    spec = f"hf:{folder}"
    loaded = recipe_of_model(spec, None)
    assert loaded.recipe.labels == ("cat", "dog", "cow")
    spec_in = loaded.recipe.input
    assert (spec_in.size, spec_in.crop, spec_in.mean, spec_in.std) == (32, 1.0, (0.5,) * 3, (0.25,) * 3)
    source = Source(spec, loaded)
    built = open_source(source).fill()
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = transformers.ViTForImageClassification.from_pretrained(folder).eval()(images).logits
    torch.testing.assert_close(built.reference.model(images).logits, theirs, rtol=0, atol=0)
    graph = built.rewritten().graph
    assert list(graph(images)) == ["logits"]
    torch.testing.assert_close(graph(images)["logits"], theirs, rtol=1e-5, atol=1e-6)
    origins = {each.what: each.origin for each in given_of(source)}
    assert origins["weights"] == "on this disk"
    assert {origins[what] for what in ("size", "color", "normalization", "crop")} == {"transformers' config"}


def test_the_preprocessing_is_the_processors(folder: Path) -> None:
    """A picture of the input's shape, as the formula of transformers' documents has it, in every combination."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    cases: list[tuple[dict[str, Any], np.ndarray[Any, Any]]] = [
        ({}, (pixels / 255 - 0.5) / 0.25),
        ({"do_normalize": False}, pixels / 255),
        ({"do_rescale": False}, (pixels - 0.5) / 0.25),
        ({"rescale_factor": 1 / 127.5, "rescale_offset": True, "do_normalize": False}, pixels / 127.5 - 1),
    ]
    for changes, expected in cases:
        write_processor(folder, {**PROCESSOR, **changes})
        loaded = recipe_of_model(f"hf:{folder}", None)
        given = preprocess(Image.fromarray(pixels), loaded.recipe.input)
        np.testing.assert_allclose(given, expected.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)


def test_a_crop_is_a_share_of_the_resized_picture(folder: Path) -> None:
    write_processor(
        folder,
        {**PROCESSOR, "size": {"shortest_edge": 40}, "do_center_crop": True, "crop_size": {"height": 32, "width": 32}},
    )
    found = recipe_of_model(f"hf:{folder}", None).recipe.input
    assert (found.size, found.resized_side) == (32, 40)
    write_processor(folder, {**PROCESSOR, "size": {"shortest_edge": 32}, "crop_pct": 0.8})
    found = recipe_of_model(f"hf:{folder}", None).recipe.input
    assert (found.size, found.resized_side) == (32, 40)


def test_a_folder_without_weights_is_drawn_anew_and_says_so(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    source = Source(f"hf:{folder}", recipe_of_model(f"hf:{folder}", None))
    assert source.recipe.recipe.labels == ()
    assert given_of(source)[-1].value == "drawn anew (seed 0), not those of the folder"
    assert not open_source(source).fill().reference.is_trained
    with pytest.raises(UsageError, match="has no weights as safetensors"):
        open_source(Source(source.model, source.recipe, PRETRAINED))


def test_other_files_make_another_export(folder: Path) -> None:
    source = Source(f"hf:{folder}", recipe_of_model(f"hf:{folder}", None))
    assert [file.name for file in open_source(source).files] == ["config.json", "model.safetensors"]
    anew = Source(source.model, source.recipe, NO_WEIGHTS)
    assert [file.name for file in open_source(anew).files] == ["config.json"]


def test_what_is_no_image_model_is_refused(folder: Path, tmp_path: Path, transformers: Any) -> None:
    config = transformers.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    config.architectures = ["BertModel"]
    config.save_pretrained(tmp_path / "bert")
    (tmp_path / "empty").mkdir()
    (folder / "config.json").write_text("{}")
    for name, words in {
        "bert": "holds BertModel, which is no image model of transformers",
        "empty": "empty has no config.json",
        "vit": "is no config that transformers",
        "missing/model": "There is no folder .*missing/model, and no model of that name in the hub's cache",
    }.items():
        with pytest.raises(UsageError, match=words):
            resolve(f"hf:{tmp_path / name}")


def test_labels_that_only_count_are_none(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {number: f"LABEL_{number}" for number in range(3)}
    (folder / "config.json").write_text(json.dumps(config))
    assert recipe_of_model(f"hf:{folder}", None).recipe.labels == ()


def test_without_transformers_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ToolError) as refused:
        resolve("hf:google/vit")
    assert refused.value.what.startswith("hf:google/vit needs transformers, which cannot be imported")
    assert "pip install transformers torchvision" in refused.value.hint


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ViTImageProcessor", {"size": {"height": 24, "width": 40}}),
        ("ViTImageProcessor", {"size": {"height": 32, "width": 32}, "resample": 3}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.8, "resample": 3}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}, "crop_pct": 0.8, "resample": 2}),
        ("CLIPImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
        ("EfficientNetImageProcessor", {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}),
        ("MobileViTImageProcessor", {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}),
    ],
)
@pytest.mark.parametrize("shape", [(60, 90), (200, 120)])
def test_a_picture_of_another_shape_is_the_processors_too(
    folder: Path, transformers: Any, kind: str, settings: dict[str, Any], shape: tuple[int, int]
) -> None:
    """What each processor of transformers makes of it: stretched, or cropped from its shorter side."""
    y, x = np.meshgrid(np.linspace(0, 1, shape[0]), np.linspace(0, 1, shape[1]), indexing="ij")
    waves = np.stack([np.sin(9 * x + 2 * y), np.cos(7 * y), np.sin(5 * x * y)], 2)
    image = Image.fromarray(np.round(127.5 + 127.5 * waves).astype(np.uint8))
    processor = getattr(transformers, kind)(**settings)
    processor.save_pretrained(folder)
    spec = recipe_of_model(f"hf:{folder}", None).recipe.input
    theirs = np.asarray(processor(image, return_tensors="np")["pixel_values"][0])
    ours = preprocess(image, spec)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 0.05
