"""One device's bench: rounds in which every artifact runs once, in random order, and the rounds that count."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mobilekit.bench.devices.base import Device, DeviceState
from mobilekit.bench.devices.connection import DeviceLost, NotRecorded
from mobilekit.bench.engine import Engine, Run, RunSettings
from mobilekit.bench.schedule import order_of_round
from mobilekit.errors import DeviceError

Progress = Callable[[str], None]

HOTTEST = 0
"""Android's thermal status up to which a round counts: NONE. At LIGHT the system has begun to slow down."""
HOTTEST_BATTERY = 45.0
"""Degrees Celsius; chargers and systems throttle from about here."""


@dataclass(frozen=True)
class Plan:
    """What is measured, and how often."""

    files: tuple[Path, ...]
    settings: RunSettings
    rounds: int
    seed: int = 0
    max_rejected: int = 5
    """Rounds that may be rejected and repeated."""
    cool_seconds: float = 20
    """Rest after a rejected round."""
    max_lost: int = 5
    """How often the device may be lost and come back."""


@dataclass(frozen=True)
class Round:
    """One round: a run of each file, between two readings of the device."""

    index: int
    runs: dict[Path, Run]
    before: DeviceState
    after: DeviceState
    rejected: str | None
    """Why the round does not count."""


@dataclass
class Outcome:
    """All rounds of a device."""

    rounds: list[Round] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    """Files that were given up, and why."""
    note: str | None = None
    """What the user must know of the rounds as a whole."""
    lost: DeviceError | None = None
    """What ended the rounds before the last one."""

    @property
    def accepted(self) -> list[Round]:
        """The rounds that count."""
        return [each for each in self.rounds if each.rejected is None]

    def figures(self, file: Path) -> list[Run]:
        """Return the runs of a file in the rounds that count."""
        return [each.runs[file] for each in self.accepted if file in each.runs]

    def pairs(self, first: Path, second: Path) -> list[tuple[float, float]]:
        """Return the latencies in ms of two files, a pair for each round that counts and in which both ran."""
        both = [(each.runs[first], each.runs[second]) for each in self.accepted if {first, second} <= set(each.runs)]
        return [(a.latency_ms, b.latency_ms) for a, b in both if a.latency_ms is not None and b.latency_ms is not None]


def run_rounds(
    device: Device,
    engine: Engine,
    plan: Plan,
    progress: Progress = lambda _message: None,
    recover: Callable[[], None] | None = None,
) -> Outcome:
    """Run the rounds of a plan.

    A file whose first run is refused is given up: what refuses it once (a delegate that took nothing, an unknown flag)
    does so again. A round is rejected, and repeated after a rest, up to a limit, where it ended on a hot device or a
    file was refused that ran before. On a device that is hot already nothing runs, as that would heat it further.
    A round in which the device was lost is repeated when it is back. Where it does not come back, or fails in another
    way, the rounds that count are kept, and `Outcome.lost` says why there are no more.

    Args:
        device: Where it runs; its state is read before, between and after the rounds.
        engine: What runs the files.
        plan: What is measured.
        progress: Told before each run, and each second of a rest; what it raises ends the rounds.
        recover: Reaches the device again after it was lost; without, the rounds end there.

    Raises:
        DeviceError: The device failed before any round counted, or a recording is of another session.
    """
    outcome = Outcome()
    rounds = _Rounds(device, engine, plan, outcome, progress)
    lost = 0
    while not rounds.done:
        try:
            rounds.run_next()
        except NotRecorded:
            raise
        except DeviceError as error:
            lost += 1
            failure = _recovered(error, recover if lost <= plan.max_lost else None, progress)
            rounds.count_lost(error)
            if failure is None:
                continue
            if not outcome.accepted:
                raise failure from (None if failure is error else error)
            outcome.lost = failure
            count = len(outcome.accepted)
            outcome.note = f"Stopped after {count} of {plan.rounds} rounds: {failure.what.rstrip('.')}."
            break
    return outcome


