"""The values inside a real bundle, with faults planted in the files that the converters wrote."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.on_device import OnDevice
from mobilekit.errors import UsageError
from mobilekit.jobs.diff_layers import LayersRequest, artifact_stages, layers
from mobilekit.jobs.measure import unmeasured
from mobilekit.parity.layers.result import Layers
from mobilekit.recipes.inputs.builtin import calibration_inputs, evaluation_inputs
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import open_bundle
from mobilekit.store.cache import Cache
from mobilekit.store.stages import Stage, tflite_stage
from tests.conftest import Cli
from tests.tflite_by_hand import make_grouped

MODULE = "blocks.3.0.shortcut.0"


@pytest.fixture(scope="module")
def request_(digits_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> LayersRequest:
    """Two digits, float32 and int8."""
    few = tmp_path_factory.mktemp("inputs") / "two.npz"
    np.savez(few, input=evaluation_inputs(load_recipe("ghostnetv2_digits").recipe).inputs["input"][:2])
    return LayersRequest(open_bundle(digits_bundle), few, precision=("float32", "int8"))


@pytest.fixture(scope="module")
def sound(request_: LayersRequest) -> Layers:
    return layers(request_, Cache.default())


Edit = Callable[[Any, int], None]


@dataclass(frozen=True)
class Planting(Cache):
    """Hands out what is in the cache with a fault in it: in the op, or the tensor, of one module."""

    file: str = ""
    tap: str = ""
    edit: Edit = lambda _model, _tensor: None

    def take(self, key: str, folder: Path) -> bool:
        taken = Cache.default().take(key, folder)
        path = folder / self.file
        if taken and path.exists():
            tensor = next(info.index for info in LiteRTRuntime(path).outputs if info.name == self.tap)
            _edit_tflite(path, lambda model: self.edit(model, tensor))
        return taken

    def put(self, key: str, folder: Path, names: object) -> None:
        raise AssertionError("everything was in the cache")


def _edit_tflite(path: Path, edit: Callable[[Any], None]) -> None:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    edit(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def _shrink_scale(model: Any, tensor: int) -> None:
    """A sixteenth of the range: most values saturate."""
    quantization = model.subgraphs[0].tensors[tensor].quantization
    quantization.scale = quantization.scale / 16


def _change_a_weight(model: Any, tensor: int) -> None:
    graph = model.subgraphs[0]
    op = next(op for op in graph.operators if tensor in op.outputs)
    buffer = model.buffers[graph.tensors[op.inputs[1]].buffer]
    values = np.frombuffer(bytes(buffer.data), np.float32).copy()
    values[np.abs(values).argmax()] *= 1.01
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)


def test_a_sound_bundle(sound: Layers) -> None:
    """No jump; the taps change nothing; and only what `relu6-gate` moves has no counterpart."""
    assert {stage.stage: stage.first_jump for stage in sound.stages} == dict.fromkeys(
        ["reference", "rewritten", "onnx", "onnx-simplified", "tflite-float32", "tflite-int8"]
    )
    assert all(stage.observer.identical for stage in sound.stages)
    lacking = {tap.module for tap in sound.taps if tap.reference is None}
    assert len(lacking) == 14
    assert all(".se." in module for module in lacking)
    assert all(row.step is not None for stage in sound.stages[2:] for row in stage.rows)
    int8 = sound.stages[-1].rows
    assert all(row.step.sqnr_db > 10 for row in int8 if row.step and row.step.sqnr_db)
    ratios = [row.step.relative_l2 / row.expected for row in int8 if row.step]
    assert 0.9 < float(np.median(ratios)) < 1.1  # the simulation tells what the artifact does, layer by layer


@pytest.mark.parametrize(
    ("precision", "edit"), [("int8", _shrink_scale), ("float32", _change_a_weight)], ids=["scale", "weight"]
)
def test_a_fault_in_a_converted_file_is_found(
    request_: LayersRequest, sound: Layers, precision: str, edit: Edit
) -> None:
    tap = next(tap.tap for tap in sound.taps if tap.module == MODULE)
    cache = Planting(Cache.default().root, file=tflite_stage(precision).file, tap=tap, edit=edit)
    found = {stage.stage: stage for stage in layers(request_, cache).stages}
    broken = found[f"tflite-{precision}"]
    assert broken.first_jump is not None
    assert broken.first_jump.module == MODULE
    assert not broken.observer.identical
    assert found["onnx-simplified"].first_jump is None


def test_a_changed_artifact_shows_as_an_observer_effect(
    request_: LayersRequest, digits_bundle: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits_bundle, tmp_path / "bundle")
    path = tmp_path / "bundle" / Stage.TFLITE_INT8.file
    last = LiteRTRuntime(path).outputs[0].index
    _edit_tflite(path, lambda model: _shrink_scale(model, last))
    found = layers(replace(request_, bundle=open_bundle(tmp_path / "bundle")), Cache.default())
    assert [stage.stage for stage in found.stages if not stage.observer.identical] == ["tflite-int8"]
    assert found.stages[-1].first_jump is None  # the copy is sound


def test_calibration_that_a_bundle_does_not_hold(request_: LayersRequest, tmp_path: Path) -> None:
    """Told by its digest: the same inputs are taken from wherever they come, others are not."""
    arrays = calibration_inputs(load_recipe("ghostnetv2_digits").recipe)
    np.savez(tmp_path / "other.npz", input=arrays["input"][::-1])
    bundle = request_.bundle
    with pytest.raises(UsageError, match="is not what"):
        layers(replace(request_, calibration=tmp_path / "other.npz"), Cache.default())
    entry = {**bundle.manifest["calibration"], "source": "my-photos", "is_own": True}
    own = replace(bundle, manifest={**bundle.manifest, "calibration": entry})
    found = layers(replace(request_, bundle=own), Cache.default())
    assert "tflite-int8" not in [stage.stage for stage in found.stages]
    assert found.notes == (
        "int8 is left out: it was calibrated on my-photos, which a bundle does not hold; give it with --calibration.",
    )


def test_each_file_has_a_stage_on_a_device_behind_it(tmp_path: Path) -> None:
    opened: list[tuple[Stage, Path]] = []

    def note(stage: Stage, path: Path, _layouts: object) -> Any:
        opened.append((stage, path))

    recipe = Recipe(precision=("float32", "float16"))
    (tmp_path / "tapped").mkdir()
    for stage in (Stage.TFLITE_FLOAT32, Stage.TFLITE_FLOAT16):
        (tmp_path / "tapped" / stage.file).write_bytes(make_grouped(3, 2))
    gpu = OnDevice(note, "gpu", {Stage.GPU_FLOAT16: "it has none"})
    stages = artifact_stages(tmp_path / "tapped", tmp_path / "plain", recipe, gpu)
    floats = [Stage.TFLITE_FLOAT32, Stage.GPU_FLOAT32, Stage.TFLITE_FLOAT16]
    assert list(stages) == [Stage.ONNX, Stage.ONNX_SIMPLIFIED, *floats]
    stages[Stage.GPU_FLOAT32].tapped()
    stages[Stage.GPU_FLOAT32].plain()
    file = Stage.TFLITE_FLOAT32.file
    assert opened == [(Stage.GPU_FLOAT32, tmp_path / place / file) for place in ("tapped", "plain")]
    assert list(unmeasured(stages, gpu)) == ["gpu-float16 is not measured: it has none."]
    npu = OnDevice(note, "npu")
    assert Stage.HTP_FLOAT16 in artifact_stages(tmp_path, tmp_path, recipe, npu)


def test_tapped_files_have_the_targets_own_form(tmp_path: Path) -> None:
    (tmp_path / Stage.TFLITE_INT8.file).write_bytes(make_grouped(1, 2))
    opened: list[Path] = []
    gpu = OnDevice(lambda _stage, path, _layouts: opened.append(path), "gpu")  # type: ignore[arg-type,func-returns-value]
    artifact_stages(tmp_path, tmp_path, Recipe(precision=("int8",)), gpu)[Stage.GPU_INT8].tapped()
    assert opened == [tmp_path / "model.int8.gpu.tflite"]


def test_a_device_is_not_bisected(cli: Cli, tiny_bundle: Path, tmp_path: Path) -> None:
    done = cli("diff", tiny_bundle, "--device", "gpu", "--bisect", tmp_path / "fault")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--bisect looks into files op by op, which gpu does not show." in done.stderr
    assert "with --device, --layers shows the values inside" in done.stderr


class Words(HTMLParser):
    """The text of a page, and what its tables are called."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tables: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tables += [dict(attrs)["aria-label"] or ""] if dict(attrs).get("role") == "region" else []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def test_the_commands(cli: Cli, digits_bundle: Path, request_: LayersRequest, sound: Layers, tmp_path: Path) -> None:
    few = request_.inputs
    assert few is not None
    plot, page = tmp_path / "layers.png", tmp_path / "report.html"
    words = ("--layers", "--inputs", few, "--precision", "float32,int8")
    done = cli("diff", digits_bundle, *words, "--plot", plot, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["verdict"] == "pass"
    assert content["layers"] == json.loads(json.dumps(sound.to_json()))
    assert plot.read_bytes().startswith(b"\x89PNG")
    done = cli("report", digits_bundle, *words, "-o", page)
    assert done.returncode == 0, done.stderr
    reader = Words()
    reader.feed(page.read_text())
    assert {MODULE, "tflite-int8", "pass", "Rewrites", "Layers"} <= set(reader.words)
    of_layers = [name for name in reader.tables if " against " in name]
    assert of_layers == [f"{stage.stage} against {stage.against}" for stage in sound.measured]
    assert {"Stages", "Rewrites", "Gates", "SHA-256 of files"} <= set(reader.tables)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("diff", "--plot", "a.png"), "--plot says how --layers is done"),
        (("diff", "--layers", "--plot", "a.jpg"), "neither .png nor .svg"),
        (("diff", "--layers", "--precision", "float23"), "has no precision float23"),
        (("report", "-o", "a.pdf"), "does not end in .html"),
        (("report", "-o", "nowhere/a.html"), "There is no folder"),
        (("report", "-o", "a.html", "--inputs", "x"), "--inputs says how --layers is done"),
    ],
)
def test_wrong_words(cli: Cli, digits_bundle: Path, tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    done = cli(words[0], digits_bundle, *words[1:], cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []
