"""An ARM userland to run LiteRT in under qemu: made once, whole or not at all, without root.

Python comes from Debian's packages for arm64, LiteRT and NumPy from their wheels for aarch64, in this environment's
versions. What was downloaded is kept in the cache, so that a set-up that was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import platformdirs

from mobilekit.errors import DeviceError, ToolError
from mobilekit.store.cache import default_folder
from mobilekit.store.files import whole_folder, write_json
from mobilekit.targets.debian import Progress, check_tools, download_packages, newest, run_tool, unpack

COMMAND = "mobilekit devices setup-emulated"
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
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
_WHEELS = ("ai-edge-litert", "numpy", "flatbuffers")
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
_CPU = "cortex-a76"
"""A core of phones of 2019 and later: it has the dot products that XNNPACK's int8 kernels use."""
# XNNPACK reads these, and stays out where they are missing or another processor's; qemu finds them below its prefix.
_CPU_FILES = {
    "proc/cpuinfo": (
        "processor\t: 0\n"
        "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
        "asimddp\n"
        "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n"
    ),
    "sys/devices/system/cpu/possible": "0\n",
    "sys/devices/system/cpu/present": "0\n",
}
_MARK = "emulated.json"
_TRIAL = "import platform, numpy, ai_edge_litert.interpreter; print(platform.machine())"


def folder() -> Path:
    """Return where the ARM userland is, or would be."""
    return platformdirs.user_data_path("mobilekit") / "emulated"


def wanted_versions() -> dict[str, str]:
    """Return the versions that the ARM userland is to have: this environment's."""
    return {name: metadata.version(name) for name in _WHEELS}


def find_problem() -> DeviceError | None:
    """Return what keeps `--device emulated` from being used; None where it is ready."""
    try:
        written: dict[str, Any] = json.loads((folder() / _MARK).read_text())
    except (OSError, ValueError):
        return DeviceError("The emulated device is not set up.", f"Run `{COMMAND}` once.")
    if written != wanted_versions():
        return DeviceError(
            "The emulated device has other versions of LiteRT or NumPy than this environment.",
            f"Run `{COMMAND}` again.",
        )
    try:
        find_qemu()
    except ToolError as error:
        return DeviceError(error.what, error.hint)
    return None


def find_qemu() -> str:
    """Return the path of qemu for ARM programs.

    Raises:
        ToolError: There is none.
    """
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if not found:
        raise ToolError(
            "qemu for ARM programs is not installed.", "Install it, for example: apt install qemu-user-static"
        )
    return found


def command(root: Path, arguments: Sequence[str], python_path: Sequence[str] = ()) -> list[str]:
    """Return the command that runs the ARM Python with these arguments; files of this machine keep their paths."""
    path = os.pathsep.join(["/opt/python", *python_path])
    settings = [f"PYTHONPATH={path}", "PYTHONDONTWRITEBYTECODE=1", "PYTHONNOUSERSITE=1"]
    options = [word for setting in settings for word in ("-E", setting)]
    python = str(root / "usr" / "bin" / _PYTHON)
    return [find_qemu(), "-cpu", _CPU, "-L", str(root), *options, python, "-S", *arguments]


def set_up(progress: Progress = lambda _message: None) -> Path:
    """Make the ARM userland anew and try it, and return its folder.

    Raises:
        ToolError: A tool that it needs is missing, a download failed, or what was made does not run.
    """
    find_qemu()
    check_tools("the ARM Python comes", "Use Debian 12, or a container of it, or a phone: --device adb.")
    downloads = default_folder() / "emulated"
    downloads.mkdir(parents=True, exist_ok=True)
    target = folder()
    with whole_folder(target, replace=True) as root:
        hint = f"Its sources must have {_PYTHON} for arm64; those of Debian 12 do."
        for package in download_packages(downloads / "packages", _PACKAGES, "arm64", progress, hint):
            progress(f"unpacking {package.name}")
            unpack(package, root)
        for wheel in _download_wheels(downloads / "wheels", progress):
            progress(f"unpacking {wheel.name}")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(root / "opt" / "python")
        for name, text in _CPU_FILES.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        progress("trying it")
        said = run_tool(command(root, ["-c", _TRIAL]), "The ARM Python does not run under qemu")
        if said.split() != ["aarch64"]:
            raise ToolError(f"The ARM Python says that it runs on {said.strip() or 'nothing'}, not aarch64.")
        write_json(root / _MARK, wanted_versions())
    return target


def _download_wheels(folder: Path, progress: Progress) -> list[Path]:
    progress("downloading LiteRT and NumPy for aarch64")
    platforms = [word for name in _PLATFORMS for word in ("--platform", f"{name}_aarch64")]
    versions = wanted_versions()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    options = ["--only-binary=:all:", "--python-version", f"{sys.version_info.major}.{sys.version_info.minor}"]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}=={version}" for name, version in versions.items()]
    run_tool([*pip, *options, *platforms, "--dest", str(folder), *wanted], "pip cannot download the wheels for aarch64")
    return [newest(folder, f"{name.replace('-', '_')}-{version}-*.whl") for name, version in versions.items()]
