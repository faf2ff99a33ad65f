"""What the cache knows a file by, and that the conversion looks no further than it must; no tool is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule, symbolic_trace

from mobilekit.convert import pipeline
from mobilekit.convert.alignment import Alignment
from mobilekit.convert.pipeline import convert
from mobilekit.jobs import artifacts
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.schema import Int8, Recipe
from mobilekit.rewrites.engine import Rewritten
from mobilekit.store.cache import NoCache
from mobilekit.store.stages import Stage

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
    """The files that were aligned; all tools write empty files."""
    found: list[Path] = []

    def align(_graph: GraphModule, path: Path, _inputs: Any) -> Alignment:
        found.append(path)
        return Alignment({"tensor": "part.0"}, {})

    def write_tflite(_onnx: Path, files: dict[str, Path], *_others: Any) -> dict[str, str]:
        for path in files.values():
            path.touch()
        return {}

    for module in (pipeline, artifacts):
        monkeypatch.setattr(module, "align", align)
    monkeypatch.setattr(pipeline, "write_onnx", lambda _graph, _shapes, path: path.touch())
    monkeypatch.setattr(pipeline, "simplify", lambda _path, made, _scratch: made.touch())
    monkeypatch.setattr(pipeline, "write_tflite", write_tflite)
    monkeypatch.setattr(pipeline, "write_int8", lambda _float32, int8, *_others: int8.touch())
    monkeypatch.setattr(
        artifacts, "lint", lambda graph, _arrays, _recipe: (graph, type("Recording", (), {"ranges": {}}))
    )
    return found


def net(name: str) -> GraphModule:
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module(name, nn.Sequential(nn.Conv2d(3, 4, 3)))
    return symbolic_trace(model.eval())


def keys_of(folder: Path, graph: GraphModule, recipe: Recipe) -> dict[str, str]:
    for name in ("stages", "scratch"):
        (folder / name).mkdir(parents=True)
    keys = Keys()
    convert(folder, folder / "scratch", graph, recipe, CALIBRATION, keys, lambda _message: None)
    return keys.by_file


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
    changed = {name for name in before if before[name] != after[name] and name.startswith("model.")}
    assert changed == {Stage.TFLITE_INT8.file}


@pytest.mark.parametrize("modules", [(), ("part",)], ids=["plain", "mixed"])
def test_the_float32_file_is_aligned_once(tmp_path: Path, aligned: list[Path], modules: tuple[str, ...]) -> None:
    folder = tmp_path / "bundle"
    (folder / "stages").mkdir(parents=True)
    recipe = Recipe(int8=Int8(float_modules=modules))
    artifacts.make_artifacts(folder, Rewritten(net("part")), recipe, CALIBRATION, NoCache(), lambda _message: None)
    assert aligned == [folder / Stage.TFLITE_FLOAT32.file]
    assert (folder / "stages/modules.json").is_file()
