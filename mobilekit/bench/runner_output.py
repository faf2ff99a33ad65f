"""What ExecuTorch's executor_runner printed, or logged on a phone.

It tells each inference from 2026 on ("Iteration 1 of 10: 4.1 ms"), before that only what all took together, at first
no time at all (examples/portable/executor_runner of pytorch/executorch). On Linux its log is standard error; on Android
it goes to the system's log alone (runtime/platform/default/android.cpp). Lines may carry any prefix.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_INFERENCE = re.compile(rf"Iteration ([0-9]+) of ([0-9]+): {_NUMBER} ms\s*$", re.MULTILINE)
_ALL = re.compile(rf"Model executed successfully ([0-9]+) time\(s\) in {_NUMBER} ms\.\s*$", re.MULTILINE)
_LOADED = re.compile(rf"Model loaded in {_NUMBER} ms\.\s*$", re.MULTILINE)
_TROUBLE = re.compile(
    r"^(?:.*?\b[EF] (?:[0-9:.]+ |ExecuTorch *: )(?:executorch:\S+\] )?|ERROR: |.*\berror: |CANNOT LINK )(.+)$",
    re.MULTILINE,
)
"""A line of the levels E and F of its log or of Android's, or of gflags, a shell or a linker."""


@dataclass(frozen=True)
class RunnerOutput:
    """What one run said. Times in ms; None, or empty: it did not say."""

    inferences: tuple[float, ...] = ()
    """Each in its order, where the text has all of them."""
    total: float | None = None
    """All inferences together."""
    count: int = 0
    """How many `total` has."""
    loaded: float | None = None
    trouble: str = ""
    """The last line that tells of a failure."""


def parse_runner(text: str) -> RunnerOutput:
    """Read what one run printed or logged; never raises."""
    found = [(int(number), int(of), float(ms)) for number, of, ms in _INFERENCE.findall(text)]
    is_whole = bool(found) and [number for number, _, _ in found] == [*range(1, found[-1][1] + 1)]
    done, loaded, trouble = _ALL.findall(text), _LOADED.findall(text), _TROUBLE.findall(text)
    total = float(done[-1][1]) if done else None
    return RunnerOutput(
        tuple(ms for _, _, ms in found) if is_whole and all(0 < ms < math.inf for _, _, ms in found) else (),
        total if total and math.isfinite(total) else None,
        int(done[-1][0]) if done else 0,
        float(loaded[-1]) if loaded else None,
        trouble[-1].strip() if trouble else "",
    )
