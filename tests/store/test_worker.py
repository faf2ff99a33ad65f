"""Work in a process of its own: what comes back, and how each way of failing is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from mobilekit.store.worker import Worker, WorkerError, last_words, python_path, run_json_worker
from tests.command_line import ROOT

PATIENCE = 20.0
HEAD = """
import os, signal, subprocess, sys, time
from mobilekit.store.worker_loop import named, serve
"""


def worker(body: str, log: Path | None = None) -> Worker:
    """Return a worker that serves with a function `run`, or does what the text says."""
    code = HEAD + textwrap.dedent(body) + ("\nserve(run)\n" if "def run" in body else "")
    return Worker([sys.executable, "-c", code], environment={"PYTHONPATH": python_path()}, log=log)


def failure(body: str, request: object = None, seconds: float | None = None, log: Path | None = None) -> WorkerError:
    with worker(body, log) as process, pytest.raises(WorkerError) as caught:
        process.ask(request, seconds)
    return caught.value


def wait_until_gone(process: psutil.Process) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_requests_are_answered_one_after_another() -> None:
    with worker("def run(request): return {'twice': 2 * request}") as process:
        assert process.ask(21) == {"twice": 42}
        assert process.ask("ü\n") == {"twice": "ü\nü\n"}
        assert process.ask([None]) == {"twice": [None, None]}


def test_what_is_printed_goes_to_the_log_and_not_into_the_reply(tmp_path: Path) -> None:
    body = """
    def run(request):
        print('{"result": "printed"}')
        subprocess.run(["echo", "\\033[31mchild\\033[0m"])
        os.write(1, b"by number\\n")
        sys.stderr.write("error\\n")
        return "replied"
    """
    log = tmp_path / "log"
    with worker(body, log) as process:
        assert process.ask(None) == "replied"
        lines = process.log().splitlines()
    assert sorted(lines) == ["by number", "child", "error", '{"result": "printed"}']
    assert log.exists()


def test_a_failure_is_told_with_its_tool_and_the_worker_goes_on() -> None:
    body = """
    def run(request):
        if request == "fail":
            with named("the converter"):
                raise ValueError("no such op")
        return request
    """
    with worker(body) as process:
        with pytest.raises(WorkerError) as caught:
            process.ask("fail")
        assert process.ask("go on") == "go on"
    error = caught.value
    assert (error.words, error.tool, error.code, error.ending) == (
        "ValueError: no such op",
        "the converter",
        None,
        "failed",
    )
    assert "Traceback" in error.log


def test_our_own_errors_are_told_in_their_words() -> None:
    error = failure("""
    def run(request):
        from mobilekit.errors import ToolError
        raise ToolError("LiteRT cannot open x.", "Mend it.")
    """)
    assert error.words == "LiteRT cannot open x."


def test_one_that_leaves_or_says_nothing_is_quoted_by_its_log() -> None:
    error = failure("""
    def run(request):
        print("loading")
        print("ERROR: the trace is above")
        print("bye")
        sys.exit(1)
    """)
    assert (error.words, error.ending) == ("ERROR: the trace is above", "failed")
    assert failure("def run(request): raise ValueError").words == "ValueError"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_signal_is_named(number: signal.Signals) -> None:
    body = f"""
    def run(request):
        print("half way", flush=True)
        os.kill(os.getpid(), {int(number)})
    """
    error = failure(body)
    assert (error.signal, error.words, error.ending) == (number.name, "half way", f"was ended by {number.name}")


def test_one_that_dies_before_it_reads_has_a_status() -> None:
    error = failure("print('no such module', file=sys.stderr); sys.exit(3)", "x" * 10**6)
    assert (error.code, error.words, error.ending) == (3, "no such module", "ended with exit status 3")
    assert failure("sys.exit(0)").words == "it said nothing"


@pytest.mark.parametrize("line", ["rubbish", "[1]", "{}", "5", "null", '{"result"'])
def test_an_answer_that_is_no_reply_is_told(line: str) -> None:
    error = failure(f"sys.stdin.readline(); print({line!r}, flush=True); time.sleep(60)")
    assert error.words.startswith("it answered with ") and line[:5] in error.words


def test_half_a_reply_is_none() -> None:
    error = failure(
        """
    sys.stdin.readline(); sys.stdout.write('{"result": 1'); sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)
    """.strip()
    )
    assert error.signal == "SIGKILL"


def test_one_that_is_late_is_killed() -> None:
    started = time.monotonic()
    error = failure("def run(request): time.sleep(600)", seconds=1.5)
    assert error.is_late and error.signal is None
    assert time.monotonic() - started < 60


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
def test_ctrl_c_while_the_clock_is_set_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Timer.start

    def interrupted(timer: threading.Timer) -> None:
        start(timer)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Timer, "start", interrupted)
    with worker("def run(request): time.sleep(9)") as process, pytest.raises(KeyboardInterrupt):
        process.ask(None, seconds=600)
    assert [each for each in threading.enumerate() if isinstance(each, threading.Timer) and not each.daemon] == []


def test_a_full_disk_takes_no_log_and_the_reply_comes() -> None:
    body = """
    def run(request):
        if request:
            print("x" * 100000, flush=True)
        return "done"
    """
    with worker(body, Path("/dev/full")) as process:
        assert process.ask(False) == "done"
        with pytest.raises(WorkerError, match="No space left on device"):
            process.ask(True)
        assert process.ask(False) == "done"


def test_the_worker_and_what_it_started_end_with_the_block() -> None:
    body = """
    def run(request):
        child = subprocess.Popen(["sleep", "600"])
        return [os.getpid(), child.pid]
    """
    with worker(body) as process:
        pids = process.ask(None)
        processes = [psutil.Process(pid) for pid in pids]
        folder = process.folder
    assert all(wait_until_gone(each) for each in processes)
    assert not folder.exists()


@pytest.mark.parametrize("busy", [True, False], ids=["at work", "idle"])
def test_a_worker_ends_when_its_parent_is_killed(busy: bool) -> None:
    body = "def run(request): print(os.getpid(), file=sys.stderr, flush=True); time.sleep(600 if request else 0)"
    code = f"""
import sys, time
from tests.store.test_worker import worker
with worker({body!r}) as process:
    print(process._process.pid, flush=True)
    process.ask({busy})
    time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    child = psutil.Process(int(parent.stdout.readline()))
    time.sleep(0.5)
    assert child.is_running()
    parent.kill()
    parent.communicate()
    assert wait_until_gone(child)


def test_a_start_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(FileNotFoundError), Worker(["/nowhere/python"]):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_module_of_ours_runs_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise ImportError")
    with pytest.raises(WorkerError, match=r"ModuleNotFoundError: .*nothing"):
        run_json_worker("mobilekit.convert.tasks.worker", {"task": "nothing"})


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("loading\nValueError: first\nmore\nERROR: second\nbye\n", "ERROR: second"),
        ("loading\nbye\n", "bye"),
        ("Traceback\nRuntimeError: no\nINFO: bye\n", "RuntimeError: no"),
        ("INFO: x", "it said nothing"),
        ("\n \n", "it said nothing"),
    ],
)
def test_last_words(log: str, words: str) -> None:
    assert last_words(log) == words
