"""The bench of one device: choose the tool, run the rounds, profile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from mobilekit.bench import binary as binaries
from mobilekit.bench.artifacts import PROGRAM, Artifact
from mobilekit.bench.cores import mask_of, notes_on
from mobilekit.bench.devices.base import Device, Workspace
from mobilekit.bench.engine import Engine, RunSettings
from mobilekit.bench.executorch_engine import ExecuTorchEngine
from mobilekit.bench.litert_engine import LiteRTEngine
from mobilekit.bench.profile import Profile, profile_with
from mobilekit.bench.result import BenchResult, result_of
from mobilekit.bench.runner_engine import RunnerEngine
from mobilekit.bench.session import Plan, run_rounds
from mobilekit.bench.tool_engine import ToolEngine, digest_on_device, is_on_device
from mobilekit.errors import DeviceError, ToolError, UsageError
from mobilekit.store.cache import default_folder
from mobilekit.store.files import sha256_of
from mobilekit.store.versions import tool_versions

Progress = Callable[[str], None]
Check = Callable[[Workspace], None]
"""Refuses a device that is not fit, by raising."""

ROUNDS = 12
"""By default. Of the small numbers 9, 12 and 15 use the 5 % of false verdicts best (see `median_interval`)."""
ON_DEVICE = "/data/local/tmp/benchmark_model"
"""Where TensorFlow Lite's guide puts the tool (tensorflow/lite/tools/benchmark/README.md)."""


@dataclass(frozen=True)
class BenchRequest:
    """What to measure; what is None is chosen for each device."""

    artifacts: tuple[Artifact, ...]
    settings: RunSettings = field(default_factory=RunSettings)
    rounds: int | None = None
    seed: int = 0
    binary: str | None = None
    """Path of a benchmark_model, or the version of one to download."""
    big_cores: bool = False
    """Pin runs to the fastest cores, see `big_cores`."""
    profile: bool = False
    libraries: tuple[Path, ...] = ()
    """Shared libraries to bring beside benchmark_model."""
    fixed_performance: bool = True
    """Let the device hold a speed that it can keep up, where it has such a mode."""


def bench(
    device: Device,
    request: BenchRequest,
    progress: Progress = lambda _message: None,
    check: Check = lambda _workspace: None,
) -> BenchResult:
    """Run a bench on one device.

    Args:
        device: Where it runs.
        request: What to measure.
        progress: Is told what is done.
        check: Sees whether the device is fit, once nobody else can use it.

    Raises:
        UsageError: The request does not fit the device.
        DeviceError: The device, or a tool for it, is missing or was lost.
    """
    emulated = device.facts.emulated
    mask = mask_of(device.facts, request.settings.cpu_mask, request.settings.threads, big=request.big_cores)
    plan = Plan(
        files=tuple(artifact.path for artifact in request.artifacts),
        settings=replace(request.settings, cpu_mask=mask),
        rounds=request.rounds or (2 if emulated else ROUNDS),
        seed=request.seed,
    )
    with _opened(device, request, check) as (workspace, fixed):
        is_program = any(artifact.path.suffix == PROGRAM for artifact in request.artifacts)
        progress(f"looking for {'executor_runner' if is_program else 'benchmark_model'}")
        engine = (
            _for_programs(device, workspace, request)
            if is_program
            else choose_engine(device, workspace, request.binary, request.libraries)
        )
        facts = engine.describe()
        outcome = run_rounds(device, engine, plan, progress, workspace.recover)
        result = result_of(device.facts, facts, request.artifacts, plan, outcome, fixed)
        result = replace(result, notes=(*result.notes, *notes_on(device.facts, mask, request.settings.threads)))
        if request.profile and outcome.lost is None:
            ran = [artifact for artifact in request.artifacts if outcome.figures(artifact.path)]
            profiles, notes = _profiles(engine, workspace, ran, plan.settings, progress)
            result = replace(result, profiles=profiles, notes=(*result.notes, *notes))
    return result


