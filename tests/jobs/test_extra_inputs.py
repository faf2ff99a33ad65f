"""Models of several inputs: named the same from the recipe to the artifacts, in whatever order a tool has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.errors import UsageError
from mobilekit.jobs.export import adjust
from mobilekit.models.build import check_inputs
from mobilekit.models.inputs import Shapes, Tensors, call, resized, zeros
from mobilekit.models.registry import ModelEntry, Published
from mobilekit.parity.ledger.format_error import EveryTensorRounded, measure_noise, round_to_256_steps
from mobilekit.recipes.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.recipes.inputs.extra import random_inputs, with_extras
from mobilekit.recipes.inputs.user_data import load_own, own_files
from mobilekit.recipes.load import parse_recipe
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from mobilekit.rewrites.proof import cases_for, smallest_case
from tests.conftest import ROOT, Cli
from tests.nets_of_several_inputs import Masked, Stereo

Array = NDArray[np.float32]
NETS = ROOT / "tests" / "nets_of_several_inputs.py"
EXAMPLE = ROOT / "docs" / "examples"
MASKED = """\
input: {size: 32}
extra_inputs:
  mask: {shape: [1, 1, 32, 32], range: [0, 1]}
  features: {shape: [1, 6, 8, 8]}
  prior: {shape: [1, 4]}
rewrites:
  - name: fold-batch-norm
