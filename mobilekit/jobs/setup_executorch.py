"""An environment for ExecuTorch, in the versions of `constraints/executorch.txt`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from mobilekit.artifacts.executorch.environment import PACKAGE, folder, python_in, start
from mobilekit.errors import ToolError
from mobilekit.jobs.doctor import constraints
from mobilekit.store.files import whole_folder
from mobilekit.store.worker import WorkerError, last_words

Progress = Callable[[str], None]
_INSTALLED = (PACKAGE, "torch")  # it does not ask for torch itself
_TRIED = "mobilekit.convert.executorch.lower_worker"


def set_up(progress: Progress = lambda _message: None) -> Path:
    """Make the environment, try it, put it in place of one that is there, and return its folder.

    Raises:
        ToolError: pip cannot install ExecuTorch, or it does not run here.
    """
    target = folder()
    pins = constraints(PACKAGE)
    if pins is None:
        raise ToolError("The versions for ExecuTorch are missing.", "Install mobilekit again.")
    with whole_folder(target, replace=True) as root:
        progress("making an environment")
        _run([sys.executable, "-m", "venv", str(root)], "Python makes no environment")
        progress(f"installing {PACKAGE} and its torch, which takes minutes")
        pip = [str(python_in(root)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--constraint", str(pins), *_INSTALLED], f"pip cannot install {PACKAGE}")
        progress("trying it")
        try:
            with start(_TRIED, str(python_in(root))) as worker:
                worker.ask({})
        except WorkerError as error:
            raise ToolError(f"ExecuTorch does not run here: {error.words.rstrip('.')}.") from error
        progress("putting it in place")
    return target


def _run(words: list[str], failure: str) -> None:
    done = subprocess.run(  # noqa: S603 - our own words, without a shell
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        error = ToolError(
            f"{failure}: {last_words(done.stdout).rstrip('.')}.",
            "ExecuTorch has packages for Python 3.10 to 3.13 on Linux, macOS and Windows.",
        )
        error.add_note(done.stdout)
        raise error
