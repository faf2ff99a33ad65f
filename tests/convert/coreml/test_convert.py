"""Packages of small nets: what their programs hold. What they compute only a Mac can tell, and nothing here does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mobilekit.artifacts.coreml.environment import start
from mobilekit.artifacts.coreml.package import MANIFEST, read_package
from mobilekit.convert.coreml import convert as converting
from mobilekit.errors import ToolError
from mobilekit.store.files import sha256_of
from tests.core_ml import constants, converted
from tests.programs import Kept
from tests.tiny import make_tiny

SHAPE = (1, 3, 8, 8)
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_process")]


@pytest.fixture(scope="module")
def process(coremltools: None) -> Iterator[Kept]:
    """What converts, for all tests here."""
    kept = Kept(start(converting._WORKER))
    yield kept
    kept.end()


@pytest.fixture
def one_process(process: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "start", lambda _module: process)


class Lossy(nn.Module):
    """What coremltools 9 loses without our forms, and outputs that are called as steps inside are."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.conv(x)
        summed = torch.add(x, x.sigmoid(), alpha=3)
        bent = F.gelu(torch.sub(summed, x.tanh(), alpha=0.25), approximate="tanh")
        small = F.interpolate(bent, (5, 5), mode="bilinear", antialias=True)
        return {"conv2d": torch.ops.aten.slice.Tensor(small, 1, 0, 9), "sigmoid": summed.relu()}


def test_what_would_be_lost_is_in_the_program(tmp_path: Path) -> None:
    found = converted(Lossy(), SHAPE, tmp_path)
    ops, numbers = found.ops, constants(tmp_path / "net.mlpackage")
    assert not {"gelu", "upsample_bilinear", "slice_by_index"} & {*ops}
    assert (ops["sigmoid"], ops["sub"], ops["tanh"]) == (1, 1, 2)
    scalars = {float(each) for each in numbers.values() if each.shape == ()}
    assert {3.0, 0.25, 0.5, float(np.float16(0.044715)), float(np.float16(np.sqrt(2 / np.pi)))} <= scalars
    maps = [each for each in numbers.values() if each.shape in ((5, 8), (8, 5))]
    assert maps and all(each.sum() == pytest.approx(5, abs=0.01) for each in maps)


def test_ends_have_their_names_and_formats(tmp_path: Path) -> None:
    found = converted(Lossy(), SHAPE, tmp_path)
    assert [(each.name, each.shape, each.dtype) for each in found.inputs] == [("input", SHAPE, "float32")]
    outputs = [(each.name, each.shape, each.dtype) for each in found.outputs]
    assert outputs == [("conv2d", (1, 4, 5, 5), "float32"), ("sigmoid", (1, 4, 8, 8), "float32")]
    names = [made.name for step in found.steps for made in step.outputs]
    assert len(names) == len({*names})
    inside = {made.dtype for step in found.steps for made in step.outputs} - {"float32"}
    assert inside == {"float16"}


def test_weights_are_those_of_the_model_rounded_to_float16(tmp_path: Path) -> None:
    net = make_tiny()
    net.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
    found = converted(net, SHAPE, tmp_path)
    assert found.ops == {"conv": 3, "cast": 2, "relu": 2, "add": 1, "reduce_mean": 1, "linear": 1}
    held = [each for each in constants(tmp_path / "net.mlpackage").values() if each.dtype == np.float16]
    for name, weight in net.state_dict().items():
        rounded = weight.numpy().astype(np.float16)
        assert any(each.shape == rounded.shape and np.array_equal(each, rounded) for each in held), name


def test_two_conversions_are_the_same_bytes_and_another_target_is_told(tmp_path: Path) -> None:
    digests, net = [], make_tiny()
    for name, target in (("a", "iOS15"), ("b", "iOS15"), ("c", "iOS17")):
        (tmp_path / name).mkdir()
        found = converted(net, SHAPE, tmp_path / name, target)
        assert found.target == target
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append([(str(path.relative_to(tmp_path / name)), sha256_of(path)) for path in files])
    assert digests[0] == digests[1] != digests[2]
    assert [name for name, _ in digests[0]] == [
        "net.mlpackage/Data/com.apple.CoreML/model.mlmodel",
        "net.mlpackage/Data/com.apple.CoreML/weights/weight.bin",
        "net.mlpackage/Manifest.json",
    ]


class Unknown(nn.Module):
    """A step that coremltools 9 does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.celu(x, 2.0)


class Same(nn.Module):
    """Two outputs that are one."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.relu()
        return x, x


@pytest.mark.parametrize(
    ("net", "reason"),
    [(Unknown(), "NotImplementedError: Unsupported fx node celu, kind celu"), (Same(), "two outputs are one tensor")],
)
def test_what_is_refused_is_told_and_leaves_nothing(net: nn.Module, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=f"coremltools does not convert the model: .*{reason}"):
        converted(net, SHAPE, tmp_path)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("lost", [MANIFEST, "Data/com.apple.CoreML/weights/weight.bin"])
def test_a_package_that_lacks_a_file_is_refused(lost: str, tmp_path: Path) -> None:
    converted(Lossy(), SHAPE, tmp_path)
    package = tmp_path / "net.mlpackage"
    assert read_package(package).target == "iOS15"
    (package / lost).unlink()
    with pytest.raises(ToolError, match=r"net\.mlpackage is not a whole Core ML package"):
        read_package(package)
