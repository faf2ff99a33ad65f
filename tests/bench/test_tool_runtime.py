"""Outputs from benchmark_model on a device: its files and flags, against a tool made of LiteRT itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.select import open_device
from mobilekit.bench.tool_runtime import ToolRuntime
from mobilekit.errors import DeviceError, ToolError, UsageError
from mobilekit.store.stages import Stage
from tests.bench_cli import Bench
from tests.fake_device import FakeDevice
from tests.tflite_by_hand import make_tflite

HELD = """INFO: Graph: [{graph}]
INFO: Loaded model {graph}
INFO: count=0

INFO: count=1 curr=100

INFO: Inference timings in us: Init: 10, First inference: 100, Warmup (avg): 100, Inference (avg): 100
"""


class LiteRTTool(Workspace):
    """A device whose benchmark_model reads and writes files as TensorFlow Lite's does, and computes with LiteRT."""

    def __init__(self, missing: str = "", says: str = HELD, cut: int = 0) -> None:
        self.missing, self.says, self.cut = missing, says, cut
        self.files: dict[str, bytes] = {}
        self.flags: dict[str, str] = {}

    def install(self, file: Path, executable: bool = False) -> str:
        self.files[f"/store/{len(self.files)}-{file.name}"] = file.read_bytes()
        return list(self.files)[-1]

    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        from ai_edge_litert.interpreter import Interpreter

        self.flags = dict(word.removeprefix("--").split("=", 1) for word in arguments[1:])
        interpreter = Interpreter(model_content=self.files[self.flags["graph"]])
        interpreter.allocate_tensors()
        details = {detail["name"]: detail for detail in interpreter.get_input_details()}
        for pair in self.flags["input_layer_value_files"].split(","):
            # As the tool does: two colons are one of the name, and one ends it.
            name, place = pair.replace("::", "\0").split(":")
            detail = details[name.replace("\0", ":")]
            values = np.frombuffer(self.files[place], detail["dtype"])
            interpreter.set_tensor(detail["index"], values.reshape(detail["shape"]))
        interpreter.invoke()
        made = [interpreter.get_tensor(each["index"]).tobytes() for each in interpreter.get_output_details()]
        self.files[self.flags["output_filepath"]] = b"".join(made)[self.cut :]
        lack = f"WARN: Unconsumed cmdline flags: --{self.missing}=x\n" if self.missing else ""
        return Finished(0, lack + self.says.format(graph=self.flags["graph"]), "")

    def read(self, path: str) -> bytes:
        return self.files[path]


INPUTS = {"x": np.random.default_rng(0).standard_normal((3, 2, 3, 4)).astype(np.float32)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two outputs of one NHWC input."""
    path = tmp_path / "net.tflite"
    ops = [("ADD", ["x", "x"], "sum"), ("MUL", ["x", "x"], "square")]
    path.write_bytes(make_tflite(ops, (1, 3, 4, 2), ["sum", "square"]))
    return path


def test_outputs_are_those_of_the_file(model: Path) -> None:
    layouts = {"sum": "NHWC"}
    made = ToolRuntime(LiteRTTool(), "/tool", model, layouts).run(INPUTS)
    expected = LiteRTRuntime(model, layouts).run(INPUTS)
    assert list(made) == ["sum", "square"]
    for name, array in expected.items():
        np.testing.assert_array_equal(made[name], array)
    np.testing.assert_array_equal(made["sum"], 2 * INPUTS["x"])


def test_the_flags_are_the_tools(model: Path) -> None:
    tool = LiteRTTool()
    ToolRuntime(tool, "/tool", model, {}).run({"x": INPUTS["x"][:1]})
    assert tool.flags["input_layer"] == "x" and tool.flags["input_layer_shape"] == "1,3,4,2"
    assert (tool.flags["num_runs"], tool.flags["num_threads"]) == ("1", "1")


def test_a_colon_in_a_name_is_written_twice(digits_bundle: Path) -> None:
    path, tool = digits_bundle / "model.int8.tflite", LiteRTTool()
    inputs = {"input": np.random.default_rng(0).uniform(-1, 1, (2, 1, 32, 32)).astype(np.float32)}
    made = ToolRuntime(tool, "/tool", path, {}).run(inputs)
    np.testing.assert_array_equal(made["logits"], LiteRTRuntime(path).run(inputs)["logits"])
    [name] = [detail["name"] for detail in LiteRTRuntime(path).interpreter.get_input_details()]
    assert tool.flags["input_layer"] == name
    assert tool.flags["input_layer_value_files"].startswith(f"{name.replace(':', '::')}:/store/")


@pytest.mark.parametrize("flag", ["output_filepath", "input_layer_value_files"])
def test_a_tool_without_the_flags_says_so(flag: str, model: Path) -> None:
    with pytest.raises(ToolError, match=f"has no --{flag}, so its outputs cannot be compared") as caught:
        ToolRuntime(LiteRTTool(missing=flag), "/tool", model, {}).run(INPUTS)
    assert "--device emulated" in caught.value.hint


def test_a_run_that_was_not_whole_is_refused(model: Path) -> None:
    with pytest.raises(ToolError, match=r"net\.tflite could not be run on the device"):
        ToolRuntime(LiteRTTool(says="INFO: Graph: [{graph}]\n"), "/tool", model, {}).run(INPUTS)
    with pytest.raises(DeviceError, match="wrote 184 bytes of outputs, not 192"):
        ToolRuntime(LiteRTTool(cut=8), "/tool", model, {}).run(INPUTS)


@pytest.fixture
def bench(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield Bench(fake, folder, monkeypatch, capsys)


# With a device end and the shell's stand-in for the tool, which is of a version without --output_filepath.


def test_a_phone_with_an_old_tool(bench: Bench, model: Path) -> None:
    with open_device("adb", str(bench.program)) as opener:
        assert opener
        with pytest.raises(ToolError, match="has no --output_filepath"):
            opener.open(Stage.DEVICE_FLOAT32, model, {}).run(INPUTS)
    assert bench.left_here() == []


def test_a_binary_is_for_a_phone() -> None:
    with pytest.raises(UsageError, match="is for a phone"), open_device("emulated", "benchmark_model"):
        pass
    with pytest.raises(UsageError, match="no device 'adb:all'"), open_device("adb:all"):
        pass
