"""What the cache knows a file by, and that the conversion looks no further than it must; no tool is run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.convert import keys, pipeline
from mobilekit.convert.alignment import Alignment
from mobilekit.convert.onnx import QuantizedFiles
from mobilekit.convert.pipeline import convert
from mobilekit.convert.tflite import TFLiteFiles
from mobilekit.errors import ToolError
from mobilekit.jobs import artifacts
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Int8, Onnx, Recipe
from mobilekit.rewrites.engine import Rewritten
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store import bundle as bundles
from mobilekit.store.cache import Cache, NoCache
from mobilekit.store.stages import Stage, tflite_stage

TFLITE_FILES = {tflite_stage(precision).file for precision in Recipe().precision}
CALIBRATION = Calibration({"input": np.zeros((2, 3, 8, 8), np.float32)}, "digest")


class Keys(NoCache):
    """Has nothing, and notes the key of each file."""

    def __init__(self) -> None:
        super().__init__()
        self.by_file: dict[str, str] = {}

    def put(self, key: str, folder: Path, names: Sequence[str]) -> None:
        self.by_file |= dict.fromkeys(names, key)


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were aligned; the tools write their input's shapes as ONNX, and empty TFLite files."""
    found: list[Path] = []

    def align(_graph: GraphModule, path: Path, _inputs: Any) -> Alignment:
        found.append(path)
        return Alignment({"tensor": "part.0"}, {})

    def write_tflite(_onnx: Path, files: dict[str, Path], *_others: Any, **_way: bool) -> TFLiteFiles:
        for path in files.values():
            path.touch()
        return TFLiteFiles({}, {}, {"ranges": "min-max"})

    def quantize_onnx(_onnx: Path, files: dict[str, Path], *_others: Any) -> QuantizedFiles:
        for path in files.values():
            path.touch()
        return QuantizedFiles({}, {"ranges": "chosen"})

    for module in (pipeline, artifacts):
        monkeypatch.setattr(module, "align", align)
    monkeypatch.setattr(pipeline, "write_onnx", lambda _graph, shapes, path, _opset: path.write_text(str(shapes)))
    monkeypatch.setattr(pipeline, "simplify", lambda path, made, _scratch: made.write_bytes(path.read_bytes()))
    monkeypatch.setattr(pipeline, "write_tflite", write_tflite)
    monkeypatch.setattr(pipeline, "write_quantized", lambda _float32, int8, *_others: int8.touch())
    monkeypatch.setattr(pipeline, "quantize_onnx", quantize_onnx)
    monkeypatch.setattr(artifacts, "run_once", lambda _folder, _recipe: {})
    monkeypatch.setattr(artifacts, "_describe", lambda _folder, _recipe: None)
    monkeypatch.setattr(
        artifacts, "lint", lambda graph, _arrays, _recipe: (graph, type("Recording", (), {"ranges": {}}))
    )
    return found


def net(name: str) -> GraphModule:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module(name, nn.Sequential(nn.Conv2d(3, 4, 3)))
    return trace(model, {"input": torch.zeros(1, 3, 8, 8)})


def keys_of(folder: Path, graph: GraphModule, recipe: Recipe, calibration: Calibration = CALIBRATION) -> dict[str, str]:
    for name in ("stages", "scratch"):
        (folder / name).mkdir(parents=True)
    keys = Keys()
    convert(folder, folder / "scratch", graph, recipe, calibration, keys, lambda _message: None)
    return keys.by_file


