"""What an export is given, and what nobody said: each with where it is from, and the option that sets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.given import assumed, given_of
from mobilekit.jobs.source import Source, choose_recipe
from mobilekit.models.names import NO_WEIGHTS
from mobilekit.recipes.load import LoadedRecipe
from tests.tiny import TINY, TINY_RECIPE

INT8 = ("int8",)


def origins(source: Source) -> dict[str, str]:
    return {each.what: each.origin for each in given_of(source)}


def options(source: Source) -> dict[str, str]:
    return {each.what: each.option for each in given_of(source)}


def values(source: Source) -> dict[str, str]:
    return {each.what: each.value for each in given_of(source)}


def own(recipe: str | Path | None = None, **changes: object) -> LoadedRecipe:
    return adjust(choose_recipe(TINY, recipe), **changes)  # type: ignore[arg-type]


def test_of_an_own_model_all_is_assumed_that_nobody_said() -> None:
    source = Source(TINY, own())
    assert values(source) == {
        "size": "224x224",
        "color": "rgb",
        "normalization": "0 to 1, mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "crop": "0.875 of height and width, bicubic",
        "calibration": "84 built-in photos",
        "evaluation": "8 built-in photos",
        "weights": f"those that {TINY} gives it",
    }
    said = {"weights": "the model's code"}
    assert origins(source) == {what: said.get(what, "assumed") for what in values(source)}
    assert options(source) == {
        "size": "--input-size",
        "color": "--color",
        "normalization": "--mean, --std",
        "crop": "--crop",
        "calibration": "--calibration",
        "evaluation": "--inputs",
        "weights": "--weights",
    }


def test_what_options_say_is_assumed_no_more() -> None:
    picture = {"color": "gray", "mean": (0.5,), "std": (0.25,), "crop": 1.0}
    loaded = own(input_size=64, picture=picture)
    source = Source(TINY, loaded, Path("net.pt"), Path("mine/photos"), Path("test.csv"))
    assert set(origins(source).values()) == {"option"} and assumed(given_of(source)) == ()
    assert values(source) == {
        "size": "64x64",
        "color": "gray",
        "normalization": "0 to 1, mean 0.5, std 0.25",
        "crop": "1 of height and width, bicubic",
        "calibration": "photos",
        "evaluation": "test.csv",
        "weights": "net.pt",
    }
    half = own(picture={"mean": (0.5,)})
    assert half.recipe.input.mean == (0.5, 0.5, 0.5)
    assert "normalization" in assumed(given_of(Source(TINY, half)))  # nobody said the deviation
    assert origins(Source(TINY, half, NO_WEIGHTS))["weights"] == "option"


def test_what_a_recipe_says_is_the_recipes(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("input: {size: 48, crop: 1.0}\ndata: photos\n")
    assert origins(Source(TINY, own(tmp_path / "mine.yaml"))) == {
        "size": "recipe mine",
        "color": "assumed",
        "normalization": "assumed",
        "crop": "recipe mine",
        "calibration": "recipe mine",
        "evaluation": "recipe mine",
        "weights": "the model's code",
    }
    (tmp_path / "default.yaml").write_text("input: {size: 48}\n")  # the user's own file of that name
    assert origins(Source(TINY, own(tmp_path / "default.yaml")))["size"] == "recipe default"
    assert origins(Source(TINY, own("default")))["size"] == "assumed"


@pytest.mark.parametrize("picture", [{"crop": 0.5}, {"dtype": "uint8"}, {"frame": (96, 128)}])
def test_an_option_does_not_make_a_recipe_say_what_it_does_not(tmp_path: Path, picture: dict[str, object]) -> None:
    (tmp_path / "mine.yaml").write_text("input: {size: 48, crop: 1.0}\n")
    loaded = own(tmp_path / "mine.yaml", picture=picture)
    assert {key: getattr(loaded.recipe.input, key) for key in picture} == picture
    found = origins(Source(TINY, loaded))
    assert (found["size"], found["color"], found["normalization"]) == ("recipe mine", "assumed", "assumed")
    assert found["crop"] == ("option" if "crop" in picture else "recipe mine")


def test_what_is_not_used_is_not_assumed(tmp_path: Path) -> None:
    floats = own(TINY_RECIPE, precision=("float32",))
    assert origins(Source(TINY, floats))["calibration"] == "not used"
    arrays = Source(TINY, own(), None, Path("a.npz"), Path("b.npz"))
    assert {origins(arrays)[what] for what in ("color", "normalization", "crop")} == {"not used"}
    assert origins(Source(TINY, own(), None, Path("a.npz"), Path("photos")))["color"] == "assumed"


def test_a_model_of_timm_brings_its_own_and_a_reference_model_assumes_nothing() -> None:
    loaded = choose_recipe("timm:resnet18", None)
    found = origins(Source("timm:resnet18", loaded))
    assert {found[what] for what in ("size", "color", "normalization", "crop")} == {"timm's config"}
    assert assumed(given_of(Source("timm:resnet18", loaded))) == ("calibration", "evaluation", "weights")
    for name in ("ghostnetv2_digits", "shufflenet_025"):
        assert assumed(given_of(Source(name, choose_recipe(name, None)))) == ()


@pytest.mark.parametrize(
    ("picture", "words"),
    [
        ({"color": "purple"}, "--color: Input should be 'rgb', 'bgr', 'gray' or 'rgba'"),
        ({"std": (0.5, 0.0, 0.5)}, "--std: Input should be greater than 0"),
        ({"mean": (0.5, 0.5)}, "mean needs 3 values for color rgb"),
        ({"color": "gray"}, "mean needs 1 value for color gray"),
    ],
)
def test_options_that_do_not_fit_are_refused(picture: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        own(picture=picture)
    assert caught.value.what == f"{words}."
    assert f"--{next(iter(picture))}" in caught.value.hint
