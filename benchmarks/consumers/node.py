"""Packages of npm's in a consumer's environment."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def add(folder: Path, packages: Sequence[str]) -> None:
    """Install packages below an environment's node_modules, unless they are there.

    Args:
        folder: The environment's.
        packages: `NAME==VERSION`.

    Raises:
        subprocess.CalledProcessError: npm cannot install them.
    """
    if not packages or (folder / "node_modules" / packages[0].partition("==")[0]).exists():
        return
    asked = [package.replace("==", "@") for package in packages]
    options = ["--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run([shutil.which("npm") or "npm", "install", *options, *asked], check=True)
