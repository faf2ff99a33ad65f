"""The bench of one device: choose the tool, run the rounds, profile."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mobilekit.bench import binary as binaries
from mobilekit.bench.artifacts import Artifact
from mobilekit.bench.devices.base import Core, Device, Workspace
from mobilekit.bench.engine import Engine, RunSettings
from mobilekit.bench.litert_engine import LiteRTEngine
from mobilekit.bench.profile import Profile, profile_with
from mobilekit.bench.result import BenchResult, result_of
from mobilekit.bench.session import Plan, run_rounds
from mobilekit.bench.tool_engine import ToolEngine, digest_on_device, is_on_device
from mobilekit.errors import DeviceError, ToolError, UsageError
from mobilekit.store.cache import default_folder
from mobilekit.store.files import sha256_of
from mobilekit.store.versions import tool_versions

Progress = Callable[[str], None]

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
    """Pin runs to the cores of the highest frequency."""
    profile: bool = False


def bench(device: Device, request: BenchRequest, progress: Progress = lambda _message: None) -> BenchResult:
    """Run a bench on one device.

    Raises:
        UsageError: The request does not fit the device.
        DeviceError: The device, or a tool for it, is missing or was lost.
    """
    emulated = device.facts.emulated
    plan = Plan(
        files=tuple(artifact.path for artifact in request.artifacts),
        settings=replace(request.settings, cpu_mask=_cpu_mask(device, request)),
        rounds=request.rounds or (2 if emulated else ROUNDS),
        seed=request.seed,
    )
    with device.open_workspace() as workspace:
        progress("looking for benchmark_model")
        engine = choose_engine(device, workspace, request.binary)
        outcome = run_rounds(device, engine, plan, progress)
        result = result_of(device.facts, engine.describe(), request.artifacts, plan, outcome)
        if request.profile:
            ran = [artifact for artifact in request.artifacts if outcome.figures(artifact.path)]
            profiles, notes = _profiles(engine, workspace, ran, plan.settings, progress)
            result = replace(result, profiles=profiles, notes=(*result.notes, *notes))
    return result


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


def choose_engine(device: Device, workspace: Workspace, wanted: str | None) -> Engine:
    """Return the tool that is named; else the one that is there; else LiteRT on this machine, a download elsewhere.

    Raises:
        DeviceError: It cannot be downloaded.
        UsageError: There is none of this name, or it is for another ABI.
    """
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
    return ToolEngine(workspace, workspace.install(binary.path, executable=True), binary.source, digest)


def _cpu_mask(device: Device, request: BenchRequest) -> str | None:
    """Return the cores to pin runs to, hexadecimal.

    Raises:
        UsageError: The big cores are asked for, and the device does not tell which they are; or it has none of the
            cores that are asked for.
    """
    cores, mask = device.facts.cores, request.settings.cpu_mask
    if request.big_cores:
        return big_cores(cores)
    if mask and cores and not any(int(mask, 16) >> core.index & 1 for core in cores):
        everything = sum(1 << core.index for core in cores)
        raise UsageError(f"{device.facts.name} has no core in the mask {mask}.", f"All it has: --cpus {everything:x}.")
    return mask


def big_cores(cores: Sequence[Core]) -> str:
    """Return the mask of the cores with the highest frequency.

    Raises:
        UsageError: The device does not tell its cores' frequencies.
    """
    known = [core for core in cores if core.max_khz]
    if not known:
        raise UsageError("The device does not tell which of its cores are the big ones.", "Give a mask: --cpus f0.")
    highest = max(core.max_khz or 0 for core in known)
    return f"{sum(1 << core.index for core in known if core.max_khz == highest):x}"
