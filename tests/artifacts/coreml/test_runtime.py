"""A package as a runtime: against a process that is no Core ML. What Core ML itself does was never seen here."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mobilekit.artifacts.coreml import environment, runtime
from mobilekit.artifacts.coreml.package import MLPackage
from mobilekit.artifacts.coreml.runtime import CoreMLRuntime
from mobilekit.artifacts.open import open_artifact
from mobilekit.artifacts.runtime import TensorInfo
from mobilekit.errors import ToolError
from mobilekit.store.worker import Worker, python_path
from tests.converting import normal

DOUBLES = """
import numpy as np
from mobilekit.store.worker_loop import serve
def run(request):
    with np.load(request["inputs"]) as inputs:
        (array,) = [inputs[name] for name in request["names"]]
    np.savez(request["outputs"], **{"0": 2 * array[:, None, :, 0, 0]})
    return {}
serve(run)
"""


def test_it_is_run_on_a_mac_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "platform", "linux")
    with pytest.raises(ToolError, match=r"model\.mlpackage is not run here: Core ML runs on macOS alone"):
        open_artifact(Path("model.mlpackage"))
    monkeypatch.setattr(environment.sys, "platform", "darwin")
    monkeypatch.setattr(environment, "installed_version", lambda _name: None)
    assert environment.why_not_run() == "coremltools is not installed"
    monkeypatch.setattr(environment, "installed_version", lambda _name: "9.0")
    assert environment.why_not_run() is None


def test_inputs_go_to_its_process_and_outputs_have_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = (TensorInfo("input", (1, 3, 8, 8), "float32"),), (TensorInfo("logits", (1, 3), "float32"),)
    monkeypatch.setattr(runtime, "read_package", lambda _path: MLPackage(*ends, (), "iOS15"))
    worker = Worker([sys.executable, "-c", DOUBLES], environment={"PYTHONPATH": python_path()})
    images = normal(3, 3, 8, 8)
    given = CoreMLRuntime(Path("model.mlpackage"), worker).run({"input": images})
    np.testing.assert_array_equal(given["logits"], 2 * images[:, :, 0, 0])
