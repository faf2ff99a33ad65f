"""The search for modules that int8 leaves in float finds what was planted, and a real file follows it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.fx import GraphModule

from mobilekit.bench.devices.emulator_setup import find_count_problem
from mobilekit.convert.alignment import Alignment
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.quantize_search.float_search import FloatSearch, Point
from mobilekit.parity.ledger.float_nodes import nodes_inside
from mobilekit.parity.ledger.format_error import FakeQuantInt8, fake_quantize_int8
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.modules import is_inside
from mobilekit.recipes.schema import Int8
from mobilekit.rewrites.fx.graph import trace
from tests.conftest import Cli


class Part(nn.Module):
    """Two convolutions, between which the channels are apart by a factor that the second one takes back."""

    def __init__(self, spread: float) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1)
        factors = torch.logspace(0, spread, 8).reshape(-1, 1, 1, 1)
        with torch.no_grad():
            self.first.weight *= factors
            self.first.bias.zero_()
            self.second.weight /= factors.reshape(1, -1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.act(self.first(x)))


class Net(nn.Module):
    """Four parts; one per-tensor scale cannot carry the channels inside `parts.2`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 1)
        self.parts = nn.Sequential(Part(0), Part(0), Part(4), Part(0))
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.parts(self.stem(x)).mean((2, 3)))


