"""Which benchmark_model a program is, and which flags it knows: TensorFlow Lite's, or LiteRT's of the same name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mobilekit.bench.devices.base import Workspace

Kind = Literal["TensorFlow Lite", "LiteRT"]

# Both print the list where a flag has no value that it can have; that they know --help is not certain.
_ASK = ("--help=true", "--num_runs=list")
_SECONDS = 60.0
_FLAG = re.compile(r"^\s*--(\w+)=", re.MULTILINE)
# Flags that only one of the two has (litert/tools/benchmark_litert_model.h; tflite/tools/benchmark, tools/delegates).
_OWN: dict[Kind, frozenset[str]] = {
    "LiteRT": frozenset({"use_profiler", "use_npu", "dispatch_library_path"}),
    "TensorFlow Lite": frozenset({"input_layer", "enable_op_profiling", "use_xnnpack"}),
}


@dataclass(frozen=True)
class Tool:
    """What a benchmark_model says of itself."""

    flags: frozenset[str] = frozenset()
    """Without dashes; empty where it prints no list."""

    @property
    def kind(self) -> Kind | None:
        """Whose it is; None where its flags do not tell."""
        return next((kind for kind, own in _OWN.items() if own & self.flags), None)

    def choose(self, *choices: Sequence[str]) -> list[str]:
        """Return the first choice of which it knows all flags; the first of all where there is none."""
        known = (choice for choice in choices if all(name_of(word) in self.flags for word in choice))
        return list(next(known, choices[0]))

    def knows(self, flag: str) -> bool:
        """Tell whether it names a flag in its list."""
        return flag in self.flags


def name_of(word: str) -> str:
    """Return the name of a flag, of `--name=value`."""
    return word.removeprefix("--").partition("=")[0]


def ask_tool(workspace: Workspace, program: str) -> Tool:
    """Ask a benchmark_model on a device for the list of its flags.

    Raises:
        DeviceError: The device was lost, or the program did not end.
    """
    finished = workspace.run([program, *_ASK], timeout=_SECONDS)
    return Tool(frozenset(_FLAG.findall(finished.stdout + finished.stderr)))
