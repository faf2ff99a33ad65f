"""A small network on pictures that are not square: which of four marks is painted on them. It trains in seconds.

python docs/examples/your_model/marks.py own
mobilekit export docs/examples/your_model/marks.py:make --weights own/marks.pt --input-size 48x96 --crop 1
    --mean 0.5 --std 0.5 --calibration own/marks/train --inputs own/marks/test
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn

CLASSES = ("bar", "cross", "ring", "wedge")
HEIGHT, WIDTH = 48, 96
EPOCHS = 12


def make() -> nn.Module:
    """Return the network, for pictures (N, 3, 48, 96) of -1 to 1; mobilekit calls this."""
    layers: list[nn.Module] = []
    for inner, outer, stride in ((3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 64, 2)):
        layers += [nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.Hardswish()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, len(CLASSES)))


def paint(name: str, draw: np.random.Generator) -> Image.Image:
    """Return a noisy picture with one mark of any color, size and place."""
    noise = draw.integers(40, 216, (HEIGHT, WIDTH, 3), np.uint8)
    picture = Image.fromarray(noise)
    canvas, color = ImageDraw.Draw(picture), tuple(map(int, draw.integers(0, 256, 3)))
    size = int(draw.integers(9, 20))
    x, y = int(draw.integers(size, WIDTH - size)), int(draw.integers(size, HEIGHT - size))
    box = (x - size, y - size, x + size, y + size)
    if name == "bar":
        canvas.line((x - size, y, x + size, y), color, 4)
    elif name == "cross":
        canvas.line(box, color, 4)
        canvas.line((x - size, y + size, x + size, y - size), color, 4)
    elif name == "ring":
        canvas.ellipse(box, outline=color, width=4)
    else:
        canvas.line((x - size, y - size, x, y + size, x + size, y - size), color, 4)
    return picture


def write(folder: Path, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Write `count` pictures of each class, in a folder for each, and return them with their classes."""
    draw, pixels, labels = np.random.default_rng(seed), [], []
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            picture = paint(name, draw)
            picture.save(folder / name / f"{number:03d}.png")
            pixels.append(np.asarray(picture, np.float32).transpose(2, 0, 1) / 127.5 - 1)
            labels.append(label)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)


def main(folder: Path) -> None:
    """Write pictures to `marks`, train the network on those of `marks/train`, and save it as `marks.pt`."""
    torch.manual_seed(0)
    pictures, labels = write(folder / "marks" / "train", 250, seed=0)
    test_pictures, test_labels = write(folder / "marks" / "test", 50, seed=1)
    net = make()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pictures)).split(32):
            loss = nn.functional.cross_entropy(net(pictures[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.no_grad():
        right = float((net(test_pictures).argmax(1) == test_labels).float().mean())
    torch.save(net.state_dict(), folder / "marks.pt")
    print(f"top-1 on {len(test_labels)} other pictures: {100 * right:.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
