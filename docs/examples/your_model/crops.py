"""What MTCNN's second network sees: crops of 24 x 24 pixels around what the first takes for faces.

python docs/examples/your_model/crops.py own

Of one half of the photos for calibration, of the other half to measure on, each as an .npz of bytes.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from faces import make_pnet
from PIL import Image

SHORTER_SIDES = (48, 72, 108, 162, 243)
"""To which photos are scaled, so that faces of several sizes are about 12 pixels, for which the first network looks."""
CELL, STRIDE, SIDE = 12, 2, 24
SURE = 0.6
MOST = 12
"""Crops of one photo in one size."""


def proposals(net: torch.nn.Module, photo: Image.Image) -> list[np.ndarray]:
    """Return crops (24, 24, 3) of a photo, bytes, the likeliest faces of each size first."""
    found = []
    for shorter in SHORTER_SIDES:
        scale = shorter / min(photo.size)
        small = photo.resize((round(photo.width * scale), round(photo.height * scale)), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1).permute(2, 0, 1)[None]
        with torch.no_grad():
            scores = net(pixels)["faces"][0, 1]
        for place in scores.flatten().argsort(descending=True)[:MOST]:
            row, column = divmod(int(place), scores.shape[1])
            if scores[row, column] > SURE:
                left, top = column * STRIDE / scale, row * STRIDE / scale
                box = (left, top, min(left + CELL / scale, photo.width), min(top + CELL / scale, photo.height))
                found.append(np.asarray(photo.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box)))
    return found


def main(folder: Path) -> None:
    """Write `crops_calibration.npz` and `crops_test.npz` into the folder that get.py has made."""
    net = make_pnet().eval()
    net.load_state_dict(torch.load(folder / "facenet_pytorch" / "data" / "pnet.pt", weights_only=True))
    photos = sorted((folder / "photos").glob("*.jpg"))
    for name, chosen in (("calibration", photos[::2]), ("test", photos[1::2])):
        crops = [crop for path in chosen for crop in proposals(net, Image.open(path).convert("RGB"))]
        np.savez(folder / f"crops_{name}.npz", input=np.stack(crops).transpose(0, 3, 1, 2))
        print(f"{len(crops)} crops for {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
