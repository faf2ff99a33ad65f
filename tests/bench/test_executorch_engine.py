"""What times .pte files: against a process that is no ExecuTorch, and, where it is set up, with it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from mobilekit.bench import executorch_engine
from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.executorch_engine import ExecuTorchEngine
from mobilekit.errors import DeviceError, ToolError, UsageError
from mobilekit.store.worker import Worker, python_path
from tests.conftest import Cli
from tests.programs import TWO_PARTS

TIMES = """
from mobilekit.store.worker_loop import serve
def measure(request):
    assert request["inputs"] == [[[1, 3, 8, 8], "float32"]], request
    return {"init_ms": 7.0, "warmup_ms": [9.0], "raw_ms": [3.0, 1.0, 2.0][: request["runs"]], "memory_mb": 4.0}
serve(measure)
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, TIMES)


def _put(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def start(_module: str) -> Worker:
        return Worker([sys.executable, "-c", code], environment={"PYTHONPATH": python_path()})

    monkeypatch.setattr(executorch_engine, "start", start)
    monkeypatch.setattr(executorch_engine, "versions", lambda: {"executorch": "1.5.1"})


@pytest.mark.usefixtures("stand_in")
def test_a_run_has_the_times_and_what_is_delegated() -> None:
    engine = ExecuTorchEngine()
    assert (engine.describe().name, engine.describe().version) == ("ExecuTorch", "1.5.1")
    run = engine.run(TWO_PARTS, RunSettings(runs=3))
    assert (run.latency_ms, run.raw_ms, run.init_ms, run.first_ms, run.memory_mb) == (2.0, (3.0, 1.0, 2.0), 7, 9, 4)
    assert run.delegates == ("XNNPACK: 6 of 7 ops in 2 parts",)


@pytest.mark.usefixtures("stand_in")
def test_a_delegate_cannot_be_demanded() -> None:
    with pytest.raises(UsageError, match=r"In a \.pte file stands what runs each part of it"):
        ExecuTorchEngine().run(TWO_PARTS, RunSettings(delegate="gpu"))


def test_a_run_that_fails_is_refused_and_one_that_is_late_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    _put(monkeypatch, TIMES.replace("    return", "    raise RuntimeError('no memory')\n    return"))
    assert ExecuTorchEngine().run(TWO_PARTS, RunSettings()).why_not == "ExecuTorch failed: RuntimeError: no memory"
    _put(monkeypatch, TIMES.replace("    return", "    import time; time.sleep(30)\n    return"))
    monkeypatch.setattr(executorch_engine, "SLACK", 0.5)
    with pytest.raises(DeviceError, match="ExecuTorch did not end within"):
        ExecuTorchEngine().run(TWO_PARTS, RunSettings(max_seconds=0.1))


@pytest.mark.usefixtures("stand_in")
def test_the_command_times_files_for_executorch(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(TWO_PARTS, tmp_path / "net.pte")
    done = cli("bench", tmp_path / "net.pte", "--rounds", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert '"ExecuTorch"' in done.stdout and json.loads(done.stdout)
    refused = cli("bench", tmp_path / "net.pte", "--profile")
    assert refused.returncode == 2 and "without profiles" in refused.stderr


def test_files_of_two_runtimes_are_not_benched_together(tmp_path: Path) -> None:
    shutil.copy(TWO_PARTS, tmp_path / "net.pte")
    (tmp_path / "net.tflite").write_bytes(b"\0\0\0\0TFL3")
    with pytest.raises(UsageError, match="files of two runtimes") as raised:
        find_artifacts([tmp_path / "net.pte", tmp_path / "net.tflite"])
    assert raised.value.hint == "Bench .tflite and .pte files in runs of their own."


def test_a_damaged_file_is_refused_before_the_rounds(tmp_path: Path) -> None:
    (tmp_path / "net.pte").write_bytes(TWO_PARTS.read_bytes()[:100])
    with pytest.raises(ToolError, match=r"net\.pte is not a whole \.pte file"):
        find_artifacts([tmp_path / "net.pte"])


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_executorch_itself_is_timed() -> None:
    run = ExecuTorchEngine().run(TWO_PARTS, RunSettings(runs=3, threads=1))
    assert run.why_not is None and run.count == 3
    assert run.latency_ms and 0 < run.latency_ms < 1000
