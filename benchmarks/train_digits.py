"""Train the small GhostNetV2 on scikit-learn's digits and write its weights.

    python benchmarks/train_digits.py [--epochs 60] [-o FILE.safetensors]

One thread, fixed seeds; the accuracy on the 360 test pictures stands in the file's metadata.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from mobilekit.models.registry import find_model
from mobilekit.models.weights import packaged_weights
from mobilekit.recipes.inputs.builtin import digits
from mobilekit.recipes.inputs.preprocess import stack
from mobilekit.recipes.load import recipe_for

SEED = 0
BATCH = 64


def shifted(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shift each picture by up to 3 pixels and turn and scale it a little, as handwriting varies."""
    count = len(batch)

    def between(low: float, high: float) -> torch.Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    angle, scale = between(-0.2, 0.2), between(0.9, 1.12)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([cos, -sin, between(-0.18, 0.18), sin, cos, between(-0.18, 0.18)], 1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, padding_mode="border", align_corners=False)


def tensors(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the pictures of a split, float32 (N, 1, 32, 32), and their classes, int64 (N)."""
    images, labels = digits(split)
    named: list[tuple[str, Image.Image]] = [(f"digit {i}", image) for i, image in enumerate(images)]
    spec = recipe_for("ghostnetv2_digits").recipe.input
    return torch.from_numpy(stack(named, spec)), torch.from_numpy(np.asarray(labels))


def train(model: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, epochs: int, peak: float = 4e-3) -> None:
    """Train with AdamW and a cosine schedule up to a learning rate of `peak`; leave the model in evaluation mode."""
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(inputs) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=steps)
    model.train()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.split(torch.randperm(len(inputs), generator=generator), BATCH):
            if len(chosen) < BATCH:
                continue
            loss = F.cross_entropy(model(shifted(inputs[chosen], generator)), labels[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1:3d}  loss {total / (len(inputs) // BATCH):.4f}", flush=True)
    model.eval()


def main() -> None:
    """Train, evaluate, and write the weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("-o", "--output", type=Path, default=packaged_weights("ghostnetv2_digits.safetensors"))
    options = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    model = find_model("ghostnetv2_digits").create()
    start = time.perf_counter()
    train(model, *tensors("train"), options.epochs)
    seconds = time.perf_counter() - start
    inputs, labels = tensors("test")
    with torch.no_grad():
        top1 = (model(inputs).argmax(1) == labels).double().mean().item()
    print(f"top-1 on {len(labels)} test pictures: {top1:.4f}, trained in {seconds:.0f} s")
    metadata = {
        "made_by": "benchmarks/train_digits.py",
        "seed": str(SEED),
        "epochs": str(options.epochs),
        "top1": f"{top1:.4f}",
        "date": datetime.date.today().isoformat(),
        "versions": f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}",
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, options.output, metadata)
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
