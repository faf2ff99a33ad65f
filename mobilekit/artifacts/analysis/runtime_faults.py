"""Known faults of runtimes, and which of them touch a file: the op is there, in the form at fault.

The faults and the versions that have them are data, in `runtime_faults.toml` beside this file; what their forms look
like in a file is in `runtime_fault_forms`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from packaging.specifiers import SpecifierSet

from mobilekit.artifacts.analysis.runtime_fault_forms import places_in
from mobilekit.artifacts.inspect import Inspection
from mobilekit.store.jsonable import Jsonable
from mobilekit.store.versions import installed_version

_RUNTIMES = {".tflite": "ai-edge-litert", ".onnx": "onnxruntime"}


@dataclass(frozen=True)
class RuntimeFault(Jsonable):
    """A known fault of some versions of a runtime."""

    name: str
    runtime: str
    """The package, such as `ai-edge-litert`."""
    versions: str
    """Those that have it, as a version specifier of Python packages."""
    op: str
    """The op at fault, as the format names it, or `layer` for all that have weights, ..."""
    form: str
    """... and in which form."""
    text: str
    """What is wrong, without a full stop."""
    advice: str
    source: str
    """Where this is known from."""
    without_delegates: bool = False
    """Whether the fault shows only where no delegate runs the op, as in the values inside of a model."""
    on_gpu: bool = False
    """Whether it is the GPU accelerator's."""


@dataclass(frozen=True)
class FileFault(RuntimeFault):
    """A fault of a runtime that touches a file."""

    file: str = ""
    """Its name."""
    version: str = ""
    """Of the runtime; empty where it is not the one that is installed."""
    ops: int = 0
    """How many ops of the file have the form at fault."""
    first: str = ""
    """Name of the first one's output."""


@dataclass(frozen=True)
class InspectResult(Inspection):
    """What is in an artifact, and which known faults touch it."""

    runtime_faults: tuple[FileFault, ...] = ()
    """Of the installed runtime."""
    faults_elsewhere: tuple[FileFault, ...] = ()
    """Of other versions of it, of GPUs, and of compilers that are not asked here."""


def known_faults(runtime: str, version: str) -> list[RuntimeFault]:
    """Return the known faults of a version of a runtime.

    Args:
        runtime: The package, such as `ai-edge-litert`.
        version: Its version.
    """
    return [
        each
        for each in _all_faults()
        if each.runtime == runtime and SpecifierSet(each.versions).contains(version, prereleases=True)
    ]


def installed_faults() -> list[tuple[str, RuntimeFault]]:
    """Return the known faults of the installed runtimes, each with the version."""
    versions = {runtime: installed_version(runtime) for runtime in _RUNTIMES.values()}
    return [
        (version, each) for runtime, version in versions.items() if version for each in known_faults(runtime, version)
    ]


def faults_in(
    path: Path,
    version: str | None = None,
    *,
    runtime: str | None = None,
    without_delegates: bool = True,
    on_gpu: bool = False,
) -> tuple[FileFault, ...]:
    """Return the faults of a runtime that touch a file: it has such an op in such a form.

    Args:
        path: An .onnx or .tflite file; of others nothing is known.
        version: Of the runtime; the installed one's without.
        runtime: The package; LiteRT or ONNX Runtime without, as the file asks for.
        without_delegates: With faults that show only where no delegate runs the op.
        on_gpu: The GPU accelerator's faults, and no others.

    Raises:
        ToolError: It is no whole ONNX file.
    """
    runtime = runtime or _RUNTIMES.get(path.suffix)
    version = version or (installed_version(runtime) if runtime else None)
    if runtime is None or version is None:
        return ()
    faults = [
        each
        for each in known_faults(runtime, version)
        if each.on_gpu == on_gpu and (without_delegates or not each.without_delegates)
    ]
    return _touching(path, faults, version)


def faults_elsewhere(path: Path) -> tuple[FileFault, ...]:
    """Return the faults that touch a file where it is not run here.

    They are those of other versions of a runtime, which phones have their own of, of GPUs, and of compilers that are
    not asked here.

    Args:
        path: An .onnx or .tflite file; of others nothing is known.

    Raises:
        ToolError: It is no whole ONNX file.
    """
    here = {each.name for each in faults_in(path)}
    return _touching(path, [each for each in _all_faults() if each.name not in here and not each.without_delegates])


def _touching(path: Path, faults: Iterable[RuntimeFault], version: str = "") -> tuple[FileFault, ...]:
    """Return those of some faults whose form is in a file."""
    faults = tuple(faults)
    found: dict[str, list[str]] = {}
    for fault, output in places_in(path) if faults else ():
        found.setdefault(fault, []).append(output)
    return tuple(
        FileFault(**vars(each), file=path.name, version=version, ops=len(found[each.name]), first=found[each.name][0])
        for each in faults
        if each.name in found
    )


@cache
def _all_faults() -> tuple[RuntimeFault, ...]:
    content = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return tuple(RuntimeFault(name=name, **fields) for name, fields in content.items())
