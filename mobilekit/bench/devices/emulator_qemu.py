"""qemu for ARM programs, from Debian: the build that takes plugins, which counting needs; qemu-user-static does not."""

from __future__ import annotations

import shutil
from pathlib import Path

from mobilekit.targets.debian import Progress, download_packages, native_architecture, run_tool, unpack

_PACKAGES = (
    "qemu-user",
    # The libraries that it needs, as a machine may have none of them; not the C library, which is the machine's own.
    "libcapstone4",
    "libffi8",
    "libgcc-s1",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libhogweed6",
    "libidn2-0",
    "libnettle8",
    "libnuma1",
    "libp11-kit0",
    "libpcre2-8-0",
    "libtasn1-6",
    "libunistring2",
    "liburing2",
    "zlib1g",
)
_FOLDER, _PROGRAM, _LIBRARIES = Path("opt/qemu"), "qemu-aarch64", "lib"


def download(downloads: Path, progress: Progress, hint: str) -> list[Path]:
    """Fetch qemu and its libraries for this machine; see `download_packages`.

    Raises:
        ToolError: A package is not there, or not signed as it should.
    """
    return download_packages(downloads, _PACKAGES, native_architecture(), progress, hint)


def install(packages: list[Path], root: Path) -> None:
    """Put what was fetched into the emulated device's folder: the one program, and the libraries.

    Raises:
        ToolError: A package is damaged.
    """
    folder, scratch = root / _FOLDER, root / _FOLDER / "unpacked"
    (folder / _LIBRARIES).mkdir(parents=True)
    for package in packages:
        unpack(package, scratch)
    shutil.move(scratch / "usr" / "bin" / _PROGRAM, folder / _PROGRAM)
    for pattern in ("usr/lib/*/*.so*", "lib/*/*.so*"):
        for library in scratch.glob(pattern):
            shutil.move(library, folder / _LIBRARIES / library.name)
    shutil.rmtree(scratch)


def path(root: Path) -> Path:
    """Return where qemu is, or would be."""
    return root / _FOLDER / _PROGRAM


def program(root: Path, *, is_alone: bool = False) -> list[str]:
    """Return the beginning of a command that runs an ARM program; what follows is qemu's options.

    Args:
        root: The emulated device's folder.
        is_alone: Without the user's environment, whose length moves the program's stack.
    """
    return [
        "env",
        *(["-i"] if is_alone else []),
        f"LD_LIBRARY_PATH={root / _FOLDER / _LIBRARIES}",
        str(path(root)),
        "-U",  # not in the ARM program
        "LD_LIBRARY_PATH",
    ]


def read_version(root: Path) -> str:
    """Return qemu's version, such as 7.2.22.

    Raises:
        ToolError: It does not run on this machine.
    """
    command = program(root)
    said = run_tool([*command[: command.index("-U")], "--version"], "qemu does not run on this machine").split()
    return said[said.index("version") + 1] if "version" in said[:-1] else "unknown"
