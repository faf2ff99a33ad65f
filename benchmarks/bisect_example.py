"""The example of docs/bisect.md: GhostNetV2 with the nearest upsampling that litert-torch 0.10 makes, bisected.

Run from the repository's root: `python -m benchmarks.bisect_example FOLDER`; it takes about half a minute of one core.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import torch

import mobilekit
from mobilekit.convert.onnx import write_onnx
from mobilekit.rewrites.fx.graph import trace

SHAPE = (1, 3, 224, 224)


def main(folder: Path) -> int:
    """Write `their.onnx` into the folder and bisect it; return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "their.onnx"
    model = mobilekit.load_model("ghostnetv2")
    write_onnx(trace(model, {"input": torch.zeros(SHAPE)}), {"input": SHAPE}, path)
    plant_half_pixel_centers(path)
    command = ["diff", "--reference", "ghostnetv2", "--candidate", str(path), "--bisect", str(folder / "fault")]
    return subprocess.run([sys.executable, "-m", "mobilekit", *command], check=False).returncode


def plant_half_pixel_centers(path: Path) -> None:
    """Make each nearest upsampling of an ONNX file take the pixel whose center is nearest."""
    model = onnx.load(path)
    for node in model.graph.node:
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if node.op_type == "Resize" and attributes["mode"].s == b"nearest":
            attributes["coordinate_transformation_mode"].s = b"half_pixel"
            attributes["nearest_mode"].s = b"round_prefer_floor"
    onnx.save(model, path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
