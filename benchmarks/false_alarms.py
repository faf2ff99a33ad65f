"""How often a sound file of a small net fails: random nets of random weights, exported and judged.

    python -m benchmarks.false_alarms [SIZE...]

The nets of one size are the branches of one model, each with an output of its own that is judged by itself: so one
conversion serves 50. Every file here is sound, and each row that fails is a false alarm.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

import mobilekit
from mobilekit.parity.ledger.result import Row, ledger_of

SIZES = (16, 32, 64, 224)
NETS = 50
_RECIPE = """\
input: {{size: {size}}}
precision: [float32, float16]
calibration: {{count: 8}}
rewrites: [{{name: fold-batch-norm}}]
"""


def nets_of_16() -> nn.Module:
    """Return the nets that take 16 x 16 pixels."""
    return Nets(16)


def nets_of_32() -> nn.Module:
    """Return the nets that take 32 x 32 pixels."""
    return Nets(32)


def nets_of_64() -> nn.Module:
    """Return the nets that take 64 x 64 pixels."""
    return Nets(64)


def nets_of_224() -> nn.Module:
    """Return the nets that take 224 x 224 pixels."""
    return Nets(224)


class Nets(nn.Module):
    """Random nets side by side.

    Args:
        size: Height and width of the input.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.nets = nn.ModuleList(_net(random.Random(f"{size} {number}"), size) for number in range(NETS))  # noqa: S311

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return each net's output."""
        return tuple(net(x) for net in self.nets)


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


def _net(draw: random.Random, size: int) -> nn.Module:
    """Return a net of one to three convolutions, a pooling and a dense layer, with or without its usual parts."""
    channels, stride = draw.choice([4, 8, 16]), draw.choice([1, 2])
    layers: list[nn.Module] = [nn.Conv2d(3, channels, draw.choice([1, 3, 5]), stride)]
    for _ in range(draw.randrange(3)):
        layers += [nn.BatchNorm2d(channels)] if draw.random() < 0.5 else []
        layers.append(draw.choice([nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Sigmoid])())
        groups = draw.choice([1, channels])
        layers.append(nn.Conv2d(channels, channels, draw.choice([1, 3]), padding=1, groups=groups))
    layers += [draw.choice([nn.ReLU, nn.Identity])()]
    if size <= 64 and draw.random() < 0.3:
        with torch.no_grad():
            values = nn.Sequential(*layers).eval()(torch.zeros(1, 3, size, size)).numel()
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(values, draw.choice([1, 4, 10])))
    layers += draw.choice([[_Mean()], [nn.AdaptiveAvgPool2d(1), nn.Flatten()]])
    return nn.Sequential(*layers, *([nn.Linear(channels, draw.choice([1, 4, 10]))] if draw.random() < 0.7 else []))


def judge(size: int, folder: Path) -> tuple[Row, ...]:
    """Export the nets of a size, and return all comparisons."""
    recipe = folder / "recipe.yaml"
    recipe.write_text(_RECIPE.format(size=size))
    model = f"{Path(__file__).resolve()}:nets_of_{size}"
    return ledger_of(mobilekit.export(model, recipe=recipe, output=folder / "bundle", cache=False)).rows


def main() -> None:
    """Print the false alarms, and how much of its budget the worst of the others takes."""
    torch.set_num_threads(1)
    for size in map(int, sys.argv[1:] or SIZES):
        with TemporaryDirectory() as folder:
            rows = judge(size, Path(folder))
        shares = {"max_error_eps": 0.0, "max_abs": 0.0, "relative_l2": 0.0}
        for limit in (each for row in rows for each in (*row.limits, *row.random_limits) if each.metric in shares):
            shares[limit.metric] = max(shares[limit.metric], limit.value / limit.limit)
        wrong = [row.place for row in rows if row.verdict == "fail"]
        used = ", ".join(f"{name} {share:.2f}" for name, share in shares.items())
        print(f"{size}: {NETS} nets, {len(rows)} comparisons, {len(wrong)} false alarms; most of a limit: {used}")
        for place in wrong:
            print(f"  {place}")


if __name__ == "__main__":
    main()
