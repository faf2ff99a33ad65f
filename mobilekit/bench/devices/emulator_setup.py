"""An ARM userland to run LiteRT in under qemu: made once, whole or not at all, without root.

qemu and Python come from Debian's packages whatever Python runs mobilekit, LiteRT and NumPy from their wheels for
aarch64. Instructions are counted with one version of LiteRT everywhere, so that counts can be compared; what is held
against this machine's outputs has this environment's version. What was downloaded is kept in the cache, so that a
set-up that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import platformdirs

from mobilekit.bench.devices import emulator_qemu as qemu
from mobilekit.bench.instructions import plugin_build as plugin
from mobilekit.bench.instructions.cores import CORES, CountedCore, core_named
from mobilekit.errors import DeviceError, ToolError
from mobilekit.store.cache import default_folder
from mobilekit.store.files import whole_folder, write_json
from mobilekit.targets.debian import Progress, check_tools, download_packages, newest, run_tool, unpack

COMMAND = "mobilekit devices setup-emulated"
_PYTHON_VERSION = "3.11"  # Debian 12's
_PYTHON = f"python{_PYTHON_VERSION}"
_PACKAGES = (
    f"{_PYTHON}-minimal",
    f"lib{_PYTHON}-minimal",
    f"lib{_PYTHON}-stdlib",
    "libc6",
    "zlib1g",
    "libexpat1",
    "libstdc++6",
    "libgcc-s1",
    "libffi8",
    "libssl3",
)
_LITERT = "ai-edge-litert"
_WHEELS = {_LITERT: "2.3.0", "numpy": "2.4.6", "flatbuffers": "25.12.19"}
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_DIFF_CORE = core_named("a76")
"""A core of phones of 2019 and later: it has the dot products that XNNPACK's int8 kernels use."""
_COUNT, _DIFF = "/opt/python", "/opt/diff"
"""Where packages of Python are in the ARM userland: for counts, and before these for diff."""
_CORES = "cores"
_SETTINGS = ("PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1", "PYTHONHASHSEED=0")
_MARK = "emulated.json"
_TRIAL = "import platform, numpy, ai_edge_litert.interpreter; print(platform.machine())"


def folder() -> Path:
    """Return where the ARM userland is, or would be."""
    return platformdirs.user_data_path("mobilekit") / "emulated"


def wanted_versions() -> dict[str, str]:
    """Return the versions that the ARM userland is to have; of LiteRT that for counts, and this environment's."""
    return {**_WHEELS, "ai-edge-litert for diff": metadata.version(_LITERT), "python": _PYTHON_VERSION}


def written() -> dict[str, Any] | None:
    """Return what the set-up made: `versions`, that of `qemu`, None where there is no set-up or another mobilekit's."""
    try:
        found = json.loads((folder() / _MARK).read_text())
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    return found if {"versions", "qemu"} <= found.keys() else {"versions": {}, "qemu": ""}


def counted_litert() -> str:
    """Return the version of LiteRT whose instructions are counted."""
    return _WHEELS[_LITERT]


def find_problem() -> DeviceError | None:
    """Return what keeps `--device emulated` from being used; None where it is ready."""
    made = written()
    if made is None:
        return DeviceError("The emulated device is not set up.", f"Run `{COMMAND}` once.")
    if made["versions"] != wanted_versions():
        return DeviceError(
            "The emulated device has other versions of LiteRT or NumPy than this environment and mobilekit want.",
            f"Run `{COMMAND}` again.",
        )
    root = folder()
    parts = (qemu.path(root), root / "usr" / "bin" / _PYTHON, *(root / _CORES / core.name / "usr" for core in CORES))
    if lost := [part for part in parts if not part.exists()]:
        return DeviceError(f"Of the emulated device, {lost[0]} is gone.", f"Run `{COMMAND}` again.")
    return None


def find_count_problem() -> ToolError | None:
    """Return what keeps instructions from being counted; None where all is ready."""
    if problem := find_problem():
        return ToolError(problem.what, problem.hint)
    if plugin.path(folder()).is_file():
        return None
    if plugin.find_compiler() is None:
        return ToolError(
            "The plugin that counts instructions is not there, and no C compiler to make it.",
            f"Install one, for example: apt install gcc libc6-dev; then run `{COMMAND}` again.",
        )
    return ToolError("The plugin that counts instructions is not there.", f"Run `{COMMAND}` again.")


def command(root: Path, arguments: Sequence[str], python_path: Sequence[str] = ()) -> list[str]:
    """Return the command that runs the ARM Python with these arguments; files of this machine keep their paths."""
    return _command(qemu.program(root), root, root, _DIFF_CORE, (), arguments, (_DIFF, _COUNT, *python_path))


