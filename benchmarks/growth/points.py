"""The models and sizes at which cost is measured, and what converts them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import environments, tools
from benchmarks.peers.conversions import Cost, run
from mobilekit.models.analysis.macs import count_macs, count_params
from mobilekit.models.registry import find_model
from mobilekit.recipes.load import recipe_for
from mobilekit.store.files import sha256_of_json, write_json
from mobilekit.store.stages import Stage
from mobilekit.store.versions import source_digest, tool_versions

WORK = environments.FOLDER / "growth"
SIZE = 224
SIZES = (128, 224, 320, 512)
FAMILIES: dict[str, tuple[str, ...]] = {
    "ghostnetv2": ("ghostnetv2", "ghostnetv2_160"),
    "ghostnet": ("ghostnet_050", "ghostnet", "ghostnet_130"),
    "efficientvit": ("efficientvit_b0", "efficientvit_b1", "efficientvit_b2"),
    "shufflenet": ("shufflenet_050", "shufflenet", "shufflenet_200"),
}
"""Models by width. The one whose size is varied is `VARIED`."""
VARIED = {
    "ghostnetv2": "ghostnetv2",
    "ghostnet": "ghostnet",
    "efficientvit": "efficientvit_b1",
    "shufflenet": "shufflenet",
}
OURS, PEER = "mobilekit", "onnx2tf"
TOOLS = (OURS, PEER)


@dataclass(frozen=True)
class Point:
    """One model at one size."""

    family: str
    model: str
    size: int

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return WORK / f"{self.model}-{self.size}"

    def file(self, tool: str) -> Path:
        """Return a tool's float32 file."""
        return self.folder / ("bundle/model.float32.tflite" if tool == OURS else "out/model_float32.tflite")

    @property
    def is_current(self) -> bool:
        """Whether it is converted by the recipe, rewrites and tools of today."""
        return (self.folder / "record.json").exists() and bool(self.record["key"] == _key(self))

    @property
    def record(self) -> dict[str, Any]:
        """What the conversions took, and how large the model is."""
        content: dict[str, Any] = json.loads((self.folder / "record.json").read_text())
        return content


def points_of(families: tuple[str, ...]) -> list[Point]:
    """Return all points: each family's widths at one size, and one model of it at all sizes."""
    found = []
    for family in families:
        found += [Point(family, model, SIZE) for model in FAMILIES[family]]
        found += [Point(family, VARIED[family], size) for size in SIZES if size != SIZE]
    return found


def convert(point: Point) -> None:
    """Export with mobilekit, convert the same weights with the other tool, and note what both took; once."""
    if point.is_current:
        return
    key = _key(point)
    print(f"converting {point.model} at {point.size}", flush=True)
    shutil.rmtree(point.folder, ignore_errors=True)
    point.folder.mkdir(parents=True)
    export = ["export", point.model, "--input-size", str(point.size), "--precision", "float32", "--no-cache"]
    ours = run([[str(environments.python(environments.OWN)), "-m", "mobilekit", *export, "-o", "bundle"]], point.folder)
    np.save(point.folder / "calibration.npy", np.zeros((1, 3, 1, 1), np.float32))  # float32 needs none
    network = {
        "model": point.model,
        "weights": str(point.folder / "bundle" / Stage.REFERENCE.file),
        "size": point.size,
        "calibration": str(point.folder / "calibration.npy"),
    }
    by_hand = [str(environments.python(environments.OWN).parent / "onnx2tf"), "-i", "model.onnx", "-o", "out", "-n"]
    peer = run([tools.request("onnx2tf_peer", environments.OWN, "convert", network), by_hand], point.folder)
    model = find_model(point.model).create()
    write_json(
        point.folder / "record.json",
        {
            "key": key,
            "params": count_params(model),
            "macs": count_macs(model, (1, 3, point.size, point.size)),
            OURS: _cost(ours, point.file(OURS)),
            PEER: _cost(peer, point.file(PEER)),
        },
    )


def _cost(cost: Cost, file: Path) -> dict[str, Any]:
    if not file.exists():
        raise SystemExit(f"{file} was not made: {cost.problem}")
    return {"seconds": cost.seconds, "memory_mb": cost.memory_mb}


def _key(point: Point) -> str:
    return sha256_of_json(
        {
            "recipe": recipe_for(point.model).recipe.model_dump(mode="json"),
            "sources": source_digest(["rewrites/**/*.py", "convert/**/*.py", "models/**/*.py"]),
            "tools": tool_versions(),
        }
    )
