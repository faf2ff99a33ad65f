"""Models that the user brings go all the way: several outputs, and one of timm's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mobilekit.models.user import resolve
from tests.conftest import ROOT, Cli

DETECTOR = ROOT / "docs" / "examples" / "detector.py"


@pytest.mark.slow
def test_a_detector_of_three_outputs_goes_all_the_way(tmp_path: Path, cli: Cli) -> None:
    """LiteRT's NHWC outputs, moved back by the layout in the manifest, are the module's own."""
    from ai_edge_litert.interpreter import Interpreter
    from safetensors.torch import load_file

    out = tmp_path / "out"
    spec = f"{DETECTOR}:make_detector"
    options = ("--input-size", "96", "--precision", "float32,int8", "--weights", "none")
    done = cli("export", spec, *options, "-o", out, "--json")
    assert done.returncode == 0, done.stderr
    assert {row["output"] for row in json.loads(done.stdout)["ledger"]["stages"]} == {"p3", "p4", "p5"}

    model = resolve(spec).create()
    model.load_state_dict(load_file(out / "stages" / "reference.safetensors"))
    image = np.random.default_rng(0).standard_normal((1, 3, 96, 96), dtype=np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(image))
    run = Interpreter(str(out / "model.float32.tflite")).get_signature_runner()
    given = run(input=image.transpose(0, 2, 3, 1))
    manifest = json.loads((out / "manifest.json").read_text())
    layouts = {tensor["name"]: tensor["layout"] for tensor in manifest["artifacts"]["model.float32.tflite"]["outputs"]}
    assert layouts == {"p3": "NHWC", "p4": "NHWC", "p5": "NHWC"}
    for name, tensor in expected.items():
        assert np.abs(given[name].transpose(0, 3, 1, 2) - tensor.numpy()).max() < 1e-4

    refused = cli("diff", out)
    assert refused.returncode == 2
    assert "not run unless you name it" in refused.stderr
    assert cli("diff", out, "--reference", spec).returncode == 0
