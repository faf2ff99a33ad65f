"""What can be wrong with the fake device."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Switches; without any, the device is well."""

    unauthorized: bool = False
    """Nobody taps "allow" on the phone: the key of the computer is never accepted."""
    offline: bool = False
    """It answered once; now connections to it end at once."""
    no_shell_v2: bool = False
    """Android 6 and before: no exit codes, standard error within standard output, lines end with CR LF."""
    drop_after_push_bytes: int | None = None
    """The connection ends when a push has brought more than this many bytes."""
    stall_after_push_bytes: int | None = None
    """The device takes no more of a push that has brought more than this many bytes; all else goes on."""
    drop_on_command: str | None = None
    """The connection ends while a command runs that this regular expression is found in."""
    drop_after_commands: int = 0
    """With `drop_on_command`: so many commands of that kind end well before."""
    drops: int | None = None
    """With `drop_on_command`: how often this happens; None: each time."""
    drop_after_output_bytes: int = 0
    """With `drop_on_command`: after this many bytes of its standard output."""
    stays_away: bool = False
    """After a drop, connections are refused; otherwise the device is back at once."""
    orphans: bool = False
    """When a client goes, its shell ends alone, and programs run on, as adbd has it; else they end with the shell."""
    no_space: bool = False
    """A push fails at its first bytes, and `df` shows little."""
    slow_bytes_per_second: int | None = None
    """How fast bytes of the connection travel, in each direction."""
    thermal: tuple[int | None, ...] = (0,)
    """The thermal status at each reading in turn, the last one for ever; None: no such service (Android 9)."""
    kill_process: bool = False
    """The benchmark is killed with SIGKILL in the middle of its work."""
    hang: bool = False
    """The benchmark prints its first lines and never ends."""
    garbage_output: bool = False
    """The benchmark prints bytes without a meaning, and exits with 0."""
    truncated_output: bool = False
    """The benchmark's output ends in the middle, and it exits with 0."""
    wrong_abi: bool = False
    """The benchmark was built for another processor."""
    silent_fallback: bool = False
    """The delegate takes no node, and the benchmark exits with 0."""
    unconsumed_flags: bool = False
    """The benchmark knows no flag but --graph, says so in a warning, and exits with 0."""
    litert: bool = False
    """No fault: LiteRT's benchmark_model, which has other flags and says LITERT_CL of a GPU."""
    opengl: bool = False
    """The GPU is reached through OpenGL, as where OpenCL is missing."""
    percentiles: bool = False
    """No fault: a benchmark of 2025 and later, which adds p5, median and p95."""

    def drops_on(self, command: str, earlier: Sequence[str]) -> bool:
        """Tell whether the connection is to end while `command` runs, after those that ran `earlier`."""
        if self.drop_on_command is None or not re.search(self.drop_on_command, command):
            return False
        matches = sum(re.search(self.drop_on_command, each) is not None for each in earlier)
        late = matches - self.drop_after_commands
        return late >= 0 and (self.drops is None or late < self.drops)

    def environment(self) -> dict[str, str]:
        """Return the variables from which the device's programs learn their part."""
        benchmark = (
            "kill_process",
            "hang",
            "garbage_output",
            "truncated_output",
            "wrong_abi",
            "silent_fallback",
            "unconsumed_flags",
            "litert",
            "opengl",
            "percentiles",
        )
        return {
            "FAKE_BENCHMARK": " ".join(name for name in benchmark if getattr(self, name)),
            "FAKE_THERMAL": " ".join("none" if status is None else str(status) for status in self.thermal),
            "FAKE_FREE_KIB": "12" if self.no_space else "52428800",
        }
