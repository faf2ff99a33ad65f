"""A GhostNetV2 0.25 that is trained on some of CIFAR-10's pictures, and the others to measure it on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.int8_accuracy.measure import Arrays

RECIPE = Path(__file__).with_name("cifar.yaml")
_TRAINED_ON = 800
_EPOCHS = 60


@dataclass(frozen=True)
class Cifar:
    """Pictures, uint8 (N, 32, 32, 3), and their classes, int64 (N,)."""

    train: Arrays
    train_labels: Arrays
    test: Arrays
    test_labels: Arrays


def read(file: Path) -> Cifar:
    """Return the pictures of an .npz: `x` uint8 (N, 32, 32, 3) and `y` (N,), at least 1,000; the last are for tests."""
    with np.load(file) as arrays:
        images, labels = arrays["x"], arrays["y"].astype(np.int64)
    return Cifar(images[:_TRAINED_ON], labels[:_TRAINED_ON], images[_TRAINED_ON:], labels[_TRAINED_ON:])


def trained(pictures: Cifar, weights: Path) -> Any:
    """Return the network in PyTorch with its weights, which are made where there are none."""
    import torch
    from safetensors.torch import load_file, save_file

    from benchmarks.train_digits import SEED, train
    from mobilekit.models.registry import find_model
    from mobilekit.recipes.load import load_recipe

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    network = find_model("ghostnetv2").create(**load_recipe(str(RECIPE)).recipe.model_options)
    if not weights.exists():
        inputs = torch.from_numpy(pictures.train.transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)
        mirrored = torch.cat([inputs, inputs.flip(3)])
        train(network, mirrored, torch.from_numpy(pictures.train_labels).repeat(2), _EPOCHS)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, weights)
    network.load_state_dict(load_file(weights))
    return network
