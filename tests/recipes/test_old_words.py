"""Words of earlier recipes: read as today's, with a note of the new one."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mobilekit.errors import OldWordWarning, UsageError
from mobilekit.recipes.load import parse_recipe
from mobilekit.recipes.old_words import with_new_words
from mobilekit.recipes.schema import Recipe
from mobilekit.store.files import sha256_of_json
from tests.conftest import Cli

GRAY = "size: 32, mean: [0.5], std: [0.5]"
PAIRS = {
    "quotients": ("int8: {keep_float: [quotients]}", "int8: {keep_float: [division]}"),
    "sums": ("int8: {keep_float: [sums]}", "int8: {keep_float: [residual-add]}"),
    "normalisations": ("int8: {keep_float: [normalisations]}", "int8: {keep_float: [normalization]}"),
    "colour": ("input: {colour: bgr}", "input: {color: bgr}"),
    "float64_ulps": ("limits: {onnx: {float64_ulps: 3}}", "limits: {onnx: {max_error_eps: 3}}"),
    "grey": (f"input: {{color: grey, {GRAY}}}", f"input: {{color: gray, {GRAY}}}"),
}


@pytest.mark.parametrize("word", PAIRS)
def test_an_old_word_is_read_as_the_new_one_with_a_note(word: str) -> None:
    before, now = PAIRS[word]
    with pytest.warns(OldWordWarning, match=rf"mine.yaml:2: `{word}` is called `[a-z_-]+` now") as told:
        old = parse_recipe(f"data: photos\n{before}\n", "mine", "mine.yaml")
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = parse_recipe(f"data: photos\n{now}\n", "mine", "mine.yaml")
    digests = [sha256_of_json(each.recipe.model_dump(mode="json")) for each in (old, new)]
    assert digests[0] == digests[1]


def test_the_key_and_the_value_may_both_be_old() -> None:
    with pytest.warns(OldWordWarning) as told:
        loaded = parse_recipe(f"input: {{colour: grey, {GRAY}}}", "mine", "mine.yaml")
    assert len(told) == 2
    assert loaded.recipe.input.color == "gray"


def test_the_recipe_of_a_bundle_is_read_without_a_note() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recipe = Recipe.model_validate({"input": {"colour": "bgr"}, "int8": {"keep_float": ["sums"]}})
    assert (recipe.input.color, recipe.int8.keep_float) == ("bgr", ("residual-add",))


def test_an_error_at_an_old_word_has_its_line() -> None:
    with pytest.warns(OldWordWarning), pytest.raises(UsageError, match=r"mine.yaml:3: input.color: .*'purple'"):
        parse_recipe("input:\n  size: 32\n  colour: purple\n", "mine", "mine.yaml")


def test_both_words_at_once_are_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown key colour\. Did you mean color"):
        parse_recipe("input: {colour: bgr, color: rgb}", "mine", "mine.yaml")


@pytest.mark.parametrize("content", [None, 3, "colour", [], {1: 2}, {"input": [{"colour": 1}]}, {"int8": "sums"}])
def test_what_is_no_recipe_comes_back_as_it_is(content: Any) -> None:
    assert with_new_words(content) == (content, [])


def test_the_command_line_tells_of_it_in_a_line(cli: Cli, tmp_path: Any) -> None:
    (tmp_path / "mine.yaml").write_text(PAIRS["sums"][0])
    done = cli("recipes", "check", tmp_path / "mine.yaml")
    assert done.returncode == 0
    assert done.stderr.startswith("note: ") and "`sums` is called `residual-add` now" in done.stderr
    assert done.stderr.count("\n") == 1
