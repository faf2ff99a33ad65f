"""Work beside a block: what it gives, what it raises, and that it ends with a block that fails."""

from __future__ import annotations

import threading

import pytest
import torch

from mobilekit.jobs.beside import Beside, Check


def test_work_is_done_while_the_block_waits() -> None:
    is_done = threading.Event()

    def work(_check: Check) -> tuple[int, int]:
        is_done.set()
        return threading.get_ident(), torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        aside = Beside(work, print, is_beside=True)
        with aside:
            assert is_done.wait(60), "it does not wait for the end of the block"
        thread, threads = aside.result()
    finally:
        torch.set_num_threads(before)
    assert thread != threading.get_ident()
    assert threads == 1, "a thread has as many for its sums as the one that started it"


def test_alone_it_is_done_when_asked_for_and_tells_what_it_does() -> None:
    told: list[str] = []

    def work(tell: Check) -> int:
        tell("counting")
        return threading.get_ident()

    aside = Beside(work, told.append, is_beside=False)
    with aside:
        assert told == []
    assert aside.result() == threading.get_ident()
    assert told == ["counting"]


@pytest.mark.parametrize("is_beside", [True, False])
def test_what_it_raises_is_raised_with_its_result(is_beside: bool) -> None:
    def work(_check: Check) -> None:
        raise ValueError("no such model")

    aside = Beside(work, print, is_beside)
    with aside:
        pass
    with pytest.raises(ValueError, match="no such model"):
        aside.result()


def test_it_stops_at_its_next_step_where_the_block_fails() -> None:
    has_begun, goes_on, steps = threading.Event(), threading.Event(), []

    def work(check: Check) -> None:
        has_begun.set()
        for number in range(3):
            goes_on.wait(60)
            check(f"step {number}")
            steps.append(number)

    aside = Beside(work, print, is_beside=True)
    with pytest.raises(KeyboardInterrupt), aside:
        has_begun.wait(60)
        threading.Timer(0.1, goes_on.set).start()
        raise KeyboardInterrupt
    assert steps == []
    assert not any(thread.name.startswith("beside") for thread in threading.enumerate())
