"""Recipes are data: the ones that ship are right, and a wrong one says file, line and the nearest key."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from mobilekit.errors import UsageError
from mobilekit.models.registry import model_names
from mobilekit.recipes.builtin import builtin_recipes, recipe_models
from mobilekit.recipes.load import LoadedRecipe, load_recipe, parse_recipe, recipe_for
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import DEFAULT_PRECISIONS, Recipe
from mobilekit.rewrites.catalogue import REWRITES, steps_of
from tests.conftest import ROOT
from tests.properties import times

GOOD = """\
models: [mine]
input:
  size: 64
  color: bgr
  mean: [0.1, 0.2, 0.3]
  std: [1, 2, 3]
data: photos
rewrites:
  - name: dfc-dense
    options:
      kernel_size: 7
      fit: projection
    max_drift: 0.5
  - name: noop-slice
precision: [int8, float32]
calibration:
  count: 3
limits:
  tflite-int8:
    relative_l2: 0.2
"""


def _load(folder: Path, text: str) -> LoadedRecipe:
    path = folder / "mine.yaml"
    path.write_text(text)
    return load_recipe(str(path))


def _error(folder: Path, text: str) -> UsageError:
    """Return the error of a recipe or of its steps."""
    with pytest.raises(UsageError) as caught:
        steps_of(_load(folder, text))
    return caught.value


def test_the_files_are_the_built_in_recipes() -> None:
    assert sorted(builtin_recipes()) == sorted(path.stem for path in (ROOT / "export_recipes").glob("*.yaml"))
    assert {"ghostnet", "ghostnetv2", "ghostnetv2_digits"} <= set(builtin_recipes())


@pytest.mark.parametrize("name", builtin_recipes())
def test_built_in_recipes_are_right(name: str) -> None:
    loaded = load_recipe(name)
    assert loaded.name == name
    assert loaded.source == f"export_recipes/{name}.yaml"
    steps = steps_of(loaded)
    assert [step.spec.name for step in steps] == [step.rewrite.name for step in steps]
    assert [step.index for step in steps] == list(range(len(steps)))
    assert len(steps) == len(loaded.recipe.rewrites) > 0
    assert set(loaded.recipe.models) <= set(model_names())
    for model in loaded.recipe.models:
        assert recipe_for(model).name == name


def test_every_registered_model_has_one_recipe() -> None:
    named = [model for name in builtin_recipes() for model in load_recipe(name).recipe.models]
    assert sorted(named) == model_names()
    assert recipe_models() == {name: list(load_recipe(name).recipe.models) for name in builtin_recipes()}


def test_an_unknown_model_gets_the_default_recipe() -> None:
    loaded = recipe_for("timm:something")
    assert loaded.name == "default"
    assert {"gate-before-upsample", "fold-batch-norm", "noop-slice"} <= {step.name for step in loaded.recipe.rewrites}
    assert all(REWRITES[step.name].exactness.is_proved for step in loaded.recipe.rewrites)
    assert loaded.recipe.precision == DEFAULT_PRECISIONS
    assert loaded.recipe.input.shape == (1, 3, 224, 224)


def test_a_file_says_what_it_says(tmp_path: Path) -> None:
    loaded = _load(tmp_path, GOOD)
    assert loaded.name == "mine"
    recipe = loaded.recipe
    assert recipe.input == Input(size=64, color="bgr", mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    assert recipe.precision == ("int8", "float32")
    assert recipe.calibration.count == 3
    assert recipe.limits["tflite-int8"].relative_l2 == 0.2
    dense, noop = steps_of(loaded)
    options = dense.rewrite.options
    assert (dense.spec.max_drift, options.kernel_size, options.fit) == (0.5, 7, "projection")
    assert noop.name == "noop-slice"
    assert loaded.where(("rewrites", 1)) == f"{tmp_path / 'mine.yaml'}:14"
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


# Old line, new line, its number, and what the message says beside the place.
WRONG = {
    "unknown top key": ("data: photos", "dat: photos", 7, "unknown key dat. Did you mean data"),
    "unknown nested key": ("  color: bgr", "  colur: bgr", 4, "unknown key colur. Did you mean color?"),
    "unknown key of a limit": ("    relative_l2: 0.2", "    relativ_l2: 0", 20, "Did you mean relative_l2?"),
    "unknown key of a step": (
        "    max_drift: 0.5",
        "    maxdrift: 0.5",
        13,
        "unknown key maxdrift. Did you mean max_drift",
    ),
    "nothing near": ("data: photos", "zzz: 1", 7, "unknown key zzz. Known: calibration, coreml, data,"),
    "wrong type": ("  size: 64", "  size: big", 3, "input.size: Input should be a valid integer"),
    "a value for a mapping": ("  count: 3", "  3", 16, "calibration"),
    "out of range": ("  size: 64", "  size: 4", 3, "greater than or equal to 8, not 4"),
    "not a choice": ("data: photos", "data: fotos", 7, "'photos' or 'digits', not 'fotos'"),
    "an old opset": ("data: photos", "onnx: {opset: 17}", 7, "onnx.opset: Input should be 18 or 20, not 17"),
    "a word for a list": (
        "precision: [int8, float32]",
        "precision: int8",
        15,
        "precision: write it as a list: [int8].",
    ),
    "an empty list": ("precision: [int8, float32]", "precision: []", 15, "precision: it names nothing; leave the key"),
    "rewrite as a word": ("  - name: noop-slice", "  - noop-slice", 14, "rewrites.1: write `- name: noop-slice`."),
    "unknown stage's key": ("  tflite-int8:", "  tflite-int4:", 19, "19: limits.tflite-int4: Input should be"),
    "unknown stage": ("  tflite-int8:", "  tflite-int4:", 19, "'pte-int8', not 'tflite-int4'"),
    "unknown precision": ("precision: [int8, float32]", "precision: [int8, fp32]", 15, "precision.1"),
    "mean too short": ("  mean: [0.1, 0.2, 0.3]", "  mean: [0.1]", 2, "mean needs 3 values for color bgr"),
    "std too long": ("  std: [1, 2, 3]", "  std: [1, 2, 3, 4]", 2, "std needs 3 values for color bgr"),
    "mean for gray": ("  color: bgr", "  color: gray", 2, "mean needs 1 value for color gray"),
    "std of zero": ("  std: [1, 2, 3]", "  std: [1, 0, 3]", 6, "input.std.1: Input should be greater than 0"),
    "mean not a number": ("  mean: [0.1, 0.2, 0.3]", "  mean: [.nan, 0, 0]", 5, "finite number"),
    "drift without end": ("    max_drift: 0.5", "    max_drift: .inf", 13, "finite number"),
    "unknown rewrite": ("  - name: noop-slice", "  - name: noop-slise", 14, "there is no rewrite noop-slise"),
    "rewrite without name": ("  - name: noop-slice", "  - allow: true", 14, "rewrites.1.name: Field required"),
    "unknown option": ("      kernel_size: 7", "      kernelsize: 7", 11, "Did you mean kernel_size?"),
    "wrong option": ("      fit: projection", "      fit: projektion", 12, "'projection' or 'least-squares'"),
    "even kernel": ("      kernel_size: 7", "      kernel_size: 6", 10, "kernel_size is 6, not odd"),
    "options of one without": ("  - name: noop-slice", "  - {name: noop-slice, options: {a: 1}}", 14, "unknown key a"),
    "doubled key": ("data: photos", "input: {}", 7, "the key input stands twice"),
    "doubled nested key": ("  color: bgr", "  size: 65", 4, "the key size stands twice"),
    "syntax": ("data: photos", "data: [photos", 8, "not valid YAML: expected ',' or ']'"),
    "tab": ("data: photos", "\tdata: photos", 7, "not valid YAML: found character '\\t'"),
    "control character": ("data: photos", "data: \x07", 7, "not valid YAML: unacceptable character"),
    "no such date": ("data: photos", "data: 2020-99-99", 7, "2020-99-99 is not of the type timestamp"),
    "no such number": ("  size: 64", "  size: 0x_", 3, "0x_ is not of the type int"),
    "alias": ("models: [mine]", "models: &a [*a]", 1, "aliases are not taken"),
    "tag of Python": ("data: photos", "data: !!python/name:os.system", 7, "could not determine a constructor"),
    "key is a number": ("data: photos", "7: photos", 7, "Keys should be strings"),
}


@pytest.mark.parametrize(("old", "new", "line", "says"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_recipe_names_file_line_and_nearest_key(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    lines = GOOD.splitlines()
    assert lines.count(old) == 1
    text = "\n".join(new if each == old else each for each in lines)
    error = _error(tmp_path, text)
    assert error.what.startswith(f"{tmp_path / 'mine.yaml'}:{line}: "), error.what
    assert says in str(error)


def test_the_nearest_rewrite_is_named(tmp_path: Path) -> None:
    assert "Did you mean noop-slice?" in _error(tmp_path, "rewrites:\n  - name: noop_slice\n").hint


def test_the_first_three_problems_are_told(tmp_path: Path) -> None:
    what = _error(tmp_path, "a: 1\nb: 2\nc: 3\nd: 4\n").what
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in what.splitlines()] == ["1", "2", "3"]


@pytest.mark.parametrize("text", ["- models\n", "models\n", "3\n", "- input: {}\n"])
def test_a_recipe_is_a_mapping(tmp_path: Path, text: str) -> None:
    error = _error(tmp_path, text)
    assert error.what.startswith(f"{tmp_path / 'mine.yaml'}:1: the recipe: ")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_recipe_is_refused(tmp_path: Path, text: str) -> None:
    error = _error(tmp_path, text)
    assert error.what == f"{tmp_path / 'mine.yaml'}:1: the recipe is empty."
    assert "recipes show default" in error.hint


def test_uint8_ends_are_for_files_that_take_bytes(tmp_path: Path) -> None:
    assert "write input: {dtype: uint8} as well" in _error(tmp_path, "int8: {io: uint8}\n").what
    assert _load(tmp_path, "int8: {io: uint8}\ninput: {dtype: uint8}\n").recipe.int8.io == "uint8"


def test_gates_on_apps_are_for_pictures(tmp_path: Path) -> None:
    text = "gates: {{app: {{tf: {{agreement: .9}}}}}}\ninput: {{channels: {}}}\n"
    assert "gates.app begins at pictures, and input takes arrays of 6" in _error(tmp_path, text.format(6)).what
    assert _load(tmp_path, text.format("null")).recipe.gates.app


def test_a_recipe_without_keys_is_the_default(tmp_path: Path) -> None:
    assert _load(tmp_path, "{}").recipe == Recipe()


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_bytes("models: [größe]".encode("latin-1"))
    with pytest.raises(UsageError, match=r"Cannot read .*mine.yaml") as caught:
        load_recipe(str(tmp_path / "mine.yaml"))
    assert "UTF-8" in caught.value.hint


def test_no_such_recipe(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no recipe ghostnetv3") as caught:
        load_recipe("ghostnetv3")
    assert "ghostnetv2" in caught.value.hint
    with pytest.raises(UsageError, match=f"There is no file {tmp_path}"):
        load_recipe(str(tmp_path))


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['{}']", "!!python/object/new:os.system ['{}']", "!<x> '{}'"]
)
def test_no_tag_runs_code(tmp_path: Path, tag: str) -> None:
    made = tmp_path / "made"
    _error(tmp_path, "model_options: " + tag.format(f"touch {made}"))
    assert not made.exists()


@pytest.mark.parametrize("opener", ["[", "{a: ", "- "])
def test_endless_nesting_is_an_error_and_no_crash(tmp_path: Path, opener: str) -> None:
    assert "mine.yaml:1: not valid YAML" in _error(tmp_path, opener * 1000).what


def test_the_schema_is_json_schema_and_agrees(tmp_path: Path) -> None:
    schema = json.loads(json.dumps(Recipe.model_json_schema(), allow_nan=False))
    assert set(schema["properties"]) == set(Recipe.model_fields)
    assert schema["additionalProperties"] is False
    assert schema["$defs"]["Input"]["properties"]["size"]["anyOf"][0]["minimum"] == 8
    assert schema["$defs"]["Input"]["properties"]["color"]["enum"] == ["rgb", "bgr", "gray", "rgba"]
    references = {text.split('"')[0] for text in json.dumps(schema).split('"$ref": "#/$defs/')[1:]}
    assert references <= set(schema["$defs"])
    for rewrite in REWRITES.values():
        assert rewrite.options_type.model_json_schema()["additionalProperties"] is False


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().input.size = 3  # type: ignore[misc]


_WORDS = [
    "name",
    "options",
    "dfc-dense",
    "&a",
    "*a",
    "<<",
    "[",
    "]",
    "{",
    "}",
    ",",
    "!!int",
    "!!binary",
    "!!set",
    "!!omap",
    "|",
    ">",
    "'",
    '"',
    "#",
    "---",
    "%",
    "?",
    "0x",
    "1e999",
    ".nan",
    "2020-13-13",
    "1:99:99",
    "null",
    "~",
    "true",
    "=",
    "-1",
    "\x00",
    "\ufeff",
    "99999999999999999999999999",
]
_PIECES = st.sampled_from([*Recipe.model_fields, *Input.model_fields, *_WORDS, " ", "  ", "\n", "\t", "- ", ": "])


@times(4)
@given(
    text=st.text(max_size=80)
    | st.lists(_PIECES, max_size=25).map("".join)
    | st.binary().map(lambda b: b.decode("latin-1"))
)
@example("a: &a [*a]")
@example("? [a]\n: b")
@example("a: " + "9" * 5000)
@example("input: {1: 2}")
@example("rewrites: [{name: dfc-dense, options: {1: 2}}]")
def test_nothing_but_a_usage_error_comes_out(text: str) -> None:
    try:
        loaded = parse_recipe(text, "fuzz", "fuzz.yaml")
        steps_of(loaded)
    except UsageError as error:
        assert error.what.startswith("fuzz.yaml:")
        return
    assert isinstance(loaded.recipe, Recipe)


@given(data=st.binary(max_size=60))
def test_a_file_of_any_bytes_gives_a_recipe_or_a_usage_error(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        file.write(data)
        file.flush()
        try:
            assert isinstance(load_recipe(file.name).recipe, Recipe)
        except UsageError as error:
            assert file.name in error.what


@pytest.mark.parametrize(
    ("gate", "told"),
    [
        ("{whole: true, precison: [int8]}", "r.yaml:1: unknown key precison. Did you mean precision?"),
        ("{}", "r.yaml:1: gates.targets.gpu: it asks for nothing: give `whole: true`, or `max_partitions`."),
    ],
)
def test_a_wrong_gate_on_a_target_is_told(gate: str, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(f"gates: {{targets: {{gpu: {gate}}}}}", "r", "r.yaml")
    assert caught.value.what == told