"""
STEREO = "input: {size: 32}\nextra_inputs: {another: {like: input}}\n"


def recipe(text: str) -> Recipe:
    return parse_recipe(text, "mine", "mine.yaml").recipe


def entry(build: Callable[..., nn.Module]) -> ModelEntry:
    return ModelEntry("net.py:make", build, "", 32, 0, 0, Published())


# -- recipes -----------------------------------------------------------------------------------------------------------


def test_shapes_are_by_name_and_the_picture_is_first() -> None:
    shapes = recipe(MASKED).shapes
    assert list(shapes.items()) == [
        ("input", (1, 3, 32, 32)),
        ("mask", (1, 1, 32, 32)),
        ("features", (1, 6, 8, 8)),
        ("prior", (1, 4)),
    ]
    assert recipe(STEREO).shapes["another"] == (1, 3, 32, 32)


def test_a_recipe_of_one_picture_is_written_as_ever() -> None:
    assert "extra_inputs" not in recipe("input: {size: 32}").model_dump(mode="json")
    content = recipe(MASKED).model_dump(mode="json")
    assert list(content["extra_inputs"]) == ["mask", "features", "prior"]
    assert Recipe.model_validate(json.loads(json.dumps(content))) == recipe(MASKED)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("mask: {}", "mine.yaml:2: extra_inputs.mask: .*either a shape or `like: input`"),
        ("mask: {shape: [1, 3], like: input}", "either a shape or `like: input`"),
        ("mask: {shape: [2, 3]}", "its first is 1, the batch"),
        ("mask: {shape: [1]}", "needs two axes or more"),
        ("mask: {shape: [1, 0]}", "greater than or equal to 1, not 0"),
        ("mask: {shape: [1, 4], range: [1, 1]}", "from a lower to a higher value"),
        ("mask: {like: input, range: [0, 1]}", "belongs to a shape"),
        ("mask: {like: left}", "should be 'input', not 'left'"),
        ("mask: {shpe: [1, 4]}", "mine.yaml:2: unknown key shpe. Did you mean shape?"),
        ("input: {like: input}", "input is the name of the picture"),
        ("labels: {shape: [1, 4]}", "labels is the name of the class numbers"),
        ("_mask: {shape: [1, 4]}", "'_mask' cannot name an input"),
    ],
)
def test_a_wrong_extra_input_is_told_with_its_line(extra: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        recipe(f"extra_inputs:\n  {extra}\n")


def test_another_size_of_pictures_takes_those_inputs_along_that_have_it() -> None:
    shapes = adjust(parse_recipe(MASKED, "mine", "mine.yaml"), input_size=48).recipe.shapes
    assert shapes == {"input": (1, 3, 48, 48), "mask": (1, 1, 48, 48), "features": (1, 6, 8, 8), "prior": (1, 4)}
    odd = resized({"input": (1, 3, 4, 6), "a": (1, 4, 6), "b": (1, 6), "c": (1, 2, 9, 4, 6)}, (5, 3, 7, 9))
    assert odd == {"input": (5, 3, 7, 9), "a": (5, 7, 9), "b": (5, 6), "c": (5, 2, 9, 7, 9)}


# -- data --------------------------------------------------------------------------------------------------------------


def test_further_pictures_are_the_same_ones_in_another_order() -> None:
    pictures = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1)
    both = recipe("extra_inputs: {right: {like: input}, top: {like: input}}")
    arrays = with_extras(pictures, both)
    assert {name: array.ravel().tolist() for name, array in arrays.items()} == {
        "input": [0, 1, 2, 3],
        "right": [1, 2, 3, 0],
        "top": [2, 3, 0, 1],
    }


def test_values_come_from_their_names_and_stay_within_what_was_calibrated() -> None:
    mine = recipe(MASKED + "calibration: {count: 5}\n")
    calibration, evaluation = calibration_inputs(mine), evaluation_inputs(mine).inputs
    assert {name: array.shape for name, array in calibration.items()} == {
        name: (5, *shape[1:]) for name, shape in mine.shapes.items()
    }
    assert {len(array) for array in evaluation.values()} == {8}
    assert {array.dtype for array in (*calibration.values(), *evaluation.values())} == {np.dtype(np.float32)}
    for name in ("mask", "features", "prior"):
        np.testing.assert_array_equal(evaluation[name][:5], calibration[name])
        np.testing.assert_array_equal(evaluation[name][5:], calibration[name][:3])
    assert 0 <= calibration["mask"].min() < 0.01 < 0.99 < calibration["mask"].max() <= 1
    assert abs(float(calibration["features"].std()) - 1) < 0.05
    assert not np.array_equal(calibration["features"][0, 0, 0], calibration["prior"][0])
    other = recipe("extra_inputs: {prior: {shape: [1, 4]}}\ncalibration: {count: 5}\n")
    np.testing.assert_array_equal(calibration_inputs(other)["prior"], calibration["prior"])


def test_random_inputs_respect_ranges() -> None:
    arrays = random_inputs(recipe(MASKED), count=7)
    assert {name: len(array) for name, array in arrays.items()} == {"input": 7, "mask": 7, "features": 7, "prior": 7}
    assert arrays["mask"].min() >= 0
    assert arrays["input"].min() < 0
    alone = random_inputs(recipe("input: {size: 32}"), count=7)["input"]
    np.testing.assert_array_equal(arrays["input"], alone)


def arrays_of(text: str, count: int = 3) -> dict[str, Array]:
    return random_inputs(recipe(text), count, seed=9)


def test_an_npz_is_read_by_names(tmp_path: Path) -> None:
    arrays = arrays_of(MASKED)
    np.savez(tmp_path / "a.npz", labels=np.arange(3), unused=np.zeros(4), **dict(reversed(arrays.items())))
    read = load_own(tmp_path / "a.npz", recipe(MASKED))
    assert list(read.arrays) == ["input", "mask", "features", "prior"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(read.arrays[name], array)
    np.testing.assert_array_equal(read.labels, [0, 1, 2])
    few = load_own(tmp_path / "a.npz", recipe(MASKED), count=2)
    assert {len(array) for array in few.arrays.values()} == {2}
    np.testing.assert_array_equal(few.labels, [0, 1])
    assert own_files(tmp_path / "a.npz") == [tmp_path / "a.npz"]
    with pytest.raises(UsageError, match=r"There is no file .*b.npz"):
        own_files(tmp_path / "b.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"mask": None},
            "holds nothing by the name mask, and the model takes N x 1 x 32 x 32(.|\n)*in NCHW.*has input, f",
        ),
        ({"input": None}, "holds nothing by the name input"),
        (
            {"prior": np.zeros((3, 8))},
            "an array of 3 x 8 by the name prior, and the model takes N x 4(.|\n)*`prior`[.]",
        ),
        ({"mask": np.zeros((3, 32, 32, 1))}, "an array of 3 x 32 x 32 x 1 by the name mask"),
        ({"mask": np.zeros((2, 1, 32, 32))}, "different numbers of inputs: 3 of input, 2 of mask, 3 of features"),
        ({"prior": np.full((3, 4), np.nan)}, "not finite"),
        ({"prior": np.full((3, 4), "x")}, "not numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    arrays = {name: array for name, array in (arrays_of(MASKED) | change).items() if array is not None}
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UsageError, match=says):
        load_own(tmp_path / "a.npz", recipe(MASKED))


def test_a_folder_of_pictures_gives_the_pictures(tmp_path: Path) -> None:
    for value in (0, 100, 200):
        Image.new("RGB", (40, 40), (value, value, value)).save(tmp_path / f"{value}.png")
    own = load_own(tmp_path, recipe(STEREO))
    assert own.labels is None
    np.testing.assert_array_equal(own.arrays["another"], own.arrays["input"][[1, 2, 0]])
    assert not np.array_equal(own.arrays["another"], own.arrays["input"])


# -- the model's side --------------------------------------------------------------------------------------------------


def test_inputs_are_called_by_name_whatever_their_order() -> None:
    model = Stereo().eval()
    one, another = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    expected = model(one, another)
    assert torch.equal(call(model, {"input": one, "another": another}), expected)
    assert torch.equal(call(model, {"another": another, "input": one}), expected)
    runtime = TorchRuntime(model)
    arrays = {"another": another.numpy(), "input": one.numpy()}
    np.testing.assert_array_equal(runtime.run(arrays)["output"], expected.detach().numpy())


class Optional(nn.Module):
    """Inputs that may be left out, one of them by keyword alone."""

    def forward(
        self, x: torch.Tensor, mask: torch.Tensor | None = None, *, gain: torch.Tensor | None = None
    ) -> torch.Tensor:
        if mask is not None:
            x = x * mask
        return x if gain is None else x * gain[:, :, None, None]


class BySize(nn.Module):
    """Computes with the sizes of its second input in Python."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        height = mask.shape[2]
        x = self.conv(image) * mask if height % 2 == 0 else self.conv(image)
        return x.reshape(x.shape[0], 4, max(1, height // 4), -1).sum(2) * float(height)


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (Stereo(), {"input": (1, 3, 8, 8), "another": (1, 3, 8, 8)}),
        (Masked(), recipe(MASKED).shapes),
        (Masked(), dict(reversed(recipe(MASKED).shapes.items())) | {}),
        (Optional(), {"input": (1, 3, 8, 8)}),
        (Optional(), {"input": (1, 3, 8, 8), "gain": (1, 3)}),
        (Optional(), {"input": (1, 3, 8, 8), "gain": (1, 3), "mask": (1, 1, 8, 8)}),
        (BySize(), {"input": (1, 3, 8, 8), "mask": (1, 1, 8, 8)}),
        (BySize(), {"input": (1, 3, 9, 8), "mask": (1, 1, 9, 8)}),
    ],
)
def test_a_graph_takes_the_inputs_it_is_given_and_no_others(model: nn.Module, shapes: Shapes) -> None:
    shapes = {"input": shapes["input"], **shapes}
    generator = torch.Generator().manual_seed(0)
    inputs: Tensors = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    graph = trace(model, zeros(shapes))
    expected = call(model.eval(), inputs)
    for given in (inputs, dict(reversed(inputs.items()))):
        torch.testing.assert_close(call(graph, given), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("model", "extras", "says"),
    [
        (Stereo, {}, r"also takes another, which(.|\n)*extra_inputs:\n  another: \{shape: \[1, 1, 32, 32\]\}"),
        (Masked, {"mask": (1, 1, 32, 32)}, "also takes features and prior"),
        (Stereo, {"anothr": (1, 3, 32, 32)}, "no further input anothr.(.|\n)*Did you mean another?"),
        (Stereo, {"one": (1, 3, 32, 32), "another": (1, 3, 32, 32)}, "one is the first input of net.py:make"),
        (
            Stereo,
            {"another": (1, 3, 20, 20)},
            "cannot take an input of 3x32x32, another of 3x20x20: The size of tensor",
        ),
        (nn.Identity, {"mask": (1, 4)}, "no further input mask.(.|\n)*Known: none"),
    ],
)
def test_inputs_that_the_model_does_not_have(model: type[nn.Module], extras: Shapes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_inputs(entry(model), {}, {"input": (1, 3, 32, 32), **extras})


class TakesDict(nn.Module):
    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return batch["image"]


class TakesPair(nn.Module):
    def forward(self, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        left, right = pair
        return left - right


class TakesAnything(nn.Module):
    def forward(self, **inputs: torch.Tensor) -> torch.Tensor:
        return inputs["input"]


class GivesMask(nn.Module):
    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"mask": image * mask}


@pytest.mark.parametrize(
    ("model", "extras", "says"),
    [
        (TakesDict, {}, "IndexError(.|\n)*Each input is one tensor(.|\n)*dicts or tuples"),
        (TakesPair, {}, "not enough values to unpack(.|\n)*dicts or tuples"),
        (TakesAnything, {}, "takes no picture"),
        (GivesMask, {"mask": (1, 1, 32, 32)}, "an output and an input that are both named mask"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence")
def test_inputs_that_cannot_be_exported(model: type[nn.Module], extras: Shapes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        check_inputs(entry(model), {}, {"input": (1, 3, 32, 32), **extras})


def test_the_next_size_is_one_of_all_inputs() -> None:
    class Big(nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return F.conv2d(image * mask, torch.ones(1, 3, 35, 35))

    with pytest.raises(UsageError, match="next larger size that it takes is 35"):
        check_inputs(entry(Big), {}, {"input": (1, 3, 32, 32), "mask": (1, 1, 32, 32)})


def test_an_input_without_effect_is_refused(tmp_path: Path) -> None:
    from mobilekit.convert.onnx import write_onnx

    class Deaf(nn.Module):
        def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return image * mask.shape[2]

    shapes: Shapes = {"input": (1, 3, 8, 8), "mask": (1, 1, 8, 8)}
    with pytest.raises(UsageError, match="do not depend on its input mask"):
        write_onnx(trace(Deaf(), zeros(shapes)), shapes, tmp_path / "a.onnx")


# -- proofs and imitations ---------------------------------------------------------------------------------------------


def test_cases_have_all_inputs_of_fitting_shapes_in_their_ranges() -> None:
    mine = recipe(MASKED)
    shapes = [{name: tuple(tensor.shape) for name, tensor in case.make().items()} for case in cases_for(mine)]
    assert shapes[0] == {"input": (2, 3, 32, 32), "mask": (2, 1, 32, 32), "features": (2, 6, 8, 8), "prior": (2, 4)}
    assert shapes[1] == {"input": (1, 3, 33, 33), "mask": (1, 1, 33, 33), "features": (1, 6, 8, 8), "prior": (1, 4)}
    assert {name: tuple(tensor.shape) for name, tensor in smallest_case(mine).make().items()} == mine.shapes
    case = cases_for(mine)[0]
    inputs = case.make()
    assert {tensor.dtype for tensor in inputs.values()} == {torch.float64}
    assert 0 <= inputs["mask"].min() < 0.01 < 0.99 < inputs["mask"].max() <= 1
    assert all(torch.equal(tensor, inputs[name]) for name, tensor in case.make().items())
    alone = cases_for(recipe("input: {size: 32}"))[0]
    assert torch.equal(alone.make()["input"], inputs["input"])
    assert alone.to_json() == {"shape": [2, 3, 32, 32], "seed": 0}
    assert case.to_json()["extra_inputs"] == {"mask": [2, 1, 32, 32], "features": [2, 6, 8, 8], "prior": [2, 4]}


def test_rewrites_of_several_inputs_are_proved_on_them() -> None:
    model = Masked().eval()
    loaded = parse_recipe(MASKED, "mine", "mine.yaml")
    result = rewrite(model, loaded)
    (step,) = result.steps
    assert step.applied == ("stem.1",)
    assert step.proof is not None
    assert step.proof.holds
    assert [case.shape for case in step.proof.cases] == [(2, 3, 32, 32), (1, 3, 33, 33)]
    inputs = {name: torch.from_numpy(array) for name, array in random_inputs(loaded.recipe, 3).items()}
    torch.testing.assert_close(call(result.graph, inputs), call(model, inputs), rtol=1e-5, atol=1e-5)


def test_every_input_is_rounded_as_int8_has_it() -> None:
    class Difference(nn.Module):
        def forward(self, image: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
            return image - offset

    shapes: Shapes = {"input": (2, 3, 4, 4), "offset": (2, 3, 1, 1)}
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    got = call(EveryTensorRounded(trace(Difference(), zeros(shapes))), inputs)
    rounded = round_to_256_steps(inputs["input"]) - round_to_256_steps(inputs["offset"])
    torch.testing.assert_close(got, round_to_256_steps(rounded), rtol=0, atol=0)


def test_the_noise_of_the_formats_is_measured_on_all_inputs() -> None:
    model = Masked().eval()
    mine = recipe(MASKED)
    graph, inputs = trace(model, zeros(mine.shapes)), random_inputs(mine)
    outputs = TorchRuntime(model).run(inputs)
    noise = measure_noise(model, graph, inputs, outputs, outputs)
    assert set(noise) == {"scores", "map"}
    for one in noise.values():
        assert 0 < one.float16_relative_l2 < one.int8_relative_l2 < 0.1


# -- all the way -------------------------------------------------------------------------------------------------------


def export(cli: Cli, factory: str, text: str, folder: Path, *options: str | Path) -> Path:
    """Export a model of these tests in all precisions, and return the bundle, whose parity passed."""
    (folder / "mine.yaml").write_text(text)
    out = folder / "out"
    done = cli("export", f"{NETS}:{factory}", "--recipe", folder / "mine.yaml", "-o", out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(out.glob("model.*.tflite"))) == 4
    return out


def reference(model: nn.Module, bundle: Path) -> nn.Module:
    from safetensors.torch import load_file

    model.load_state_dict(load_file(bundle / "stages" / "reference.safetensors"))
    return model.eval()


def one_of(array: Array) -> Array:
    """Return the first input of a batch as LiteRT takes it."""
    return array[:1].transpose(0, 2, 3, 1) if array.ndim == 4 else array[:1]


@pytest.mark.slow
def test_a_picture_a_mask_features_and_a_vector_go_all_the_way(tmp_path: Path, cli: Cli) -> None:
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    bundle = export(cli, "make_masked", MASKED + "calibration: {count: 60}\n", tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert list(manifest["extra_inputs"]) == ["mask", "features", "prior"]
    assert manifest["extra_inputs"]["mask"] == {"shape": [1, 1, 32, 32], "range": [0.0, 1.0]}
    shapes = [("input", [1, 32, 32, 3]), ("mask", [1, 32, 32, 1]), ("features", [1, 8, 8, 6]), ("prior", [1, 4])]
    for name, artifact in manifest["artifacts"].items():
        taken = [(tensor["name"], tensor["shape"], tensor["layout"]) for tensor in artifact["inputs"]]
        if name == "model.onnx":
            assert taken[1] == ("mask", [1, 1, 32, 32], "NCHW")
        else:
            assert taken == [(word, shape, "NHWC" if len(shape) == 4 else None) for word, shape in shapes]
        assert [tensor["name"] for tensor in artifact["outputs"]] == ["scores", "map"]
    scales = {tensor["name"]: tensor["scale"] for tensor in manifest["artifacts"]["model.int8.tflite"]["inputs"]}
    assert scales["mask"] == pytest.approx(1 / 255, rel=0.01)  # each input has the steps of its own range
    assert scales["input"] == pytest.approx((2.64 + 2.12) / 255, rel=0.02)

    arrays = arrays_of(MASKED)
    with torch.no_grad():
        expected = call(reference(Masked(), bundle), {name: torch.from_numpy(one) for name, one in arrays.items()})
    session = onnxruntime.InferenceSession(bundle / "model.onnx")
    assert [one.name for one in session.get_inputs()] == list(arrays)
    scores, features = session.run(["scores", "map"], {name: array[:1] for name, array in arrays.items()})
    np.testing.assert_allclose(scores, expected["scores"][:1], atol=1e-5)
    interpreter = Interpreter(str(bundle / "model.float32.tflite"))
    given = interpreter.get_signature_runner()(**{name: one_of(array) for name, array in arrays.items()})
    np.testing.assert_allclose(given["scores"], expected["scores"][:1], atol=1e-5)
    np.testing.assert_allclose(given["map"].transpose(0, 3, 1, 2), features, atol=1e-5)

    np.savez(tmp_path / "own.npz", **arrays)
    spec = f"{NETS}:make_masked"
    done = cli("diff", bundle, "--reference", spec, "--inputs", tmp_path / "own.npz", "--json")
    ledger = json.loads(done.stdout)
    assert ledger["inputs"]["count"] == 3
    assert {row["verdict"] for row in ledger["stages"] if row["stage"] in ("onnx", "tflite-float32")} == {"pass"}
    del arrays["prior"]
    np.savez(tmp_path / "less.npz", **arrays)
    refused = cli("diff", bundle, "--reference", spec, "--inputs", tmp_path / "less.npz")
    assert refused.returncode == 2
    assert "nothing by the name prior" in refused.stderr


@pytest.mark.slow
def test_two_inputs_of_one_shape_are_not_mistaken_for_each_other(tmp_path: Path, cli: Cli) -> None:
    """By name and by position, in floats and in int8, calibrated from an .npz in which their ranges differ."""
    from ai_edge_litert.interpreter import Interpreter

    arrays = arrays_of(STEREO, 20)
    arrays["another"] *= np.float32(0.1)
    np.savez(tmp_path / "own.npz", another=arrays["another"], input=arrays["input"])
    limits = "limits: {tflite-int8: {relative_l2: 9, reason: photos lie far outside the range of another}}\n"
    bundle = export(cli, "make_stereo", STEREO + limits, tmp_path, "--calibration", tmp_path / "own.npz")
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["calibration"]["count"] == 20
    assert manifest["calibration"]["source"] == "own.npz"
    assert manifest["extra_inputs"]["another"] == manifest["input"]
    int8 = manifest["artifacts"]["model.int8.tflite"]["inputs"]
    assert [tensor["name"] for tensor in int8] == ["input", "another"]
    assert int8[0]["scale"] == pytest.approx(10 * int8[1]["scale"], rel=0.2)

    model = reference(Stereo(), bundle)
    one, another = (torch.from_numpy(array[:1]) for array in arrays.values())
    with torch.no_grad():
        expected, swapped = model(one, another).numpy(), model(another, one).numpy()
    assert np.abs(expected - swapped).max() > 0.5
    for name, limit in (("float32", 1e-5), ("float16", 1e-2), ("dynamic", 1e-5), ("int8", 0.2)):
        interpreter = Interpreter(str(bundle / f"model.{name}.tflite"))
        interpreter.allocate_tensors()
        for detail, array in zip(interpreter.get_input_details(), arrays.values(), strict=True):
            interpreter.set_tensor(detail["index"], steps(one_of(array), detail))
        interpreter.invoke()
        (detail,) = interpreter.get_output_details()
        scale, zero = detail["quantization"]
        got = interpreter.get_tensor(detail["index"])
        values = (got.astype(np.float32) - zero) * scale if scale else got
        assert np.abs(values.transpose(0, 3, 1, 2) - expected).max() < limit, name


def steps(values: Array, detail: dict[str, Any]) -> NDArray[Any]:
    """Return values as an input of this description has them."""
    scale, zero = detail["quantization"]
    return (
        np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8) if scale else np.ascontiguousarray(values)
    )


@pytest.mark.slow
def test_the_example_of_the_documents_passes(tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out"
    done = cli("export", f"{EXAMPLE}/change.py:make_change", "--recipe", EXAMPLE / "change.yaml", "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "pass"
    described = json.loads(cli("inspect", out / "model.int8.tflite", "--json").stdout)
    assert [tensor["name"] for tensor in described["inputs"]] == ["input", "before", "mask"]
