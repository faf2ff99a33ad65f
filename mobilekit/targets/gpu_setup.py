"""A GPU for machines without one: SwiftShader, which computes as a GPU does, for LiteRT's GPU accelerator.

It comes from Debian's package of Chromium with its Vulkan loader, verified by apt's own signatures and unpacked
without root. Distributions replace that package by newer ones, so version and hash of what was taken are kept.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
from pathlib import Path
from typing import Any

import platformdirs

from mobilekit.errors import ToolError
from mobilekit.store.cache import default_folder
from mobilekit.store.files import sha256_of, whole_folder, write_json
from mobilekit.store.versions import installed_version
from mobilekit.targets.debian import Progress, check_tools, download_packages, native_architecture, unpack

COMMAND = "mobilekit devices setup-gpu"
OLDEST_LITERT = (2, 3)
"""The first whose package has the accelerator and the options of Python's CompiledModel that are used here."""
_PACKAGE = "chromium-common"
_LIBRARIES = ("libvk_swiftshader.so", "libvulkan.so.1")
_MARK, _DRIVER = "gpu.json", "driver.json"
_ICD_VERSION = "1.3.0"
"""Of Vulkan, that the driver's file says it has."""
_OWN_DRIVERS = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")


def folder() -> Path:
    """Return where SwiftShader is, or would be."""
    return platformdirs.user_data_path("mobilekit") / "gpu"


def own_driver() -> bool:
    """Return whether the user names a Vulkan driver of his own, as for a real GPU."""
    return any(os.environ.get(name) for name in _OWN_DRIVERS)


def environment() -> dict[str, str]:
    """Return the variables of a process that is to use the GPU."""
    return {} if own_driver() else variables(folder())


def variables(root: Path) -> dict[str, str]:
    """Return the variables of a process that is to use the SwiftShader of a folder."""
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("LD_LIBRARY_PATH")]))
    return {**dict.fromkeys(_OWN_DRIVERS, str(root / _DRIVER)), "LD_LIBRARY_PATH": paths}


def find_problem() -> ToolError | None:
    """Return what keeps the GPU from being used; None where it is ready."""
    if problem := _litert_problem():
        return problem
    if own_driver():
        return None if _has_loader() else ToolError("There is no Vulkan loader.", "apt install libvulkan1")
    try:
        written()
    except (OSError, ValueError):
        return ToolError("No GPU is set up.", f"Run `{COMMAND}` once, or name a real one's driver in VK_DRIVER_FILES.")
    lost = [name for name in (*_LIBRARIES, _DRIVER) if not (folder() / name).is_file()]
    return ToolError(f"Of the GPU, {lost[0]} is gone from {folder()}.", f"Run `{COMMAND}` again.") if lost else None


def _litert_problem() -> ToolError | None:
    """Return what is wrong with the installed LiteRT."""
    from importlib.util import find_spec

    found = installed_version("ai-edge-litert")
    package = find_spec("ai_edge_litert")
    is_new = found is not None and tuple(map(int, found.split(".")[:2])) >= OLDEST_LITERT
    oldest = ".".join(map(str, OLDEST_LITERT))
    if package is None or not is_new:
        return ToolError(
            f"LiteRT {found or 'is not there, and its GPU accelerator'} is too old for its GPU accelerator.",
            f"pip install 'ai-edge-litert>={oldest}'",
        )
    places = package.submodule_search_locations or []
    if not any(list(Path(place).glob("libLiteRtWebGpuAccelerator.*")) for place in places):
        return ToolError(
            f"LiteRT {found} has no GPU accelerator for {platform.system()} on {platform.machine()}.",
            "Linux on x86-64 has.",
        )
    return None


def _has_loader() -> bool:
    try:
        ctypes.CDLL("libvulkan.so.1")
    except OSError:
        return False
    return True


def written() -> dict[str, Any]:
    """Return what the set-up took: package, its version, hashes."""
    found: dict[str, Any] = json.loads((folder() / _MARK).read_text())
    return found


def set_up(progress: Progress = lambda _message: None) -> Path:
    """Fetch SwiftShader, try it, put it in place of one that is there, and return its folder.

    Raises:
        ToolError: LiteRT here has no GPU accelerator, a tool is missing, a download failed, or what was made does not
            run.
    """
    from mobilekit.targets.gpu import try_gpu

    if problem := _litert_problem():
        raise problem
    check_tools("SwiftShader comes", f"Use Debian 12 or newer, or a container of it; {_a_real_one()}")
    downloads = default_folder() / "gpu"
    target = folder()
    with whole_folder(target, replace=True) as root:
        [package] = download_packages(
            downloads, [_PACKAGE], native_architecture(), progress, f"Debian's sources have it; {_a_real_one()}"
        )
        progress(f"unpacking {package.name}")
        unpack(package, root / "unpacked")
        for name in _LIBRARIES:
            shutil.move(root / "unpacked" / "usr" / "lib" / "chromium" / name, root / name)
        shutil.rmtree(root / "unpacked")
        icd = {"api_version": _ICD_VERSION, "library_path": f"./{_LIBRARIES[0]}"}  # beside the driver's file
        write_json(root / _DRIVER, {"file_format_version": "1.0.0", "ICD": icd})
        write_json(
            root / _MARK,
            {
                "package": _PACKAGE,
                "version": package.name.split("_")[1].replace("%3a", ":"),
                "sha256": {name: sha256_of(root / name) for name in _LIBRARIES},
                "litert": installed_version("ai-edge-litert"),
            },
        )
        progress("trying it")
        try_gpu(variables(root))  # what is there already stays until this one works
    return target


def _a_real_one() -> str:
    return "or name a real GPU's Vulkan driver in VK_DRIVER_FILES."
