"""benchmark_model on a device."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from mobilekit.bench.acceptance import rejection_reason
from mobilekit.bench.devices.base import Workspace
from mobilekit.bench.devices.connection import DeviceLost
from mobilekit.bench.engine import Engine, EngineFacts, Run, RunSettings
from mobilekit.bench.flags import arguments
from mobilekit.bench.op_profile import OpProfile, parse_op_profile
from mobilekit.bench.output import Output, parse_output
from mobilekit.bench.output_delegates import Delegate
from mobilekit.bench.result_file import parse_result_file, with_result_file
from mobilekit.bench.tool import Tool, ask_tool
from mobilekit.errors import DeviceError, ToolError

_SLACK = 120  # seconds for loading a model and the inferences that the limits let end


class ToolEngine(Engine):
    """Times files with a benchmark_model that is on the device.

    Args:
        workspace: The folder on the device.
        program: The tool's path there.
        source: Where the tool is from, for reports.
        sha256: Its digest, if known.
        version: Its version, where the place that it is from tells.
        libraries: The digests of the libraries brought beside it, by their names.
    """

    name = "benchmark_model"

    def __init__(
        self,
        workspace: Workspace,
        program: str,
        source: str,
        sha256: str | None,
        version: str | None = None,
        libraries: dict[str, str] | None = None,
    ) -> None:
        self.workspace = workspace
        self.program = program
        self.source = source
        self.sha256 = sha256
        self.version = version
        self.libraries = libraries
        self._graphs: dict[Path, str] = {}
        self._runs = 0

    @cached_property
    def tool(self) -> Tool:
        """What the tool says of itself, asked once."""
        return ask_tool(self.workspace, self.program)

    def describe(self) -> EngineFacts:
        """Return what identifies the tool; it does not tell its version."""
        return EngineFacts(self.name, self.version, self.sha256, self.source, self.tool.kind, self.libraries)

    def run(self, file: Path, settings: RunSettings) -> Run:
        """Run a file; see `Engine.run`."""
        self._runs += 1
        result_file = f"result-{self._runs}.pb"
        output, refusal, _ = self._run(file, settings, result_file=result_file)
        if refusal is None:
            output, refusal = self._with_file(output, result_file)
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
            gpu_interface=next((each.interface for each in output.delegates if each.interface), None),
        )

    def profile(self, file: Path, settings: RunSettings) -> OpProfile:
        """Run a file once more with the tool's profiler, which slows it down: its latency is not used.

        Raises:
            ToolError: The tool refused, or has no profiler.
        """
        _, refusal, said = self._run(file, settings, profile=True)
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

    def _with_file(self, output: Output, result_file: str) -> tuple[Output, str | None]:
        """Add what the tool wrote into its file of results, where it does, and say why the run is refused after all."""
        if not self.tool.knows("result_file_path"):
            return output, None
        try:
            content = self.workspace.read(result_file)
        except DeviceLost:
            raise
        except DeviceError:  # there is none: what was printed says it all
            return output, None
        try:
            return with_result_file(output, parse_result_file(content)), None
        except ToolError as error:
            return output, error.what

    def _run(
        self, file: Path, settings: RunSettings, *, profile: bool = False, result_file: str | None = None
    ) -> tuple[Output, str | None, str]:
        """Return what a run said, why it is refused, if it is, and its standard output."""
        if file not in self._graphs:
            self._graphs[file] = self.workspace.install(file)
        graph = self._graphs[file]
        finished = self.workspace.run(
            [self.program, *arguments(settings, graph, self.tool, profile=profile, result_file=result_file)],
            cpu_mask=settings.cpu_mask,
            timeout=2 * settings.max_seconds + _SLACK,
        )
        output = parse_output(finished.stdout, finished.stderr)
        refusal = rejection_reason(output, exit_code=finished.exit_code, graph=graph, wanted_delegate=settings.delegate)
        return output, refusal, finished.stdout


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000


def _describe(delegate: Delegate) -> str:
    through = f" through {delegate.interface}" if delegate.interface else ""
    words = f"{delegate.name}{through}: {delegate.extent}"
    if delegate.replaced is not None and delegate.total is not None:
        words += f", {delegate.replaced} of {delegate.total} ops"
    if delegate.partitions is not None:
        words += f" in {delegate.partitions} partitions"
    return words


def is_on_device(workspace: Workspace, program: str) -> bool:
    """Tell whether a program is on the device.

    Raises:
        DeviceError: It is there, and may not be executed.
    """
    if workspace.run(["test", "-x", program]).exit_code == 0:
        return True
    if workspace.run(["test", "-f", program]).exit_code != 0:
        return False
    raise DeviceError(
        f"{program} is on the device, and may not be executed.",
        f"Run `adb shell chmod 755 {program}`, or give another program with --benchmark-binary.",
    )


def digest_on_device(workspace: Workspace, program: str) -> str | None:
    """Return the SHA-256 of a program that is on the device, None where the device cannot tell."""
    finished = workspace.run(["sha256sum", program])
    digest = re.search(r"(?:^|\s)\\?([0-9a-f]{64})\s", finished.stdout)
    return digest[1] if finished.exit_code == 0 and digest else None