INPUTS = {"input": np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def graph() -> GraphModule:
    return trace(Net(), {"input": torch.from_numpy(INPUTS["input"])})


def search_on(graph: GraphModule, int8: Int8 | None = None) -> FloatSearch:
    return FloatSearch(graph, INPUTS, int8 or Int8(), record(graph, INPUTS).ranges)


def test_the_planted_part_is_found_first(graph: GraphModule) -> None:
    plain, first, *_ = search_on(graph).points()
    assert plain.int8 == Int8()
    assert (plain.added, plain.layers, plain.macs_share, plain.values_share) == ("", 0, 0, 0)
    assert first.added == "parts.2"
    assert first.int8.float_modules == ("parts.2",)
    assert first.layers == 2
    assert first.relative_l2 < plain.relative_l2 / 2
    per_place = {"stem": 3 * 8, "part": 9 * 64 + 64}
    all_macs = 64 * (per_place["stem"] + 4 * per_place["part"]) + 80
    assert first.macs_share == pytest.approx(64 * per_place["part"] / all_macs)
    all_values = 512 + 4 * 2 * 512 + 8 + 10  # the ReLUs are in their convolutions
    assert first.values_share == pytest.approx((2 * 512 + 2 * 512) / all_values), "two maps, and two at the borders"
    assert first.cost == pytest.approx((first.macs_share + first.values_share) / 2)


def test_errors_fall_from_point_to_point(graph: GraphModule) -> None:
    points = list(search_on(graph).points())
    errors = [point.relative_l2 for point in points]
    assert errors == sorted(errors, reverse=True)
    assert [len(point.int8.float_modules) for point in points] == list(range(len(points)))


def test_what_the_recipe_has_in_float_already_comes_first(graph: GraphModule) -> None:
    points = list(search_on(graph, Int8(float_modules=("parts.2",))).points())
    assert points[0].int8.float_modules == ("parts.2",)
    assert all(point.int8.float_modules.count("parts.2") == 1 for point in points)


def test_candidates_are_parts_all_of_a_name_and_lone_layers(graph: GraphModule) -> None:
    """All `second` have 4 x 64 of the 2,584 multiply-accumulates of a place, all `first` more than a quarter."""
    parts = ["parts.0", "parts.*.second", "parts.1", "parts.2", "parts.3"]
    assert search_on(graph).candidates() == ["stem", *parts, "head"]
    there = search_on(graph, Int8(float_modules=("parts.1", "head")))
    assert there.candidates() == ["stem", "parts.0", "parts.*.second", "parts.2", "parts.3"]


class Stream(nn.Module):
    """A residual stream, to which small steps are added: in 8 bits each sum rounds it again."""

    def __init__(self, count: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.steps = nn.ModuleList(nn.Conv2d(6, 6, 1) for _ in range(count))
        self.act = nn.Hardswish()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            x = x + self.act(step(x)) / 50
        return x


def test_words_are_tried_where_they_say_something(graph: GraphModule) -> None:
    inputs = {"input": np.random.default_rng(1).normal(size=(2, 6, 8, 8)).astype(np.float32)}
    stream = trace(Stream(12), {"input": torch.from_numpy(inputs["input"])})
    search = FloatSearch(stream, inputs, Int8(keep_float=("hard-swish",)), record(stream, inputs).ranges)
    assert search.candidates()[0] == "residual-add"
    _, first, *_ = search.points()
    assert first.added == "residual-add"
    assert first.int8.keep_float == ("hard-swish", "residual-add")
    assert "residual-add" not in search_on(graph).candidates()


def test_a_word_that_gives_nothing_at_first_is_tried_again() -> None:
    """What a stream in float gains may show only where what is added to it is better than 8 bits."""
    stream = trace(Stream(2), {"input": torch.zeros(1, 6, 4, 4)})
    inputs = {"input": np.zeros((1, 6, 4, 4), np.float32)}

    class Told(FloatSearch):
        def candidates(self) -> list[str]:
            return ["residual-add", "steps.0", "steps.1"]

        def measure(self, int8: Int8, added: str = "") -> Point:
            error = {0: 1.0, 1: 0.8, 2: 0.7}[len(int8.float_modules)]
            if "residual-add" in int8.keep_float:
                error = error - 0.2 if int8.float_modules else 1.1
            layers = len(int8.float_modules)
            return Point(int8, added, layers, 0.1 * layers, 0.0, error, 1 - error)

    points = Told(stream, inputs, Int8(), {}).points()
    assert [point.added for point in points] == ["", "steps.0", "residual-add", "steps.1"]


def test_a_hard_swish_in_float_is_rounded_where_int8_takes_it() -> None:
    """Before a layer in float it is not: the ledger's simulation would else find more error than a file has."""

    class Swished(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.one, self.two = nn.Hardswish(), nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.two(self.one(self.act(x)))

    x = torch.randn(2, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    swished = trace(Swished(), {"input": x})
    reads: list[str] = []

    class Spy(FakeQuantInt8):
        def _round(self, node, value):  # type: ignore[no-untyped-def]
            reads.append(node.name)
            return super()._round(node, value)

    with torch.no_grad():
        Spy(swished, ("hard-swish",))(x)
        assert reads == ["x", "hardswish", "one", "two"]
        reads.clear()
        Spy(swished, ("hard-swish",), None, ("one",))(x)
        assert reads == ["x", "one", "two"]


def test_the_search_measures_what_the_simulation_of_the_ledger_does(graph: GraphModule) -> None:
    ranges = record(graph, INPUTS).ranges
    point = search_on(graph).measure(Int8(float_modules=("parts.1",)))
    with torch.no_grad():
        x = torch.from_numpy(INPUTS["input"])
        truth, got = graph(x), fake_quantize_int8(graph, Int8(float_modules=("parts.1",)), ranges)(x)
    assert point.relative_l2 == pytest.approx(float((got - truth).norm() / truth.norm()), rel=1e-5)


def test_a_module_in_float_is_rounded_where_it_ends_and_not_inside(graph: GraphModule) -> None:
    seen: dict[str, int] = {}

    class Spy(FakeQuantInt8):
        def _round(self, node, value):  # type: ignore[no-untyped-def]
            seen[node.name] = seen.get(node.name, 0) + 1
            return super()._round(node, value)

    with torch.no_grad():
        Spy(graph, (), None, ("parts.2",))(torch.from_numpy(INPUTS["input"]))
    assert not {"parts_2_first", "parts_2_act"} & set(seen)
    assert seen["parts_2_second"] == 1, "where the next part takes it"
    assert seen["parts_1_second"] == 1, "before the part"


def test_a_relu_goes_with_the_layer_that_it_is_one_op_with() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 4, 1), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(self.conv(x)) * 2

    two = trace(Two(), {"input": torch.zeros(1, 3, 4, 4)})
    assert {node.name for node in nodes_inside(two, ["conv"])} == {"conv", "relu"}
    assert nodes_inside(two, ["act"]) == set()


@pytest.mark.parametrize(
    ("path", "modules", "inside"),
    [
        ("blocks.1.se", ["blocks.1"], True),
        ("blocks.10.se", ["blocks.1"], False),
        ("blocks.1", ["blocks.1"], True),
        ("blocks.3.se.fc", ["blocks.*.se"], True),
        ("head", [], False),
    ],
)
def test_paths_are_of_modules_and_all_in_them(path: str, modules: list[str], inside: bool) -> None:
    assert is_inside(path, modules) is inside


def test_a_module_that_is_not_there_is_an_error(graph: GraphModule) -> None:
    with pytest.raises(UsageError, match=r"leaves parts\.9 in float"):
        nodes_inside(graph, ["parts.9"])
    with pytest.raises(ToolError, match=r"parts\.9 cannot stay in float"):
        Alignment({"tensor": "parts.1"}, {}).tensors_inside(["parts.9"])


@pytest.mark.slow
def test_the_choice_lands_in_the_recipe_and_in_the_file(tmp_path: Path, cli: Cli) -> None:
    code = Path(__file__).read_text().split("class Part")[1].split("INPUTS =")[0]
    (tmp_path / "net.py").write_text(
        f"import torch\nfrom torch import nn\n\n\nclass Part{code}\n\ndef make():\n    return Net()\n"
    )
    (tmp_path / "base.yaml").write_text("input: {size: 32}\ncalibration: {count: 14}\nint8: {correct_bias: false}\n")
    found = tmp_path / "found.yaml"
    options = ("--recipe", tmp_path / "base.yaml", "--cosine", "0.99997", "-o", found, "--plot", tmp_path / "a.png")
    ran = cli("quantize-search", f"{tmp_path / 'net.py'}:make", *options, "--json")
    assert ran.returncode in (0, 1), ran.stderr
    content = json.loads(ran.stdout)
    assert content["float_modules"][0] == "parts.2"
    assert content["files"][-1]["cosine"] > content["files"][0]["cosine"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    bundle = tmp_path / "bundle"
    cli("export", f"{tmp_path / 'net.py'}:make", "--recipe", found, "--precision", "int8", "-o", bundle)
    assert _types(bundle / "model.int8.tflite") == {"float32", "int8"}
    assert not (bundle / "model.float32.tflite").exists()


@pytest.mark.slow
@pytest.mark.skipif(find_count_problem() is not None, reason="nothing can be counted here")
def test_counts_of_the_files_stand_beside(tmp_path: Path, cli: Cli) -> None:
    options = ("--recipe", tmp_path / "base.yaml", "--cosine", "0", "--device", "emulated", "--core", "a55", "--json")
    (tmp_path / "base.yaml").write_text("input: {size: 32}\ncalibration: {count: 14}\n")
    ran = cli("quantize-search", Path(__file__).parents[2] / "tiny.py:make_tiny", *options)
    assert ran.returncode == 0, ran.stderr
    content = json.loads(ran.stdout)
    float32, int8 = (each["results"][0]["count"]["instructions"] for each in content["counts"])
    assert content["core"]["name"] == "a55"
    assert content["files"][0]["instructions"] == int8 < float32


def _types(path: Path) -> set[str]:
    """Return what the convolutions of a file compute with."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(str(path), experimental_op_resolver_type=plain)
    interpreter.allocate_tensors()
    types = {detail["index"]: detail["dtype"].__name__ for detail in interpreter.get_tensor_details()}
    return {types[int(op["outputs"][0])] for op in interpreter._get_ops_details() if op["op_name"] == "CONV_2D"}
