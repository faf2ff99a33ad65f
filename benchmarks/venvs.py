"""Environments of Python of benchmarks' own, made once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def python_of(folder: Path) -> Path:
    """Return the interpreter of an environment, whether it is there or not."""
    return folder / "bin" / "python"


def make(folder: Path, requirements: Sequence[str], alone: Sequence[str] = ()) -> Path:
    """Make an environment, unless it is there with the same requirements, and return its interpreter.

    Args:
        folder: Where it is.
        requirements: As pip takes them.
        alone: The same, of packages whose own requirements are left out.

    Raises:
        subprocess.CalledProcessError: pip cannot install them.
    """
    wanted, stamp = "\n".join((*requirements, *alone)), folder / "requirements.txt"
    if stamp.exists() and stamp.read_text() == wanted:
        return python_of(folder)
    print(f"setting up {folder.name}: {', '.join((*requirements, *alone))}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(python_of(folder)), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *requirements], check=True)
    if alone:
        subprocess.run([*pip, "--no-deps", *alone], check=True)
    stamp.write_text(wanted)
    return python_of(folder)
