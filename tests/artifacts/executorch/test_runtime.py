"""A .pte file as a runtime: against a process that is no ExecuTorch, and, where it is set up, against PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.artifacts.executorch.runtime import ExecuTorchRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.errors import ToolError, UsageError
from mobilekit.store.worker import Worker, python_path
from tests.converting import normal
from tests.programs import TWO_PARTS, TwoParts

DOUBLES = """
import numpy as np
from mobilekit.store.worker_loop import serve
def run(request):
    with np.load(request["inputs"]) as inputs:
        (array,) = [inputs[name] for name in request["names"]]
    assert request["batch"] == 1
    np.savez(request["outputs"], **{"0": 2 * array[:, None, :1, :1, :1]})
    return {}
serve(run)
"""


def stand_in(code: str) -> Worker:
    return Worker([sys.executable, "-c", code], environment={"PYTHONPATH": python_path()})


def test_inputs_go_one_by_one_and_outputs_are_joined() -> None:
    images = normal(3, 3, 8, 8)
    given = ExecuTorchRuntime(TWO_PARTS, stand_in(DOUBLES)).run({"x": images})
    assert [*given] == ["map"]
    np.testing.assert_array_equal(given["map"], 2 * images[:, :1, :1, :1])


def test_other_inputs_are_refused_before_it_is_asked() -> None:
    with pytest.raises(UsageError, match=r"two_parts\.pte takes input of 1x3x8x8, and was given"):
        ExecuTorchRuntime(TWO_PARTS, stand_in(DOUBLES)).run({"x": normal(1, 3, 9, 9)})


def test_what_it_refuses_is_told_in_its_words() -> None:
    code = DOUBLES.replace("assert", "raise RuntimeError('loading method forward failed with error 0x20')\n    assert")
    with pytest.raises(ToolError, match=r"ExecuTorch cannot run two_parts\.pte: RuntimeError: loading method forward"):
        ExecuTorchRuntime(TWO_PARTS, stand_in(code)).run({"x": normal(1, 3, 8, 8)})


def test_a_process_that_dies_is_told() -> None:
    code = DOUBLES.replace("assert", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)\n    assert")
    with pytest.raises(ToolError, match="its runtime was ended by SIGSEGV"):
        ExecuTorchRuntime(TWO_PARTS, stand_in(code)).run({"x": normal(1, 3, 8, 8)})


def test_its_process_ends_with_it() -> None:
    runtime = ExecuTorchRuntime(TWO_PARTS, stand_in(DOUBLES))
    process = runtime._process._worker._process
    assert process is not None and process.poll() is None
    del runtime
    assert process.poll() is not None


@pytest.mark.usefixtures("executorch")
def test_executorch_gives_what_the_net_gives() -> None:
    images = normal(3, 3, 8, 8)
    with torch.no_grad():
        exact = TwoParts().double()(torch.from_numpy(images).double()).numpy()
    given = open_artifact(TWO_PARTS).run({"input": images})["map"]
    assert np.abs(given - exact).max() < 8 * 2**-24 * np.abs(exact).max()


@pytest.mark.usefixtures("executorch")
def test_a_part_that_is_damaged_inside_is_refused_by_executorch(tmp_path: Path) -> None:
    content = TWO_PARTS.read_bytes()
    place = content.index(b"forward")
    (tmp_path / "net.pte").write_bytes(content[:place] + b"forwald" + content[place + 7 :])
    with pytest.raises(ToolError, match=r"net\.pte has no method forward: forwald, mobilekit"):
        open_artifact(tmp_path / "net.pte")
