"""benchmark_model on a device."""

from __future__ import annotations

from pathlib import Path

from mobilekit.bench.acceptance import rejection_reason
from mobilekit.bench.devices.base import Workspace
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.flags import ProfileKind, arguments
from mobilekit.bench.op_profile import OpProfile, parse_op_profile
from mobilekit.bench.output import Delegate, Output, parse_output
from mobilekit.errors import ToolError

_SLACK = 120  # seconds for loading a model and the inferences that the limits let end


class ToolEngine(Engine):
    """Times files with a benchmark_model that is on the device.

    Args:
        workspace: The folder on the device.
        program: The tool's path there.
        source: Where the tool is from, for reports.
        sha256: Its digest, if known.
    """

    name = "benchmark_model"

    def __init__(self, workspace: Workspace, program: str, source: str, sha256: str | None) -> None:
        self.workspace = workspace
        self.program = program
        self.source = source
        self.sha256 = sha256
        self._graphs: dict[Path, str] = {}

    def describe(self) -> EngineFacts:
        """Return what identifies the tool; it does not tell its version."""
        return EngineFacts(self.name, None, self.sha256, self.source)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`."""
        output, refusal, _ = self._run(file, settings)
        measured = output.measured
        if refusal or measured is None:
            return Run(None, refusal or "it printed no result")
        median = measured.median
        latency = median if median is not None else measured.mean
        if not latency:
            return Run(None, "An inference is shorter than benchmark_model's clock tells, which has steps of 1 us.")
        return Run(
            latency_ms=_ms(latency),
            statistic="mean" if median is None else "median",
            count=measured.count,
            min_ms=_ms(measured.min),
            max_ms=_ms(measured.max),
            init_ms=_ms(output.init_us),
            first_ms=_ms(output.first_inference_us),
            memory_mb=output.memory.overall_mb,
            delegates=tuple(map(_describe, output.delegates)),
        )

    def profile(self, file: Path, settings: RunSettings) -> OpProfile:
        """Run a file once more with the tool's profiler, which slows it down: its latency is not used.

        Raises:
            ToolError: The tool refused, or has no profiler.
        """
        _, refusal, said = self._run(file, settings, "stdout")
        if refusal:
            raise ToolError(f"{file.name} could not be profiled: {refusal}")
        profile = parse_op_profile(said)
        if not profile.ops:
            raise ToolError(f"benchmark_model printed no profile of {file.name}.")
        if not profile.is_possible:
            raise ToolError(
                f"benchmark_model printed times below 0 in the profile of {file.name}.", "Profile it again."
            )
        return profile

    def _run(self, file: Path, settings: RunSettings, profile: ProfileKind = "none") -> tuple[Output, str | None, str]:
        """Return what a run said, why it is refused, if it is, and its standard output."""
        if file not in self._graphs:
            self._graphs[file] = self.workspace.install(file)
        graph = self._graphs[file]
        finished = self.workspace.run(
            [self.program, *arguments(settings, graph, profile)],
            cpu_mask=settings.cpu_mask,
            timeout=2 * settings.max_seconds + _SLACK,
        )
        output = parse_output(finished.stdout, finished.stderr)
        refusal = rejection_reason(output, exit_code=finished.exit_code, graph=graph, wanted_delegate=settings.delegate)
        return output, refusal, finished.stdout


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _describe(delegate: Delegate) -> str:
    words = f"{delegate.name}: {delegate.extent}"
    if delegate.replaced is not None and delegate.total is not None:
        words += f", {delegate.replaced} of {delegate.total} ops"
    if delegate.partitions is not None:
        words += f" in {delegate.partitions} partitions"
    return words


def is_on_device(workspace: Workspace, program: str) -> bool:
    """Tell whether a program is on the device and may be run."""
    return workspace.run(["test", "-x", program]).exit_code == 0


def digest_on_device(workspace: Workspace, program: str) -> str | None:
    """Return the SHA-256 of a program that is on the device, None where the device cannot tell."""
    finished = workspace.run(["sha256sum", program])
    words = finished.stdout.split()
    return words[0] if finished.exit_code == 0 and words else None
