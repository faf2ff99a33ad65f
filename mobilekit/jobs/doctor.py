"""What of this machine mobilekit needs, what is there, and what each missing piece costs."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Container, Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from mobilekit.artifacts.coreml import environment as coreml
from mobilekit.artifacts.executorch import environment as executorch
from mobilekit.bench.devices.discovery import list_devices
from mobilekit.convert.installed import CONVERTERS, PYTHONS, to_get_them, writes_directly
from mobilekit.errors import DeviceError, ToolError, UsageError, first_line
from mobilekit.models.torchvision_ops import misfit
from mobilekit.store.cache import default_folder
from mobilekit.store.versions import installed_version
from mobilekit.targets.catalogue import KINDS

_NEEDED_BYTES = 2 * 2**30  # of a large export with its cache


@dataclass(frozen=True)
class Check:
    """One piece."""

    name: str
    state: str
    """`ok`, `missing`, or `differs` (another version than the tested one)."""
    found: str
    needed: bool
    """Without it mobilekit does not work; else something less is missing."""
    cost: str = ""
    """What does not work without it."""
    fix: str = ""
    """The command that mends it."""

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON data."""
        return asdict(self)


def examine() -> list[Check]:
    """Return all checks."""
    return [_python(), *_packages(), *_programs(), *_targets(), _executorch(), _coreml(), _adb_server(), *_disks()]


def locked_versions() -> dict[str, str]:
    """Return the version of each package that mobilekit is tested with on this Python; nothing where there is none."""
    path = constraints("python{}.{}".format(*sys.version_info))
    lines = path.read_text().splitlines() if path else []
    pairs = (line.split("==") for line in lines if "==" in line and not line.startswith("#"))
    return {_plain(name): version for name, version in pairs}


def constraints(name: str) -> Path | None:
    """Return the file of versions of this name; None where there is none."""
    here = Path(__file__).parents[1]
    places = (folder / "constraints" / f"{name}.txt" for folder in (here, here.parent))
    return next((path for path in places if path.exists()), None)


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] in PYTHONS:
        return Check("Python", "ok", found, True)
    cost = "nothing can be exported: onnx2tf and TensorFlow exist for no such Python"
    return Check("Python", "differs", found, False, cost, "install Python {}.{}".format(*PYTHONS[-1]))


def _packages() -> Iterator[Check]:
    """Check the packages that mobilekit itself asks for, and those that convert where one of them is there."""
    try:
        wanted = [Requirement(each) for each in metadata.requires("mobilekit") or []]
    except metadata.PackageNotFoundError:  # it runs from its sources
        cost = "which packages it needs is not known"
        yield Check("mobilekit", "missing", "not installed", True, cost, "pip install . in its folder")
        return
    own = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    convert, sweep = (_of_extra(name, wanted, own) for name in ("convert", "sweep"))
    locked = locked_versions()
    yield from (_package(each, locked) for each in own)
    yield from _torchvision()
    if any(installed_version(each.name) for each in convert if each.name in CONVERTERS):
        yield from (_package(each, locked) for each in convert)
        yield from _writer()
    else:
        yield Check("converters", "missing", "-", False, "nothing can be exported", to_get_them())
    if all(installed_version(each.name) for each in sweep):
        yield from (_package(each, locked) for each in sweep)
    else:
        cost, fix = (
            "`mobilekit sweep` and `mobilekit worker` do not run",
            "pip install '.[sweep]' in mobilekit's folder",
        )
        yield Check("sweeps", "missing", "-", False, cost, fix)


def _of_extra(extra: str, wanted: Iterable[Requirement], own: Container[Requirement]) -> list[Requirement]:
    """Return what an extra of the package asks for, beside what the package itself does."""
    return [each for each in wanted if each not in own and each.marker and each.marker.evaluate({"extra": extra})]


def _package(wanted: Requirement, locked: dict[str, str]) -> Check:
    """Check one package. Another version than the tested one is told; one that mobilekit does not take is a fault."""
    name, tested = wanted.name, locked.get(_plain(wanted.name))
    exact = f"{name}=={tested}" if tested else f"{name}{wanted.specifier}"
    found = installed_version(name)
    if found is None:
        return Check(name, "missing", "-", True, "mobilekit does not work", f"pip install '{exact}'")
    is_taken = wanted.specifier.contains(found, prereleases=True)
    if is_taken and (tested is None or found.split("+")[0] == tested):
        return Check(name, "ok", found, True)
    cost = f"{_other(found, tested) or f'mobilekit takes {wanted.specifier}'}: artifacts may differ, or not convert"
    return Check(name, "differs", found, not is_taken, cost, f"pip install '{exact}'")


