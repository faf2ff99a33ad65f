"""Packages of Debian, fetched without root and for any architecture, with apt's own check of their signatures."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mobilekit.errors import ToolError

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
Progress = Callable[[str], None]


def check_tools(what: str, otherwise: str) -> None:
    """See that this system has the tools that fetch and unpack its packages.

    Args:
        what: What comes from packages, to be told.
        otherwise: What to do where the tools are missing.

    Raises:
        ToolError: One is missing.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise ToolError(f"{tool} is not installed: {what} from Debian's packages.", otherwise)


def native_architecture() -> str:
    """Return what Debian calls this machine's architecture."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def download_packages(
    folder: Path, packages: Sequence[str], architecture: str, progress: Progress, hint: str
) -> list[Path]:
    """Fetch packages with lists of their own, so that neither root nor a foreign architecture is needed.

    Args:
        folder: Where lists and packages are kept, so that what was interrupted goes on where it was.
        packages: Their names.
        architecture: As Debian names it, such as `arm64`.
        progress: Is told what goes on.
        hint: What to do where a package is not there.

    Raises:
        ToolError: The lists cannot be read, or a package is not there or not signed as it should.
    """
    for name in ("lists/partial", "cache/archives/partial", "files"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "",
        "Dir::State": folder,
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": folder / "cache",
    }
    apt = ["apt-get", "-qq", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    progress(f"reading Debian's lists of packages for {architecture}")
    run_tool([*apt, "update"], "apt cannot read the lists of packages", folder)
    progress(f"downloading Debian's packages for {architecture}")
    run_tool([*apt, "download", *packages], f"apt cannot download {packages[0]}", folder / "files", hint)
    return [newest(folder / "files", f"{name}_*_{architecture}.deb") for name in packages]


def unpack(package: Path, root: Path) -> None:
    """Unpack a package below a folder.

    Raises:
        ToolError: It is damaged.
    """
    run_tool(["dpkg-deb", "-x", str(package), str(root)], f"{package.name} cannot be unpacked")


def newest(folder: Path, pattern: str) -> Path:
    """Return the file of this name that came last: older ones are left from earlier set-ups."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def run_tool(arguments: Sequence[str], failure: str, folder: Path | None = None, hint: str = "") -> str:
    """Run a tool and return what it printed.

    Args:
        arguments: The command.
        failure: What could not be done, to be told with the tool's last words.
        folder: Its working directory; a scratch folder without.
        hint: What to do then.

    Raises:
        ToolError: It failed.
    """
    with TemporaryDirectory(prefix="mobilekit-") as scratch:
        done = subprocess.run(  # noqa: S603 - fixed tools, without a shell
            arguments, cwd=folder or scratch, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        words = lines[-1].strip() if lines else f"exit status {done.returncode}"
        raise ToolError(f"{failure}: {words}.", hint or "Is the network there? What was downloaded is kept.")
    return done.stdout
