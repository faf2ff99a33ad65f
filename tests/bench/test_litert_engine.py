"""LiteRT in a process of its own, which times files where benchmark_model is not at hand."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

from mobilekit.bench.engine import RunSettings
from mobilekit.bench.litert_engine import LiteRTEngine, run_worker, why_ended
from mobilekit.bench.litert_worker import fill_inputs, measure
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.worker import WorkerError
from tests.tflite_by_hand import make_tflite

FEW = RunSettings(runs=7, warmup_runs=2)


@pytest.fixture(scope="module", autouse=True)
def own_locks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Another bench may hold this machine's lock."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def engine() -> LiteRTEngine:
    return LiteRTEngine()


@pytest.fixture
def left_alone(tmp_path: Path) -> Path:
    """A file of one op, which XNNPACK does not take."""
    path = tmp_path / "left.tflite"
    path.write_bytes(make_tflite([("ZEROS_LIKE", ["x"], "y")], (1, 4), ["y"]))
    return path


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8"])
def test_a_run_has_a_time_for_each_inference(engine: LiteRTEngine, digits_bundle: Path, precision: str) -> None:
    run = engine.run(digits_bundle / f"model.{precision}.tflite", FEW)
    assert run.why_not is None
    assert run.count == len(run.raw_ms) == 7
    assert run.latency_ms == median(run.raw_ms) > 0
    assert (run.min_ms, run.max_ms) == (min(run.raw_ms), max(run.raw_ms))
    assert run.statistic == "median"
    assert run.init_ms is not None and run.init_ms > 0
    assert run.first_ms is not None and run.first_ms > 0
    assert run.memory_mb is not None and 0.5 < run.memory_mb < 100
    assert run.delegates[0].endswith("ops in 1 partition")


def test_the_limit_of_time_is_kept(engine: LiteRTEngine, digits_bundle: Path) -> None:
    run = engine.run(digits_bundle / "model.int8.tflite", RunSettings(runs=10**6, warmup_runs=10**6, max_seconds=0.05))
    assert run.why_not is None
    assert 1 <= run.count < 10**5
    assert sum(run.raw_ms[:-1]) < 50
    one = engine.run(digits_bundle / "model.int8.tflite", RunSettings(runs=5, warmup_runs=5, max_seconds=0))
    assert one.count == 1


def test_what_the_engine_says_of_itself(engine: LiteRTEngine) -> None:
    assert engine.describe().to_json() == {"name": "LiteRT", "version": version("ai-edge-litert"), "sha256": None}


def test_a_delegate_can_be_demanded(engine: LiteRTEngine, digits_bundle: Path, left_alone: Path) -> None:
    demanded = RunSettings(runs=2, warmup_runs=1, delegate="xnnpack")
    assert engine.run(digits_bundle / "model.int8.tflite", demanded).why_not is None
    assert engine.run(left_alone, demanded).why_not == "XNNPACK took no op of this file"
    assert engine.run(left_alone, FEW).delegates == ("XNNPACK: 0 of 1 ops in 0 partitions",)
    for name in ("gpu", "nnapi"):
        with pytest.raises(UsageError, match=f"has no {name} delegate"):
            engine.run(left_alone, RunSettings(delegate=name))


def test_a_file_that_is_cut_is_refused(engine: LiteRTEngine, digits_bundle: Path, tmp_path: Path) -> None:
    content = (digits_bundle / "model.int8.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content[: len(content) // 3])
    run = engine.run(path, FEW)
    assert run.latency_ms is None
    assert run.why_not == "it is not a whole TFLite file; convert or export it again"


def test_a_file_that_is_gone_is_refused_in_litert_s_words(engine: LiteRTEngine, tmp_path: Path) -> None:
    run = engine.run(tmp_path / "gone.tflite", FEW)
    assert run.why_not is not None
    assert run.why_not.startswith("LiteRT failed: ValueError: Could not open")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (WorkerError("x", -11), "LiteRT was ended by SIGSEGV: the file may be damaged, or the memory not enough"),
        (WorkerError("RuntimeError: no"), "LiteRT failed: RuntimeError: no"),
        (WorkerError("it said nothing", 3), "LiteRT ended with exit status 3: it said nothing"),
    ],
)
def test_how_a_process_ended(error: WorkerError, words: str) -> None:
    assert why_ended(error) == words


def test_a_run_has_a_limit_of_time(digits_bundle: Path) -> None:
    request = {"file": str(digits_bundle / "model.int8.tflite"), "threads": 1, "runs": 10**9, "warmup_runs": 1}
    with pytest.raises(DeviceError, match="LiteRT did not end within 2 s on this machine"):
        run_worker("mobilekit.bench.litert_worker", {**request, "max_seconds": 60}, None, 2)


def test_a_worker_runs_from_anywhere(digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.py").write_text("raise ImportError")
    request = {"file": str(digits_bundle / "model.int8.tflite"), "threads": 1, "runs": 2, "warmup_runs": 1}
    reply = run_worker("mobilekit.bench.litert_worker", {**request, "max_seconds": 1}, None, 60)
    assert set(reply) == {
        "version",
        "init_ms",
        "warmup_ms",
        "raw_ms",
        "memory_mb",
        "partitions",
        "delegated",
        "total",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["numpy.py"]


def test_a_run_can_be_pinned(engine: LiteRTEngine, digits_bundle: Path) -> None:
    first = min(os.sched_getaffinity(0))
    run = engine.run(digits_bundle / "model.int8.tflite", RunSettings(runs=2, cpu_mask=f"{1 << first:x}"))
    assert run.why_not is None


def test_warm_up_is_kept_apart(digits_bundle: Path) -> None:
    request = {"file": str(digits_bundle / "model.int8.tflite"), "threads": 2, "runs": 4, "warmup_runs": 3}
    reply = measure({**request, "max_seconds": 5})
    assert (len(reply["warmup_ms"]), len(reply["raw_ms"])) == (3, 4)
    assert min(reply["warmup_ms"] + reply["raw_ms"]) > 0


class Inputs:
    """An interpreter that keeps what it is given."""

    def __init__(self, **dtypes: Any) -> None:
        self.dtypes = dtypes
        self.values: dict[str, Any] = {}

    def get_input_details(self) -> list[dict[str, Any]]:
        shape = np.array([2, 5000], np.int32)
        return [{"index": name, "shape": shape, "dtype": dtype} for name, dtype in self.dtypes.items()]

    def set_tensor(self, name: str, value: Any) -> None:
        self.values[name] = value


def test_inputs_have_the_range_of_what_they_stand_for() -> None:
    dtypes = {
        "a": np.float32,
        "b": np.int8,
        "c": np.uint8,
        "d": np.int32,
        "e": np.int64,
        "f": np.bool_,
        "g": np.float16,
    }
    inputs, again = Inputs(**dtypes), Inputs(**dtypes)
    fill_inputs(inputs)
    fill_inputs(again)
    for name, dtype in dtypes.items():
        assert inputs.values[name].dtype == dtype and inputs.values[name].shape == (2, 5000)
        assert np.array_equal(inputs.values[name], again.values[name]), "the same every time"
    ranges = {name: (int(inputs.values[name].min()), int(inputs.values[name].max())) for name in "bcde"}
    assert ranges == {"b": (-128, 127), "c": (0, 255), "d": (0, 99), "e": (0, 99)}
    assert abs(float(inputs.values["a"].mean())) < 0.05
    assert float(inputs.values["a"].std()) == pytest.approx(1, abs=0.05)