def _writer() -> Iterator[Check]:
    """Say where onnx2tf is too old to write TFLite files itself."""
    if (found := installed_version("onnx2tf")) and not writes_directly():
        cost = "TFLite files are made by Keras, in half as much processor time again"
        fix = "make setup PYTHON=python3.12, or a newer one, for which there is onnx2tf 2"
        yield Check("direct writer", "missing", f"onnx2tf {found}", False, cost, fix)


def _torchvision() -> Iterator[Check]:
    """Say where torchvision is that of another build of torch; models of timm and torchvision need nothing of that."""
    if (found := installed_version("torchvision")) and (why := misfit()):
        cost = f"{why}: Python code has to import mobilekit before it, and detectors' boxes are not sorted out"
        fix = "install torchvision from where torch's build is from, which the package index has for CUDA alone"
        yield Check("torchvision", "differs", found, False, cost, fix)


def _other(found: str, tested: str | None) -> str:
    """Say how a version stands to the one that was tested; nothing where none was."""
    if tested is None:
        return ""
    return f"{'older' if Version(found) < Version(tested) else 'newer'} than the tested {tested}"


def _programs() -> Iterator[Check]:
    from adbutils import adb_path  # type: ignore[import-untyped]

    pieces = (
        ("adb", lambda: shutil.which(adb_path()), "no phone can be reached", "pip install --force-reinstall adbutils"),
        (
            "benchmark_model",
            lambda: shutil.which("benchmark_model"),
            "benches of this machine run through LiteRT's Python package, without a profiler",
            "put TensorFlow Lite's benchmark_model on PATH",
        ),
        (
            "qemu-aarch64",
            lambda: shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64"),
            "ARM programs, such as an emulated device's, do not run on this machine",
            "apt install qemu-user-static",
        ),
    )
    for name, find, cost, fix in pieces:
        try:
            found = find()
        except Exception:  # adbutils has an error of its own for each way in which adb is missing
            found = None
        needed = name == "adb"
        yield Check(name, "ok", found, needed) if found else Check(name, "missing", "-", needed, cost, fix)


def _targets() -> Iterator[Check]:
    """Look for the compilers of targets that come apart."""
    for kind in KINDS:
        name = f"target {kind.name}"
        problem = kind.make(kind.name).why_not()
        if problem:
            cost = f"`inspect --target {kind.name}` cannot be asked: {first_line(problem.what)}"
            yield Check(name, "missing", "-", False, cost, problem.hint)
        else:
            yield Check(name, "ok", "-", False)


def _executorch() -> Check:
    """Look for the environment of ExecuTorch."""
    try:
        return Check("ExecuTorch", "ok", executorch.versions()[executorch.PACKAGE], False)
    except ToolError as error:
        cost = f"no .pte files are made or run: {first_line(error.what)}"
        return Check("ExecuTorch", "missing", "-", False, cost, error.hint)


def _coreml() -> Check:
    """Look for coremltools."""
    name = coreml.PACKAGE
    try:
        return Check(name, "ok", coreml.versions()[name], False)
    except ToolError as error:
        return Check(name, "missing", "-", False, "no Core ML packages are made or read", error.hint)


def _adb_server() -> Check:
    try:
        found = list_devices()
    except (DeviceError, UsageError) as error:
        return Check("adb server", "missing", error.what, False, "no phone can be reached", error.hint)
    shown = ", ".join(f"{each.serial} ({'ready' if each.ready else each.state})" for each in found) or "no device"
    return Check("adb server", "ok", shown, False)


def _disks() -> Iterator[Check]:
    for name, folder in (("disk of the cache", default_folder()), ("disk of this folder", Path.cwd())):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(place).free
        shown = f"{free / 1e9:.1f} GB free at {place}"
        if free >= _NEEDED_BYTES:
            yield Check(name, "ok", shown, False)
        else:
            cost = f"large exports need up to {_NEEDED_BYTES / 1e9:.0f} GB"
            yield Check(name, "missing", shown, False, cost, "make room, or set MOBILEKIT_CACHE to another place")


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
