"""Conversion tasks in a process of their own: what they say when they fail, and that they end with their parent."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from mobilekit.convert import process
from mobilekit.convert.process import run_task
from mobilekit.errors import ToolError
from mobilekit.store.worker import WorkerError
from tests.conftest import ROOT

PATIENCE = 20.0
TF_LOG = """\
loc(callsite("MatrixDeterminant")): error: 'tf.MatrixDeterminant' op is neither a custom op nor a flex op
error: failed while converting: 'main':
Some ops are not supported by the native TFLite runtime, you can enable TF kernels fallback using TF Select.
TF Select ops: MatrixDeterminant
Details:
\ttf.MatrixDeterminant(tensor<1x3x3xf32>) -> (tensor<1xf32>) : {device = ""}
"""
ONNX2TF_LOG = """\
INFO: Model loaded
ERROR: The trace log is below.
Traceback (most recent call last):
  File "onnx2tf/ops/Mel.py", line 3, in make_node
ValueError: Dimensions must be equal, but are 4 and 5
ERROR: input_onnx_file_path: model.onnx
ERROR: onnx_op_name: /blocks.1/mel
ERROR: Read this and deal with it. https://github.com/PINTO0309/onnx2tf
"""


def _wait_until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.02)
    return False


class Blocked:
    """A `simplify` request whose ONNX file is a pipe that nothing comes out of: the worker reads it for ever."""

    def __init__(self, folder: Path) -> None:
        self.pipe = folder / "model.onnx"
        self.request = {"source": str(self.pipe), "target": str(folder / "out.onnx")}
        os.mkfifo(self.pipe)
        self.descriptor = -1

    def is_read(self) -> bool:
        """Open the pipe for writing, which works once the worker has opened it for reading."""
        try:
            self.descriptor = os.open(self.pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO
            return False
        return True


@pytest.fixture
def blocked(tmp_path: Path) -> Iterator[Blocked]:
    blocked = Blocked(tmp_path)
    yield blocked
    if blocked.descriptor >= 0:
        os.close(blocked.descriptor)


@contextmanager
def _parent(blocked: Blocked, folder: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """Start a process that runs the blocked task, and give it and its worker once the worker is in the task."""
    code = """
        import json, signal, sys, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs have it ignored
        from pathlib import Path
        from mobilekit.convert.process import run_task
        try:
            run_task("simplify", json.loads(sys.argv[1]), Path(sys.argv[2]))
        except KeyboardInterrupt as error:
            kept = error  # and with it all that run_task had open
            print("interrupted", flush=True)
            time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), json.dumps(blocked.request), str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert _wait_until(blocked.is_read), "the worker never opened its file"
        (worker,) = psutil.Process(parent.pid).children(recursive=True)
        yield parent, worker
    finally:
        parent.kill()
        parent.communicate()


def _is_gone(worker: psutil.Process) -> bool:
    return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_worker_ends_when_its_parent_is_killed(tmp_path: Path, blocked: Blocked) -> None:
    with _parent(blocked, tmp_path) as (parent, worker):
        time.sleep(0.2)
        assert not _is_gone(worker), "it waits as long as its parent does"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert _wait_until(lambda: _is_gone(worker))


