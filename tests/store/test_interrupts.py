"""Signals that wait: none is lost, and none comes between a process's start and its being known."""

from __future__ import annotations

import signal
import subprocess
import threading

import psutil
import pytest

from mobilekit.bench.devices.local import LocalWorkspace
from mobilekit.store.interrupts import held_interrupts


class CameError(Exception):
    pass


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request: pytest.FixtureRequest):
    """A signal whose handler raises, whatever the tests were started with."""

    def come(_number, _frame):
        raise CameError

    before = signal.signal(request.param, come)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_waits_until_the_block_has_ended(number: signal.Signals) -> None:
    reached = False
    with pytest.raises(CameError), held_interrupts():
        signal.raise_signal(number)
        reached = True
    assert reached


def test_without_a_signal_the_handlers_are_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with held_interrupts():
        assert signal.getsignal(number) is not before
    assert signal.getsignal(number) is before


def test_handlers_are_put_back_where_the_block_fails(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(ZeroDivisionError), held_interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(number) is before


def test_another_thread_holds_nothing(number: signal.Signals) -> None:
    before, seen = signal.getsignal(number), []

    def look() -> None:
        with held_interrupts():
            seen.append(signal.getsignal(number))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_signal_while_a_program_is_started_leaves_none(
    number: signal.Signals, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes when the program runs and `Popen` has not returned yet: the moment that lost it before."""
    started: list[psutil.Process] = []

    class Late(subprocess.Popen):
        def __init__(self, *arguments, **options) -> None:
            super().__init__(*arguments, **options)
            started.append(psutil.Process(self.pid))
            signal.raise_signal(number)

    monkeypatch.setattr(subprocess, "Popen", Late)
    with pytest.raises(CameError):
        LocalWorkspace(tmp_path).run(["sleep", "60"])
    assert started
    _, alive = psutil.wait_procs(started, timeout=1)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