def counting_command(
    root: Path,
    core: CountedCore,
    out: Path,
    arguments: Sequence[str],
    python_path: Sequence[str] = (),
    *,
    cache_misses: bool = False,
) -> list[str]:
    """Return the command that runs the ARM Python as on a core, and counts its instructions.

    How memory is aligned that lies on the stack, and with that how it is copied, depends on the length of all words and
    variables that the program is given. So it gets none of the user's, and paths are best relative ones.

    Args:
        root: The emulated device's folder.
        core: What XNNPACK is to see.
        out: What the plugin writes.
        arguments: Python's.
        python_path: Further folders to import from.
        cache_misses: Simulate the core's caches as well.
    """
    file, to = (str(path).replace(",", ",,") for path in (plugin.path(root), out))  # one comma ends a value
    caches = ":".join(f"{cache.kib}:{cache.ways}" for cache in core.caches)
    more = ("-plugin", f"{file},out={to}" + (f",cache={caches}" if cache_misses else ""))
    program, prefix = qemu.program(root, is_alone=True), root / _CORES / core.name
    return _command(program, root, prefix, core, more, arguments, (_COUNT, *python_path))


def _command(
    program: Sequence[str],
    root: Path,
    prefix: Path,
    core: CountedCore,
    more: Sequence[str],
    arguments: Sequence[str],
    paths: Sequence[str],
) -> list[str]:
    settings = [f"PYTHONPATH={os.pathsep.join(paths)}", *_SETTINGS]
    options = [word for setting in settings for word in ("-E", setting)]
    python = str(root / "usr" / "bin" / _PYTHON)
    return [*program, "-cpu", core.qemu_cpu, "-L", str(prefix), *more, *options, python, "-S", *arguments]


def library(root: Path) -> Path:
    """Return LiteRT's library of the counts."""
    return root / _COUNT.lstrip("/") / "ai_edge_litert" / "libpywrap_litert_common.so"


def set_up(progress: Progress = lambda _message: None) -> Path:
    """Make the ARM userland anew and try it, and return its folder.

    Without a C compiler all is made but the plugin, which counting alone needs.

    Raises:
        ToolError: A tool that it needs is missing, a download failed, or what was made does not run.
    """
    check_tools("the ARM Python comes", "Use Debian 12, or a container of it, or a phone: --device adb.")
    downloads = default_folder() / "emulated"
    downloads.mkdir(parents=True, exist_ok=True)
    target = folder()
    with whole_folder(target, replace=True) as root:
        hint = "Its sources must have {} for {}; those of Debian 12 do."
        packages = download_packages(
            downloads / "packages", _PACKAGES, "arm64", progress, hint.format(_PYTHON, "arm64")
        )
        for package in packages:
            progress(f"unpacking {package.name}")
            unpack(package, root)
        programs = qemu.download(downloads / "qemu", progress, hint.format("qemu-user", "this machine"))
        progress("unpacking qemu")
        qemu.install(programs, root)
        _install_wheels(downloads / "wheels", root, progress)
        _write_cores(root)
        progress("trying it")
        _try(command(root, ["-c", _TRIAL]))
        if compiler := plugin.find_compiler():
            progress("compiling and trying the plugin that counts")
            plugin.build(root, compiler)
            with TemporaryDirectory(prefix="mobilekit-") as scratch:
                _try(counting_command(root, _DIFF_CORE, Path(scratch) / "out", ["-c", _TRIAL]))
        write_json(root / _MARK, {"versions": wanted_versions(), "qemu": qemu.read_version(root)})
    return target


def _install_wheels(folder: Path, root: Path, progress: Progress) -> None:
    """Unpack LiteRT and what it needs, and this environment's LiteRT beside where it has another version."""
    own = metadata.version(_LITERT)
    for place, wheels in ((_COUNT, _WHEELS), (_DIFF, {} if own == _WHEELS[_LITERT] else {_LITERT: own})):
        for wheel in _download_wheels(folder, wheels, progress):
            progress(f"unpacking {wheel.name}")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root / place.lstrip("/"))


def _download_wheels(folder: Path, wheels: Mapping[str, str], progress: Progress) -> list[Path]:
    if not wheels:
        return []
    wanted = [f"{name}=={version}" for name, version in wheels.items()]
    progress(f"downloading {', '.join(wanted)} for aarch64")
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    options = ["--only-binary=:all:", "--python-version", _PYTHON_VERSION]
    folder.mkdir(parents=True, exist_ok=True)
    run_tool([*pip, *options, *platforms, "--dest", str(folder), *wanted], "pip cannot download the wheels for aarch64")
    return [newest(folder, f"{name.replace('-', '_')}-{version}-*.whl") for name, version in wheels.items()]


def _write_cores(root: Path) -> None:
    """Write what XNNPACK reads of the processor: below the root for diff, and below a prefix of links for each core."""
    shared = [path.name for path in root.iterdir()]
    _write(root, _DIFF_CORE.cpu_files)
    for core in CORES:
        prefix = root / _CORES / core.name
        prefix.mkdir(parents=True)
        for name in shared:
            (prefix / name).symlink_to(Path("..", "..", name))
        _write(prefix, core.cpu_files)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def _try(command: Sequence[str]) -> None:
    said = run_tool(command, "The ARM Python does not run under qemu")
    if said.split() != ["aarch64"]:
        raise ToolError(f"The ARM Python says that it runs on {said.strip() or 'nothing'}, not aarch64.")