def test_a_worker_iterates_over_sets_in_one_order_and_sees_no_gpu(
    tmp_path: Path, blocked: Blocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Converters name tensors in the order in which they come upon them, on one kind of device."""
    for name, value in (("PYTHONHASHSEED", "7"), ("CUDA_VISIBLE_DEVICES", "0")):
        monkeypatch.setenv(name, value)
    with _parent(blocked, tmp_path) as (_parent_process, worker):
        has = worker.environ()
    assert (has["PYTHONHASHSEED"], has["CUDA_VISIBLE_DEVICES"]) == ("0", "")


def test_an_interrupt_kills_the_worker(tmp_path: Path, blocked: Blocked) -> None:
    with _parent(blocked, tmp_path) as (parent, worker):
        parent.send_signal(signal.SIGINT)
        assert parent.stdout
        assert parent.stdout.readline() == "interrupted\n"
        assert _is_gone(worker), "run_task kills it and waits for its end"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_is_told_with_its_signal(tmp_path: Path, blocked: Blocked, number: signal.Signals) -> None:
    def kill() -> None:
        _wait_until(blocked.is_read)
        for child in psutil.Process().children():
            if "mobilekit.convert.tasks.worker" in child.cmdline():
                child.send_signal(number)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(ToolError, match=f"onnxsim failed: it was killed by {number.name}") as caught:
        run_task("simplify", blocked.request, tmp_path)
    killer.join()
    assert ("out of memory" in caught.value.hint) == (number is signal.SIGKILL)
    assert caught.value.exit_code == 4


def test_garbage_is_told_in_the_tools_words_and_the_log_is_kept(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"this is no ONNX file")
    request = {"source": str(tmp_path / "model.onnx"), "target": str(tmp_path / "out.onnx")}
    with pytest.raises(ToolError, match=r"onnxsim failed: DecodeError: \w+") as caught:
        run_task("simplify", request, tmp_path)
    assert "--debug" in caught.value.hint
    log = (tmp_path / "log").read_text()
    assert "Traceback" in log
    assert "DecodeError" in log
    assert any("DecodeError" in note and "Output of simplify" in note for note in caught.value.__notes__)
    assert not (tmp_path / "out.onnx").exists()


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = type("Usage", (), {"free": 0})
    monkeypatch.setattr(process.shutil, "disk_usage", lambda _folder: full)
    folder = tmp_path / "out" / "scratch"
    folder.mkdir(parents=True)
    with pytest.raises(ToolError, match=r"The disk of .* filled up") as caught:
        run_task("simplify", {"source": str(tmp_path / "missing.onnx"), "target": "x"}, folder)
    assert caught.value.hint == "Make room, and export again."


def test_a_missing_file_and_an_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"onnxsim failed: FileNotFoundError: .*missing.onnx"):
        run_task("simplify", {"source": str(tmp_path / "missing.onnx"), "target": "x"}, tmp_path)
    with pytest.raises(ToolError, match=r"polish failed: ModuleNotFoundError: .*polish"):
        run_task("polish", {}, tmp_path)


def test_a_simplified_graph_comes_back(tmp_path: Path) -> None:
    from onnx import TensorProto, checker, helper, load, save

    shape = [1, 4]
    nodes = [helper.make_node("Identity", ["input"], ["a"]), helper.make_node("Relu", ["a"], ["logits"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "logits")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "a.onnx")
    before = (tmp_path / "a.onnx").read_bytes()
    reply = run_task("simplify", {"source": str(tmp_path / "a.onnx"), "target": str(tmp_path / "b.onnx")}, tmp_path)
    assert reply == {"nodes_before": 2, "nodes_after": 1}
    checker.check_model(load(tmp_path / "b.onnx"))
    assert [node.op_type for node in load(tmp_path / "b.onnx").graph.node] == ["Relu"]
    assert (tmp_path / "a.onnx").read_bytes() == before


def _explained(words: str, log: str, tool: str | None = None, code: int | None = None) -> ToolError:
    return process.explain("tflite", WorkerError(words, code, tool, log), Path())


def test_onnx2tf_is_quoted_with_its_op() -> None:
    words = "ValueError: Dimensions must be equal, but are 4 and 5\nand more"
    error = _explained(words, ONNX2TF_LOG, "onnx2tf")
    wanted = "onnx2tf failed at the op /blocks.1/mel: ValueError: Dimensions must be equal, but are 4 and 5"
    assert error.what == wanted
    (note,) = error.__notes__
    assert "ERROR: onnx_op_name: /blocks.1/mel" in note, "all of it is there for --debug"


def test_an_op_of_an_attempt_that_was_given_up_is_not_blamed() -> None:
    error = _explained(
        "RuntimeError: no ranges", f"{ONNX2TF_LOG}{process.ANOTHER_WAY}\nall went well\n", "the quantizer"
    )
    assert error.what == "the quantizer failed: RuntimeError: no ranges"


def test_the_converter_is_quoted_with_its_op() -> None:
    log = "2026 W tensorflow/core: nothing of interest\n"
    error = _explained(f"ConverterError: {TF_LOG}", log, "the TensorFlow Lite converter")
    assert error.what.startswith("the TensorFlow Lite converter failed at the op MatrixDeterminant: ")
    assert "'tf.MatrixDeterminant' op is neither a custom op nor a flex op" in error.what
    assert "\n" not in error.what


def test_long_words_are_cut() -> None:
    error = _explained("RuntimeError: " + "x" * 5000, "")
    assert len(error.what) < 400
    assert error.what.endswith("…")


def test_a_signal_is_named_beside_the_last_words() -> None:
    error = _explained("terminate called", "loading\nterminate called\n", code=-signal.SIGABRT)
    assert error.what == "the TFLite conversion failed: it was killed by SIGABRT; its last words: terminate called"


def test_tasks_of_one_folder_share_a_process_and_their_errors_are_apart(tmp_path: Path) -> None:
    def children() -> list[int]:
        return [
            child.pid for child in psutil.Process().children() if "mobilekit.convert.tasks.worker" in child.cmdline()
        ]

    with process.one_process(tmp_path, ahead=("no_such_module",)):
        while not children():  # one that has just been started has no command line for a moment
            time.sleep(0.01)
        (first,) = children()
        for name in ("first.onnx", "second.onnx"):
            with pytest.raises(ToolError, match=name) as caught:
                run_task("simplify", {"source": str(tmp_path / name), "target": "x"}, tmp_path)
            assert sum("first.onnx" in note for note in caught.value.__notes__) == (name == "first.onnx")
        assert children() == [first]
        psutil.Process(first).kill()
        with pytest.raises(ToolError, match="SIGKILL"):
            run_task("simplify", {"source": str(tmp_path / "third.onnx"), "target": "x"}, tmp_path)
        with pytest.raises(ToolError, match="fourth"):
            run_task("simplify", {"source": str(tmp_path / "fourth.onnx"), "target": "x"}, tmp_path)
    assert children() == []
