"""ExecuTorch's executor_runner on a device: what times .pte files there."""

from __future__ import annotations

import re
import statistics
import uuid
from functools import cached_property
from pathlib import Path

from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.executorch_engine import refuse_delegate
from mobilekit.bench.runner_output import RunnerOutput, parse_runner
from mobilekit.errors import ToolError, first_line

_SLACK = 120  # seconds for loading a model, and for a device that is slow
_TAG = "ExecuTorch"
"""Of its lines in Android's log (runtime/platform/default/android.cpp)."""
_FLAG = re.compile(r"^\s*-+(\w+)\b", re.MULTILINE)
_BUILD = "Build executor_runner of a version from 2024 on, with -DEXECUTORCH_ENABLE_LOGGING=ON and with XNNPACK."


class RunnerEngine(Engine):
    """Times files with an executor_runner that is on the device.

    Args:
        workspace: The folder on the device.
        program: The tool's path there.
        source: Where the tool is from, for reports.
        sha256: Its digest.
    """

    name = "executor_runner"

    def __init__(self, workspace: Workspace, program: str, source: str, sha256: str) -> None:
        self.workspace = workspace
        self.program = program
        self.source = source
        self.sha256 = sha256
        self._files: dict[Path, str] = {}

    def describe(self) -> EngineFacts:
        """Return what identifies the tool; it does not tell its version."""
        return EngineFacts(self.name, None, self.sha256, self.source)

    @cached_property
    def flags(self) -> frozenset[str]:
        """The flags that it knows, by its own help.

        Raises:
            ToolError: It is no executor_runner, or one that makes one inference alone.
        """
        asked = self.workspace.run([self.program, "--help"])
        found = frozenset(_FLAG.findall(f"{asked.stdout}\n{asked.stderr}"))
        if not {"model_path", "num_executions"} <= found:
            said = first_line(
                asked.stderr.strip() or asked.stdout.strip() or f"it ended with exit code {asked.exit_code}"
            )
            raise ToolError(f"{self.source} has no --model_path and --num_executions: {said.rstrip('.')}.", _BUILD)
        return found

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`. The inferences before those that count are left out, where each is told.

        Raises:
            ToolError: The program is no executor_runner that can be used.
            UsageError: A delegate is demanded: what runs a part stands in the file.
        """
        refuse_delegate(settings)
        if settings.threads != 1 and "cpu_threads" not in self.flags:
            raise ToolError(f"{self.source} has no --cpu_threads.", "Take a newer build, or leave --threads out.")
        finished, output = self._run(file, settings)
        if finished.exit_code != 0:
            why = output.trouble or first_line(finished.stderr.strip() or finished.stdout.strip() or "it said nothing")
            return Run(None, f"executor_runner ended with exit code {finished.exit_code}: {why}")
        wanted = settings.warmup_runs + settings.runs
        if len(output.inferences) == wanted:
            counted = output.inferences[settings.warmup_runs :]
            return Run(
                latency_ms=statistics.median(counted),
                count=len(counted),
                min_ms=min(counted),
                max_ms=max(counted),
                init_ms=output.loaded,
                first_ms=output.inferences[0],
                raw_ms=counted,
            )
        if output.total and output.count == wanted and not output.inferences:
            return Run(output.total / wanted, statistic="mean", count=wanted, init_ms=output.loaded)
        return Run(None, "it told no time: its build has no log, or Android's log lost it")

    def _run(self, file: Path, settings: RunSettings) -> tuple[Finished, RunnerOutput]:
        if file not in self._files:
            self._files[file] = self.workspace.install(file)
        words = [
            f"--model_path={self._files[file]}",
            f"--num_executions={settings.warmup_runs + settings.runs}",
            *([f"--cpu_threads={settings.threads}"] if "cpu_threads" in self.flags else []),
            *(["--print_output=none"] if "print_output" in self.flags else []),
        ]
        mark = uuid.uuid4().hex
        logs = self.workspace.run(["log", "-t", _TAG, mark]).exit_code == 0
        seconds = 2 * settings.max_seconds + _SLACK
        finished = self.workspace.run([self.program, *words], cpu_mask=settings.cpu_mask, timeout=seconds)
        text = f"{finished.stdout}\n{finished.stderr}"
        if logs:
            logged = self.workspace.run(["logcat", "-d", "-s", f"{_TAG}:I"]).stdout
            text += "\n" + logged.rpartition(mark)[2]
        return finished, parse_runner(text)