def _for_programs(device: Device, workspace: Workspace, request: BenchRequest) -> Engine:
    """Return what times .pte files: the user's executor_runner, or ExecuTorch's own runtime on this machine.

    Raises:
        ToolError: ExecuTorch is not there.
        UsageError: The request asks for libraries or a profile, or names no executor_runner for another device.
    """
    if request.libraries or request.profile:
        raise UsageError(".pte files are timed without profiles and libraries.", "Leave out --push-lib and --profile.")
    if request.binary is not None:
        path = Path(request.binary)
        binaries.check_abi(path, device.facts.abi, "executor_runner")
        return RunnerEngine(workspace, workspace.install(path, executable=True), request.binary, sha256_of(path))
    if device.facts.name != "local":
        raise UsageError(
            "On another device .pte files need an executor_runner that was built for it.",
            "Name it with --benchmark-binary; docs/executorch.md says how it is built.",
        )
    return ExecuTorchEngine()


@contextmanager
def _opened(device: Device, request: BenchRequest, check: Check) -> Iterator[tuple[Workspace, bool | None]]:
    """Give a workspace on a device that is fit, and whether it holds a speed that it can keep up, if that is wanted."""
    with device.open_workspace() as workspace:
        check(workspace)
        with workspace.fixed_performance() if request.fixed_performance else nullcontext(False) as fixed:
            yield workspace, fixed


def _profiles(
    engine: Engine, workspace: Workspace, artifacts: Sequence[Artifact], settings: RunSettings, progress: Progress
) -> tuple[dict[str, Profile], list[str]]:
    """Return the profile of each file, and why one failed: the latencies are not lost with it."""
    profiles, notes = {}, []
    for artifact in artifacts:
        progress(f"profiling {artifact.name}")
        try:
            profiles[artifact.name] = profile_with(engine, artifact, settings)
        except (DeviceError, ToolError) as error:
            notes.append(f"No profile of {artifact.name}: {error.what}")
    return profiles, notes


def choose_engine(device: Device, workspace: Workspace, wanted: str | None, libraries: Sequence[Path] = ()) -> Engine:
    """Return the tool that is named; else the one that is there; else LiteRT on this machine, a download elsewhere.

    Args:
        device: Where it runs.
        workspace: The folder there.
        wanted: Path of a benchmark_model, or the version of one to download.
        libraries: Shared libraries to bring beside it.

    Raises:
        DeviceError: It cannot be downloaded.
        UsageError: There is none of this name, or it is for another ABI.
    """
    engine = _choose(device, workspace, wanted)
    if libraries:
        if not isinstance(engine, ToolEngine):
            raise UsageError("--push-lib is for benchmark_model.", "Add --benchmark-binary, or leave it out.")
        if len({file.name for file in libraries}) < len(libraries):
            raise UsageError(
                "Two of the libraries of --push-lib have one name.", "Beside the tool there is one of each."
            )
        for file in libraries:
            binaries.check_abi(file, device.facts.abi, "library")
        workspace.bring_libraries(libraries)
        engine.libraries = {file.name: sha256_of(file) for file in libraries}
    return engine


def _choose(device: Device, workspace: Workspace, wanted: str | None) -> Engine:
    facts = device.facts
    local = facts.name == "local"
    system = facts.os.partition(" ")[0].lower()
    if wanted is not None and (Path(wanted).exists() or os.sep in wanted):
        return _pushed(workspace, binaries.Binary(Path(wanted), wanted), facts.abi)
    if wanted is None and local:
        found = shutil.which("benchmark_model")
        if found is None:
            return LiteRTEngine()
        return _pushed(workspace, binaries.Binary(Path(found), found), facts.abi)
    if wanted is None:
        if is_on_device(workspace, ON_DEVICE):
            return ToolEngine(workspace, ON_DEVICE, f"{facts.name}:{ON_DEVICE}", digest_on_device(workspace, ON_DEVICE))
        wanted = tool_versions()["ai-edge-litert"]
    if not binaries.is_version(wanted):
        raise UsageError(
            f"There is no benchmark_model {wanted}.", "Give the path of one, or a version to download, such as 2.1.0."
        )
    return _pushed(workspace, binaries.download(wanted, system, facts.abi, default_folder() / "tools"), facts.abi)


def _pushed(workspace: Workspace, binary: binaries.Binary, abi: str) -> ToolEngine:
    binaries.check_abi(binary.path, abi)
    digest = sha256_of(binary.path)
    program = workspace.install(binary.path, executable=True)
    return ToolEngine(workspace, program, binary.source, digest, binary.version)
