"""The Python functions, and the examples in their documents."""

from __future__ import annotations

import doctest
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mobilekit
from mobilekit import api
from mobilekit.errors import UsageError
from tests.conftest import ROOT


def test_docstrings_run() -> None:
    result = doctest.testmod(api)
    assert (result.failed, result.attempted > 4) == (0, True)


@pytest.mark.slow
def test_the_document_runs(digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the digits exported already, so that the example's export comes from the cache."""
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / "docs" / "python.md"), module_relative=False)
    assert (result.failed, result.attempted > 8) == (0, True)


def test_every_function_is_there_and_nothing_heavy_is_loaded_before() -> None:
    code = (
        "import sys, mobilekit; assert 'torch' not in sys.modules;"
        "print(all(callable(getattr(mobilekit, name)) for name in mobilekit.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
    assert mobilekit.load_recipe("ghostnet").name == "ghostnet"
    with pytest.raises(AttributeError, match="has no attribute 'exprot'"):
        mobilekit.exprot  # type: ignore[attr-defined]  # noqa: B018


def test_errors_are_those_of_the_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown precision flot16"):
        mobilekit.export("ghostnetv2", precision=["flot16"], output=tmp_path / "out")
    with pytest.raises(UsageError, match="not a bundle"):
        mobilekit.diff(tmp_path)
    with pytest.raises(UsageError, match="no option widht"):
        mobilekit.load_model("ghostnet", widht=0.5)
    assert list(tmp_path.iterdir()) == []


CELLS = (
    """
    import torch, mobilekit
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return {"scores": self.head(self.stem(x).mean((2, 3)))}

    torch.manual_seed(0)
    net = Net().train()
    """,
    "bundle = mobilekit.export(net, example_inputs=torch.zeros(2, 3, 40, 24), precision=['float32'])",
    "again = mobilekit.export(net, example_inputs=torch.zeros(1, 3, 40, 24), precision=['float32'])",
    "rewritten = mobilekit.rewrite(net, example_inputs=torch.zeros(1, 3, 40, 24))",
    "ledger = mobilekit.diff(bundle, reference=net)",
)


@pytest.mark.slow
def test_a_live_module_goes_all_the_way_as_in_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run one after the other; the module stays as it is, and the file computes what it does."""
    from ai_edge_litert.interpreter import Interpreter

    monkeypatch.chdir(tmp_path)
    cells: dict[str, Any] = {"__name__": "__main__"}
    for cell in CELLS:
        exec(textwrap.dedent(cell), cells)  # noqa: S102
    net, bundle, ledger, rewritten = (cells[name] for name in ("net", "bundle", "ledger", "rewritten"))
    assert net.training and repr(bundle) == "<Bundle artifacts/Net: pass, on assumed inputs, 4 stages>"
    origins = {each["what"]: (each["value"], each["origin"]) for each in bundle.manifest["given"]}
    assert origins["size"] == ("40x24", "example_inputs") and origins["color"] == ("rgb", "assumed")
    assert origins["weights"] == ("the module's own", "the model's code")
    assert bundle.manifest["model"]["name"] == "module:Net"
    assert cells["again"].manifest == bundle.manifest  # it was there already

    image = torch.randn(1, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    expected = net.eval()(image)["scores"].detach().numpy()
    run = Interpreter(str(bundle.path / "model.float32.tflite")).get_signature_runner()
    np.testing.assert_allclose(run(input=image.numpy().transpose(0, 2, 3, 1))["scores"], expected, atol=1e-5)
    np.testing.assert_allclose(rewritten(image)["scores"].detach().numpy(), expected, atol=1e-5)

    table = bundle._repr_markdown_().splitlines()
    assert table[2] == "| stage | output | max abs | relative L2 | cosine | verdict |"
    assert [line.split(" | ")[0] for line in table[4:]] == [
        f"| {stage}" for stage in ("rewritten", "onnx", "onnx-simplified", "tflite-float32")
    ]
    assert (
        repr(ledger) == "<Ledger: pass, on assumed inputs, 4 stages>" and "tflite-float32" in ledger._repr_markdown_()
    )
    assert (
        repr(rewritten).startswith("<rewritten: fold-batch-norm")
        and "| fold-batch-norm |" in rewritten._repr_markdown_()
    )

    with pytest.raises(UsageError, match="was exported from module:Net of Python code, which a bundle does not hold"):
        mobilekit.diff(bundle)
    with pytest.raises(UsageError, match="module:Linear is not the model that artifacts/Net was exported from"):
        mobilekit.diff(bundle, reference=torch.nn.Linear(1, 1))
    with torch.no_grad():
        net.head.bias += 1
    with pytest.raises(UsageError, match="artifacts/Net holds another export"):
        exec(CELLS[1], cells)  # noqa: S102


def test_bad_examples_are_refused(tmp_path: Path) -> None:
    net, out = torch.nn.Conv2d(3, 4, 3), tmp_path / "out"
    for examples, words in (
        (torch.zeros(3, 32, 32), r"has the shape \(3, 32, 32\), and no picture's"),
        ([torch.zeros(1, 3, 32, 32)] * 2, "There are 2 example_inputs, and the model takes 1"),
        ({"input": 3}, "are no tensors with a picture first"),
        (torch.zeros(1, 4, 32, 32), "module:Conv2d cannot take an input of 4x32x32"),
    ):
        with pytest.raises(UsageError, match=words):
            mobilekit.export(net, example_inputs=examples, output=out)  # type: ignore[arg-type]
    assert not out.exists()
