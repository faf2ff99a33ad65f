"""Where an error comes in: faults are planted at one module of one stage, and that module has to be named."""

from __future__ import annotations

import copy
import io
import itertools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, Runtime
from mobilekit.cli.render.layers import layers_table, summary, tap_names
from mobilekit.cli.render.layers_chart import draw_layers, tick_places
from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.results import result_of
from mobilekit.errors import UsageError
from mobilekit.parity.layers.layers import TappedStage, measure_layers, tapped_values
from mobilekit.parity.layers.result import Counterpart, Layers, StageLayers
from mobilekit.parity.layers.simulated import simulations
from mobilekit.parity.layers.taps import Tap, find_taps, tapped
from mobilekit.parity.ledger.float16_arithmetic import InFloat16
from mobilekit.parity.ledger.format_error import FakeQuantInt8, in_float16
from mobilekit.parity.ledger.result import Ledger, MeasuredOn
from mobilekit.parity.ledger.rounding import round_weights_to_int8
from mobilekit.parity.ranges.activations import record
from mobilekit.rewrites.fx.graph import trace
from mobilekit.store.stages import Stage

EXAMPLE = {"input": torch.zeros(1, 3, 12, 12)}
INPUTS = {"input": np.random.default_rng(0).standard_normal((3, 3, 12, 12), dtype=np.float32)}


