"""One device's bench: rounds in which every artifact runs once, in random order, and the rounds that count."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mobilekit.bench.devices.base import Device, DeviceState
from mobilekit.bench.engine import Engine, Run, RunSettings
from mobilekit.bench.schedule import order_of_round

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


def run_rounds(device: Device, engine: Engine, plan: Plan, progress: Progress = lambda _message: None) -> Outcome:
    """Run the rounds of a plan.

    A file whose first run is refused is given up: what refuses it once (a delegate that took nothing, an unknown flag)
    does so again. A round is rejected, and repeated after a rest, up to a limit, where it ended on a hot device or a
    file was refused that ran before. On a device that is hot already nothing runs, as that would heat it further.

    Args:
        device: Where it runs; its state is read before, between and after the rounds.
        engine: What runs the files.
        plan: What is measured.
        progress: Told before each run, and each second of a rest; what it raises ends the rounds.

    Raises:
        DeviceError: The device was lost.
    """
    outcome = Outcome()
    before = device.read_state()
    index = rejected = 0
    while index < plan.rounds and len(outcome.refused) < len(plan.files):
        runs: dict[Path, Run] = {}
        after, why = before, out_of_bounds(before)
        if why is None:
            runs, why = _run_round(engine, plan, index, outcome, progress)
            after = device.read_state()
            why = why or out_of_bounds(after)
        outcome.rounds.append(Round(index, runs, before, after, why))
        if why is None:
            index += 1
        else:
            rejected += 1
            if rejected > plan.max_rejected:
                outcome.note = f"Stopped after {rejected} rejected rounds, the last because {why.rstrip('.')}."
                break
            _rest(plan.cool_seconds, f"round {index + 1} rejected: {why}", progress)
            after = device.read_state()
        before = after
    return outcome


def _rest(seconds: float, why: str, progress: Progress) -> None:
    for left in range(math.ceil(seconds), 0, -1):
        progress(f"{why}; resting {left} s")
        time.sleep(min(1, seconds))


def _run_round(
    engine: Engine, plan: Plan, index: int, outcome: Outcome, progress: Progress
) -> tuple[dict[Path, Run], str | None]:
    """Run each file once, but those that were given up, and give up those that are refused at once.

    Returns:
        The runs, and why the round does not count: a file that ran before was refused.
    """
    order = [plan.files[place] for place in order_of_round(len(plan.files), index, plan.seed)]
    runs: dict[Path, Run] = {}
    for file in order:
        if file in outcome.refused:
            continue
        progress(f"round {index + 1} of {plan.rounds}: {file.name}")
        run = engine.run(file, plan.settings)
        if run.why_not is None:
            runs[file] = run
        elif outcome.figures(file):
            return runs, f"{file.name} was refused: {run.why_not}"
        else:
            outcome.refused[file] = run.why_not
    return runs, None


def out_of_bounds(state: DeviceState) -> str | None:
    """Return why figures taken in this state do not count, or None."""
    if state.thermal_status is not None and state.thermal_status > HOTTEST:
        return f"the device reported thermal status {state.thermal_status}"
    if state.battery_celsius is not None and state.battery_celsius > HOTTEST_BATTERY:
        return f"the battery was at {state.battery_celsius:.1f} °C"
    return None
