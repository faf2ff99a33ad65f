"""torchvision is imported where its compiled part cannot be loaded, and nothing is declared where it can."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mobilekit.jobs import doctor
from mobilekit.models import torchvision_ops


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_torchvision_is_imported_after_mobilekit_which_costs_no_torch() -> None:
    assert run("import sys, mobilekit; print('torch' in sys.modules, 'torchvision' in sys.modules)") == "False False"
    code = "import mobilekit, sys, torchvision; print(torchvision.models.resnet18.__name__, len(sys.meta_path))"
    name, finders = run(code).split()
    assert name == "resnet18" and finders == run("import torch, sys; print(len(sys.meta_path))")


def test_a_library_that_loads_is_no_misfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    assert torchvision_ops.misfit() == "" and not list(doctor._torchvision())


def test_a_misfit_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: str) -> None:
        raise OSError("libcudart.so.13")

    monkeypatch.setattr(torch.ops, "load_library", fail)
    assert torchvision_ops.misfit() == f"it is built for another build of torch than {torch.__version__}"
    [check] = doctor._torchvision()
    assert (check.state, check.needed) == ("differs", False) and "import mobilekit before it" in check.cost
