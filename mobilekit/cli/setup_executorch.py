"""`mobilekit setup-executorch`: an environment for ExecuTorch."""

from __future__ import annotations

from mobilekit.cli import options
from mobilekit.cli.output import out, print_json, progress


def setup_executorch(as_json: options.Json = False) -> None:
    """Make an environment for ExecuTorch, which .pte files are made and run by: `--precision pte-float32` of an export.

    Needs pip, downloads ExecuTorch and a torch of its own, and takes 1.5 GB; 5 GB more on Linux, unless
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu names where torch's builds without CUDA are. A Python that
    has them already needs none of it: name it in MOBILEKIT_EXECUTORCH.

    Example: `mobilekit setup-executorch`
    """
    from mobilekit.artifacts.executorch.environment import versions
    from mobilekit.jobs.setup_executorch import set_up

    with progress("setting up ExecuTorch") as tell:
        folder = set_up(tell)
    found = versions()
    if as_json:
        print_json({"folder": str(folder), "versions": found})
        return
    out.print(f"ExecuTorch is ready in {folder}: {', '.join(' '.join(each) for each in found.items())}.")