class Net(nn.Module):
    """Two branches that meet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.right = nn.Conv2d(8, 8, 1)
        self.late = nn.Conv2d(8, 12, 1)
        self.head = nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.left(x)) + self.right(x)
        return self.head(torch.relu(self.late(x)).mean((2, 3)))


Changed = Callable[[GraphModule], nn.Module]


def _measure(
    faults: Mapping[str, Changed] | None = None, plain: Mapping[str, Runtime] | None = None
) -> tuple[list[Tap], dict[str, StageLayers]]:
    graph = trace(Net().eval(), EXAMPLE)
    taps = find_taps(graph, EXAMPLE)
    inside = tapped(graph, {tap.name: tap.node.name for tap in taps if not tap.is_output}, EXAMPLE)
    ranges = record(inside, INPUTS).ranges

    def int8(model: GraphModule) -> nn.Module:
        round_weights_to_int8(model)
        return FakeQuantInt8(model, (), ranges)

    sound = copy.deepcopy(inside)
    faults = dict(faults or {})
    if "rewritten" in faults:  # which everything after it is made from
        faults.pop("rewritten")(inside)
    makers: dict[Stage, Changed] = {stage: lambda model: model for stage in Stage if not stage.is_on_device}
    makers |= {Stage.TFLITE_INT8: int8, **{Stage(name): fault for name, fault in faults.items()}}
    others = {stage for stage in makers if stage.file_format in ("pte", "mlpackage")}
    others |= {Stage.TFLITE_INT16X8, Stage.ONNX_INT8, Stage.ONNX_INT16X8}
    for stage in (Stage.TFLITE_FLOAT16, Stage.TFLITE_DYNAMIC, *others):
        del makers[stage]
    stages = {}
    for stage, make in makers.items():
        runtime = TorchRuntime(make(copy.deepcopy(sound if stage == "reference" else inside)).eval())
        own = (plain or {}).get(stage, OutputsOnly(runtime))
        stages[stage] = TappedStage(lambda runtime=runtime: runtime, lambda own=own: own)  # type: ignore[misc]
    measured = measure_layers(stages, simulations(inside, stages, ranges=ranges), taps, INPUTS)
    return taps, {stage.stage: stage for stage in measured}


class OutputsOnly(Runtime):
    """The untapped model: a tapped one without its taps, its outputs perhaps changed."""

    def __init__(self, inner: Runtime, change: float = 0.0) -> None:
        self.inner, self.change = inner, np.float32(change)

    def _run(self, inputs: Arrays) -> Arrays:
        return {name: array + self.change for name, array in self.inner.run(inputs).items() if name == "logits"}


def _weight(path: str, factor: float = 1.01) -> Changed:
    """One weight of one module is off."""

    def change(model: GraphModule) -> nn.Module:
        model.get_submodule(path).weight.data.view(-1)[0] *= factor  # type: ignore[union-attr, operator]
        return model

    return change


def test_a_sound_model_has_no_jump_anywhere() -> None:
    taps, stages = _measure()
    assert [tap.module for tap in taps] == ["stem", "left", "right", "add", "late", "mean", "head"]
    assert {name: stage.first_jump for name, stage in stages.items()} == dict.fromkeys(stages)
    assert all(stage.observer.identical for stage in stages.values())
    assert [row.step.relative_l2 for row in stages["onnx"].rows if row.step] == [0.0] * len(taps)


@pytest.mark.parametrize("stage", ["rewritten", "onnx", "onnx-simplified", "tflite-float32"])
@pytest.mark.parametrize("module", ["stem", "left", "right", "late", "head"])
def test_a_changed_weight_is_found_at_its_module_and_stage(stage: str, module: str) -> None:
    _, stages = _measure({stage: _weight(module)})
    jumps = {name: each.first_jump.module for name, each in stages.items() if each.first_jump}
    assert jumps.pop(stage) == module
    # In a conversion the fault stays; here the next stage is sound again, and so differs from this one.
    assert set(jumps) <= (
        {name for name in stages if Stage(name).predecessor == stage} if stage != "rewritten" else set()
    )


@pytest.mark.parametrize("module", ["left", "add", "late"])
def test_an_int8_tensor_with_a_wrong_scale_is_found(module: str) -> None:
    """The range is an eighth of what it should be: values saturate."""

    def wrong(model: GraphModule) -> nn.Module:
        ranges = dict(record(model, INPUTS).ranges)
        taps = {tap.module: tap for tap in find_taps(trace(Net().eval(), EXAMPLE), EXAMPLE)}
        low, high = ranges[taps[module].node.name]
        ranges[taps[module].node.name] = (low / 8, high / 8)
        round_weights_to_int8(model)
        return FakeQuantInt8(model, (), ranges)

    _, stages = _measure({"tflite-int8": wrong})
    jump = stages["tflite-int8"].first_jump
    assert jump is not None
    assert jump.module == module
    assert stages["tflite-int8"].adds_most[0].module == module
    assert [name for name, stage in stages.items() if stage.first_jump] == ["tflite-int8"]


def test_values_that_are_not_finite_are_a_jump() -> None:
    _, stages = _measure({"onnx": _weight("late", float("nan"))})
    jump = stages["onnx"].first_jump
    assert jump is not None
    assert jump.module == "late"
    json.loads(json.dumps(stages["onnx"].to_json(), allow_nan=False))


def test_what_a_layer_adds_leaves_out_what_it_was_given() -> None:
    _, stages = _measure({"onnx": _weight("stem", 3.0)})
    rows = {row.module: row for row in stages["onnx"].rows}
    assert rows["stem"].step is not None
    assert rows["stem"].added == rows["stem"].step.relative_l2 > 0.001
    for row in rows.values():
        assert row.step is not None
        assert row.added <= row.step.relative_l2
    late, add = rows["late"].step, rows["add"].step
    assert late is not None
    assert add is not None
    assert rows["late"].added ** 2 == pytest.approx(max(0, late.relative_l2**2 - add.relative_l2**2), rel=1e-9)


def test_an_artifact_that_differs_from_its_tapped_copy_is_told() -> None:
    model = trace(Net().eval(), EXAMPLE)
    altered = OutputsOnly(TorchRuntime(tapped(model, {}, EXAMPLE)), change=0.25)
    taps, stages = _measure(plain={"tflite-float32": altered})
    assert [name for name, stage in stages.items() if not stage.observer.identical] == ["tflite-float32"]
    assert stages["tflite-float32"].observer.max_abs == pytest.approx(0.25, rel=1e-6)
    told = [line for line in summary(_content(taps, stages)) if "other final outputs" in line]
    assert len(told) == 1
    assert told[0].startswith("The tapped copy of tflite-float32 gives other final outputs than tflite-float32 itself")


# What is shown.


def _content(taps: list[Tap], stages: dict[str, StageLayers]) -> Layers:
    counterparts = {tap.name: Counterpart(tap.node.name, tap.step, 0.0) for tap in taps if tap.module != "right"}
    on = MeasuredOn("three made-up pictures", 3)
    layers = Layers(on, tapped_values(taps, counterparts), tuple(stages.values()), ("A note.",))
    assert Layers.from_json(json.loads(json.dumps(layers.to_json(), allow_nan=False))).to_json() == layers.to_json()
    return layers


@pytest.fixture(scope="module")
def content() -> Layers:
    return _content(*_measure({"tflite-int8": _weight("late", 400.0)}))


def _printed(content: Layers) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(layers_table(content))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_values_of_one_module_are_told_apart(content: Layers) -> None:
    stem, left, right, *others = content.taps
    branch = (replace(left, module="branch", step="branch.add"), replace(right, module="branch", step="branch"))
    late = (replace(tap, module="late", step="relu") for tap in others)
    names = tap_names(replace(content, taps=(stem, *branch, *late)))
    assert [*names] == [tap.tap for tap in content.taps]
    told = ["stem", "branch: branch.add", "branch: branch", "late: relu", "late: relu (2)", "late: relu (3)"]
    assert [*names.values()][:6] == told


def test_the_table_has_every_module_and_the_summary_names_the_jump(content: Layers) -> None:
    text = _printed(content)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[3:10]] == ["stem", "left", "right", "add", "late", "mean", "head"]
    assert all(len(line) <= 80 for line in lines[:20])
    words = " ".join(text.split())
    assert "tflite-int8: the error jumps at late:" in words
    assert "onnx: no jump; nothing differs." in words
    assert "1 value without a counterpart in the reference" in words
    assert "A note." in words


def test_the_chart_is_a_picture_and_the_same_each_time(content: Layers, tmp_path: Path) -> None:
    draw_layers(content, tmp_path / "a.png", "net")
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 1000
        colors = picture.convert("RGB").getcolors(1 << 24)
    assert colors is not None
    assert {(214, 39, 40), (44, 160, 44)} <= {color for _, color in colors}  # int8 red, float32 green
    draw_layers(content, tmp_path / "a.svg", "net")
    assert ElementTree.fromstring((tmp_path / "a.svg").read_text()).tag.endswith("svg")  # noqa: S314  (we wrote it)
    with pytest.raises(UsageError, match=r"neither .png nor .svg"):
        draw_layers(content, tmp_path / "a.jpg", "net")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "a.svg"]


def test_ticks_are_at_the_blocks_and_do_not_overlap() -> None:
    modules = ["stem", *[f"blocks.{block}.conv{i}" for block in range(50) for i in range(4)], "head"]
    places = tick_places(modules, most=10)
    assert len(places) <= 10
    assert min(after - before for before, after in itertools.pairwise(places)) >= len(modules) / 10
    assert tick_places(["a.0.x", "a.0.y", "a.1.x"], most=10) == [0, 2]


def test_the_page_is_whole_and_escapes_what_it_is_given(content: Layers) -> None:
    row = {
        "stage": "onnx",
        "against": "reference",
        "output": "logits",
        **dict.fromkeys(("max_abs", "mean_abs", "relative_l2", "psnr_db", "top1"), None),
        "cosine": 0.5,
        "top1_agreement": 1.0,
        "finite": True,
        "verdict": "fail",
        "limits": [{"metric": "cosine", "limit": 0.9, "derivation": "<b>why</b>", "advice": ""}],
    }
    random = {name: row[name] for name in ("max_abs", "mean_abs", "relative_l2", "cosine", "psnr_db", "top1_agreement")}
    row["random"] = random
    on = {"real": "photos", "count": 3}
    ledger = Ledger.from_json({"inputs": on, "noise": {}, "stages": [row, {**row, "against": "rewritten"}]})
    result = result_of(ledger, layers=content)
    manifest = {
        "model": {"name": "net", "weights": {"source": "random", "sha256": "ab"}},
        "recipe": {"name": "default"},
        "calibration": {"count": 1, "source": "photos", "sha256": "cd"},
        "tools": {"torch": "2"},
        "files": {"model.onnx": "ef"},
    }
    facts = Facts("<script>alert(1)</script>", manifest, result, {"model.onnx": 7}, ["model.onnx is changed"])
    page = bundle_html(facts)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;b&gt;why&lt;/b&gt;" in page
    assert "cosine is 0.5, and" in page
    assert "changed since the export: model.onnx is changed." in page
    tables = re.findall(r"<summary>(\S+) against ", page)
    assert tables == ["rewritten", "onnx", "onnx-simplified", "tflite-float32", "tflite-int8"]
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in page  # nothing is loaded from elsewhere


def test_a_stage_in_float16_arithmetic_is_held_to_all_that_rounds_there() -> None:
    graph = trace(Net().eval(), EXAMPLE)
    taps = find_taps(graph, EXAMPLE)
    inside = tapped(graph, {tap.name: tap.node.name for tap in taps if not tap.is_output}, EXAMPLE)
    formats = simulations(inside, [Stage.GPU_FLOAT16, Stage.TFLITE_FLOAT16])
    assert set(formats) == {"float32", "float16", "float16-arithmetic"}
    makers = {
        Stage.REFERENCE: inside,
        Stage.REWRITTEN: inside,
        Stage.TFLITE_FLOAT16: in_float16(inside),
        Stage.GPU_FLOAT16: InFloat16(in_float16(inside)),
    }
    stages = {}
    for stage, model in makers.items():
        runtime = TorchRuntime(model)
        stages[stage] = TappedStage(lambda runtime=runtime: runtime, lambda runtime=runtime: OutputsOnly(runtime))  # type: ignore[misc]
    measured = {each.stage: each for each in measure_layers(stages, formats, taps, INPUTS)}
    on_gpu, here = measured[Stage.GPU_FLOAT16], measured[Stage.TFLITE_FLOAT16]
    assert on_gpu.against is Stage.TFLITE_FLOAT16
    assert on_gpu.first_jump is None
    pairs = list(zip(on_gpu.rows, here.rows, strict=True))
    assert all(row.expected > other.expected for row, other in pairs)
    assert all(row.total and row.expected == pytest.approx(row.total.relative_l2) for row, _other in pairs)