def _recovered(error: DeviceError, recover: Callable[[], None] | None, progress: Progress) -> DeviceError | None:
    """Reach the device again, and return None; or return why that is not possible."""
    if recover is None or not isinstance(error, DeviceLost):
        return error
    progress(f"{error.what.rstrip('.')}; waiting for it")
    try:
        recover()
    except DeviceError as failure:
        return error if isinstance(failure, DeviceLost) else failure
    return None


class _Rounds:
    """The rounds of a plan, one after the other, into an outcome."""

    def __init__(self, device: Device, engine: Engine, plan: Plan, outcome: Outcome, progress: Progress) -> None:
        self._device, self._engine, self._plan, self._outcome = device, engine, plan, outcome
        self._progress = progress
        self._index = self._rejected = 0
        self._state: DeviceState | None = None
        self._runs: dict[Path, Run] = {}

    @property
    def done(self) -> bool:
        """Whether all rounds are run, too many were rejected, or every file was given up."""
        plan, outcome = self._plan, self._outcome
        return self._index >= plan.rounds or outcome.note is not None or len(outcome.refused) >= len(plan.files)

    def run_next(self) -> None:
        """Run a round, and rest after it if it does not count."""
        before = self._state if self._state is not None else self._device.read_state()
        self._state, self._runs = before, {}
        after, why = before, out_of_bounds(before)
        if why is None:
            why = _run_round(self._engine, self._plan, self._index, self._outcome, self._runs, self._progress)
            after = self._device.read_state()
            why = why or out_of_bounds(after)
        self._outcome.rounds.append(Round(self._index, self._runs, before, after, why))
        self._state = after
        if why is None:
            self._index += 1
        else:
            self._reject(why)

    def count_lost(self, error: DeviceError) -> None:
        """Note a round in which the device failed; what ran in it does not count."""
        if self._state is not None:
            self._outcome.rounds.append(Round(self._index, self._runs, self._state, self._state, error.what))
        self._state, self._runs = None, {}

    def _reject(self, why: str) -> None:
        self._rejected += 1
        if self._rejected > self._plan.max_rejected:
            self._outcome.note = f"Stopped after {self._rejected} rejected rounds, the last because {why.rstrip('.')}."
            return
        _rest(self._plan.cool_seconds, f"round {self._index + 1} rejected: {why}", self._progress)
        self._state = None


def _rest(seconds: float, why: str, progress: Progress) -> None:
    for left in range(math.ceil(seconds), 0, -1):
        progress(f"{why}; resting {left} s")
        time.sleep(min(1, seconds))


def _run_round(
    engine: Engine, plan: Plan, index: int, outcome: Outcome, runs: dict[Path, Run], progress: Progress
) -> str | None:
    """Run each file once, but those that were given up, into `runs`, and give up those that are refused at once.

    Returns:
        Why the round does not count: a file was refused that ran before, or ran in another way.
    """
    order = [plan.files[place] for place in order_of_round(len(plan.files), index, plan.seed)]
    for file in order:
        if file in outcome.refused:
            continue
        progress(f"round {index + 1} of {plan.rounds}: {file.name}")
        run = engine.run(file, plan.settings)
        earlier = outcome.figures(file)
        if run.why_not is None:
            runs[file] = run
            if earlier and run.gpu_interface != earlier[0].gpu_interface:
                return (
                    f"{file.name} ran through {run.gpu_interface or 'no GPU'}, and through "
                    f"{earlier[0].gpu_interface or 'no GPU'} before"
                )
        elif earlier:
            return f"{file.name} was refused: {run.why_not}"
        else:
            outcome.refused[file] = run.why_not
    return None


def out_of_bounds(state: DeviceState) -> str | None:
    """Return why figures taken in this state do not count, or None."""
    if state.thermal_status is not None and state.thermal_status > HOTTEST:
        return f"the device reported thermal status {state.thermal_status}"
    if state.battery_celsius is not None and state.battery_celsius > HOTTEST_BATTERY:
        return f"the battery was at {state.battery_celsius:.1f} °C"
    return None