def changed_files(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return the models, not what stands beside them, that are known by other keys."""
    assert before.keys() == after.keys()
    beside = {bundles.LAYOUTS, *(bundles.INT8_RANGES.format(stage) for stage in Stage)}
    return {name for name in before.keys() - beside if before[name] != after[name]}


def other_weights(graph: GraphModule) -> None:
    with torch.no_grad():
        graph.get_parameter("part.0.bias")[0] += 1


def other_stride(graph: GraphModule) -> None:
    graph.get_submodule("part.0").stride = (2, 2)


ONNX_FILES = {Stage.ONNX.file, Stage.ONNX_SIMPLIFIED.file}


@pytest.mark.usefixtures("aligned")
@pytest.mark.parametrize("change", [other_weights, other_stride])
def test_the_onnx_files_are_known_by_the_whole_graph(tmp_path: Path, change: Callable[[GraphModule], None]) -> None:
    """The TFLite files are known by the ONNX file's bytes, which the stand-in for torch's exporter leaves alike."""
    graph = net("part")
    before = keys_of(tmp_path / "before", graph, Recipe())
    assert changed_files(before, keys_of(tmp_path / "again", graph, Recipe())) == set()
    change(graph)
    assert changed_files(before, keys_of(tmp_path / "after", graph, Recipe())) == ONNX_FILES


@pytest.mark.usefixtures("aligned")
def test_files_are_known_by_the_input_s_shape(tmp_path: Path) -> None:
    small, large = (keys_of(tmp_path / str(size), net("part"), Recipe(input=Input(size=size))) for size in (8, 16))
    assert changed_files(small, large) == {*ONNX_FILES, *TFLITE_FILES}


@pytest.mark.usefixtures("aligned")
def test_the_onnx_files_are_known_by_the_opset(tmp_path: Path) -> None:
    recipes = Recipe(), Recipe(onnx=Onnx(opset=18)), Recipe(onnx=Onnx(opset=20))
    first, *others = (keys_of(tmp_path / str(number), net("part"), each) for number, each in enumerate(recipes))
    assert [changed_files(first, each) for each in others] == [ONNX_FILES] * 2
    assert changed_files(*others) == ONNX_FILES


@pytest.mark.usefixtures("aligned")
def test_the_onnx_files_are_known_by_the_modules_of_their_nodes(tmp_path: Path) -> None:
    """Of a call of a function, which has the same code in another module."""

    class Within(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(x)

    def graph(name: str) -> GraphModule:
        model = nn.Sequential()
        model.add_module(name, Within())
        return trace(model, {"input": torch.zeros(1, 3, 8, 8)})

    one, other = (keys_of(tmp_path / name, graph(name), Recipe()) for name in ("one", "other"))
    assert changed_files(one, other) == ONNX_FILES


@pytest.mark.usefixtures("aligned")
def test_only_the_int8_file_is_known_by_the_calibration(tmp_path: Path) -> None:
    other = Calibration(CALIBRATION.arrays, "another digest")
    before, after = (keys_of(tmp_path / each.digest, net("part"), Recipe(), each) for each in (CALIBRATION, other))
    assert changed_files(before, after) == {Stage.TFLITE_INT8.file}


@pytest.mark.usefixtures("aligned")
def test_quantized_files_of_onnx_are_known_by_the_calibration_and_what_the_recipe_says_of_int8(tmp_path: Path) -> None:
    recipe, other = Recipe(precision=("int16x8", "onnx-int8")), Calibration(CALIBRATION.arrays, "another digest")
    plain = recipe.model_copy(update={"int8": Int8(ranges="min-max")})
    before = keys_of(tmp_path / "before", net("part"), recipe)
    for name, after in (
        ("other", keys_of(tmp_path / "other", net("part"), recipe, other)),
        ("plain", keys_of(tmp_path / "plain", net("part"), plain)),
    ):
        assert changed_files(before, after) == {Stage.TFLITE_INT16X8.file, Stage.ONNX_INT8.file}, name


@pytest.mark.usefixtures("aligned")
def test_a_quantized_onnx_file_that_fails_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def quantize_onnx(_onnx: Path, files: dict[str, Path], *_others: Any) -> QuantizedFiles:
        files["int16x8"].touch()
        return QuantizedFiles({"int8": ToolError("it cannot")})

    monkeypatch.setattr(pipeline, "quantize_onnx", quantize_onnx)
    for name in ("stages", "scratch"):
        (tmp_path / name).mkdir()
    recipe, keys = Recipe(precision=("float32", "onnx-int8", "onnx-int16x8")), Keys()
    made = convert(tmp_path, tmp_path / "scratch", net("part"), recipe, CALIBRATION, keys, lambda _message: None)
    assert made.failed.keys() == {Stage.ONNX_INT8}
    assert {Stage.TFLITE_FLOAT32.file, Stage.ONNX_INT16X8.file} <= keys.by_file.keys()
    assert Stage.ONNX_INT8.file not in keys.by_file


@pytest.mark.usefixtures("aligned")
@pytest.mark.parametrize("changed", ["tool_versions", "source_digest"])
def test_all_files_are_known_by_the_tools_and_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    before = keys_of(tmp_path / "before", net("part"), Recipe())
    monkeypatch.setattr(keys, changed, lambda *_rooms: "another")
    assert changed_files(before, keys_of(tmp_path / "after", net("part"), Recipe())) == {*ONNX_FILES, *TFLITE_FILES}


@pytest.mark.usefixtures("aligned")
def test_an_int8_file_with_modules_in_float_is_known_by_the_graph_too(tmp_path: Path) -> None:
    """Which tensors stay in float is told by the graph: two may have one ONNX file and name their modules otherwise."""
    mixed = Recipe(int8=Int8(float_modules=("part",)))
    before, after = (keys_of(tmp_path / name, net(name), mixed) for name in ("part", "other"))
    assert before[Stage.TFLITE_FLOAT32.file] == after[Stage.TFLITE_FLOAT32.file]
    assert before[Stage.TFLITE_INT8.file] != after[Stage.TFLITE_INT8.file]


@pytest.mark.usefixtures("aligned")
@pytest.mark.parametrize("change", [{"float_modules": ("part.0",)}, {"keep_float": ("division",)}])
def test_an_int8_file_is_known_by_what_stays_in_float(tmp_path: Path, change: dict[str, Any]) -> None:
    recipes = Recipe(int8=Int8(float_modules=("part",))), Recipe(int8=Int8(**change))
    before, after = (keys_of(tmp_path / str(number), net("part"), each) for number, each in enumerate(recipes))
    assert changed_files(before, after) == {Stage.TFLITE_INT8.file}


@pytest.mark.usefixtures("aligned")
def test_what_the_cache_has_is_whole_and_no_tool_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def export(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        for part in ("stages", "scratch"):
            (folder / part).mkdir(parents=True)
        convert(folder, folder / "scratch", net("part"), Recipe(), CALIBRATION, cache, lambda _message: None)
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    def fail(*_arguments: Any) -> None:
        raise AssertionError("a tool was run")

    cache = Cache(tmp_path / "cache")
    made = export("made")
    for tool in ("write_onnx", "simplify", "write_tflite", "write_quantized", "align"):
        monkeypatch.setattr(pipeline, tool, fail)
    assert export("taken") == made
    assert {*ONNX_FILES, *TFLITE_FILES, bundles.LAYOUTS} <= made.keys()


@pytest.mark.usefixtures("aligned")
@pytest.mark.parametrize("has_float32", [False, True], ids=["all are made", "float32 is there"])
def test_all_is_made_by_keras_where_the_quantizer_refuses_a_graph_with_modules_in_float(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_float32: bool
) -> None:
    """The int8 file is of a float32 file by Keras; one that was there already stays as it was."""

    def write_tflite(_onnx: Path, files: dict[str, Path], *_others: Any, by_keras: bool) -> TFLiteFiles:
        for path in files.values():
            path.write_text("keras" if by_keras else "writer")
        return TFLiteFiles({}, {})

    def write_quantized(float32: Path, int8: Path, *_others: Any) -> None:
        if float32.read_text() != "keras":
            raise ToolError("the quantizer refuses it")
        int8.write_text(f"{float32.read_text()} int8")

    class Float32(NoCache):
        def take(self, key: str, folder: Path) -> bool:
            if is_float32 := has_float32 and key == known[Stage.TFLITE_FLOAT32.file]:
                (folder / Stage.TFLITE_FLOAT32.file).write_text("writer")
            return is_float32

    recipe = Recipe(int8=Int8(float_modules=("part",)))
    known = keys_of(tmp_path / "known", net("part"), recipe)
    monkeypatch.setattr(pipeline, "writes_directly", lambda: True)
    monkeypatch.setattr(pipeline, "write_tflite", write_tflite)
    monkeypatch.setattr(pipeline, "write_quantized", write_quantized)
    folder = tmp_path / "out"
    for name in ("stages", "scratch"):
        (folder / name).mkdir(parents=True)
    made = convert(folder, folder / "scratch", net("part"), recipe, CALIBRATION, Float32(), lambda _message: None)
    assert not made.failed
    assert (made.owners is None) == has_float32
    assert {stage.file: (folder / stage.file).read_text() for stage in map(tflite_stage, recipe.precision)} == {
        "model.float32.tflite": "writer" if has_float32 else "keras",
        "model.float16.tflite": "keras",
        "model.dynamic.tflite": "keras",
        "model.int8.tflite": "keras int8",
    }


@pytest.mark.parametrize("modules", [(), ("part",)], ids=["plain", "mixed"])
def test_the_float32_file_is_aligned_once(tmp_path: Path, aligned: list[Path], modules: tuple[str, ...]) -> None:
    folder = tmp_path / "bundle"
    (folder / "stages").mkdir(parents=True)
    recipe = Recipe(int8=Int8(float_modules=modules))
    artifacts.make_artifacts(
        folder, Rewritten(net("part"), net("part")), recipe, CALIBRATION, NoCache(), lambda _message: None
    )
    assert aligned == [folder / Stage.TFLITE_FLOAT32.file]
    assert (folder / "stages/modules.json").is_file()
