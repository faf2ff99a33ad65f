"""Benches of this machine run alone on it, whoever else waits or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = """
import sys, time
from pathlib import Path
from mobilekit.sweep import machine
folder, name, how = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
(folder / f"{name}.asks").touch()
with getattr(machine, how)():
    (folder / f"{name}.in").touch()
    while not (folder / f"{name}.go").exists():
        time.sleep(0.01)
(folder / f"{name}.out").touch()
"""


class Steps:
    """Processes that hold the machine until they are let go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, how: str) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder),
            "XDG_STATE_HOME": str(self.folder),
        }
        command = [sys.executable, "-c", PROGRAM, str(self.folder), name, how]
        self.processes[name] = subprocess.Popen(command, env=environment)
        self.wait(f"{name}.asks")

    def wait(self, name: str) -> None:
        deadline = time.monotonic() + 60
        while not self.has(name):
            assert time.monotonic() < deadline, name
            time.sleep(0.01)

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def let_go(self, name: str) -> None:
        (self.folder / f"{name}.go").touch()
        self.wait(f"{name}.out")


@pytest.fixture
def steps(tmp_path: Path) -> Steps:
    found = Steps(tmp_path)
    yield found  # type: ignore[misc]
    for process in found.processes.values():
        process.kill()
        process.wait()


def test_a_bench_waits_for_steps_and_lets_none_begin_before_it(steps: Steps) -> None:
    steps.start("a", "beside_others")
    steps.start("b", "beside_others")
    steps.wait("a.in")
    steps.wait("b.in")  # beside a
    steps.start("bench", "alone")
    time.sleep(0.3)  # for it to stand in the door
    steps.start("late", "beside_others")
    steps.let_go("a")
    time.sleep(0.1)
    assert not steps.has("bench.in") and not steps.has("late.in")
    steps.let_go("b")
    steps.wait("bench.in")
    assert not steps.has("late.in")
    steps.let_go("bench")
    steps.wait("late.in")


def test_a_bench_that_is_killed_holds_nobody_off(steps: Steps) -> None:
    steps.start("bench", "alone")
    steps.wait("bench.in")
    steps.start("other", "alone")
    steps.processes["bench"].send_signal(signal.SIGSTOP)  # it lives, and may go on: it still has the machine
    time.sleep(0.1)
    assert not steps.has("other.in")
    steps.processes["bench"].kill()
    steps.wait("other.in")
