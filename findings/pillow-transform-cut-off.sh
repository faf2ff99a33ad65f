#!/usr/bin/env bash
# Pillow 13.0.0's `transform` and `rotate` cut fractions off where `resize` rounds: pictures come out half a level darker.
#
# Of pictures in bytes, BILINEAR of `Image.transform` (EXTENT, AFFINE and so on, and `rotate`, which is made of it) is the
# floor of what the same call gives for the picture in floats (mode F), in all pixels. BICUBIC is as well, where it stays
# within 0 and 255. The loss adds up over calls, as where training pictures are turned and then scaled. `resize` rounds
# to the nearest level. A picture of one gray stays what it is.
#
# Seen on 2026-11-30 with Pillow 13.0.0, on noise: EXTENT and `rotate` are 0.50 of a level darker in the mean, BILINEAR and
# BICUBIC, and `resize` with the same box 0.005 off. A gray ramp turned 36 times by 10 degrees is 18 levels darker.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pillow==13.0.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import numpy as np
from PIL import Image

print({name: version(name) for name in ("pillow", "numpy")})
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8))
BOX, SIZE, FILTERS = (3.3, 5.7, 90.9, 101.2), (192, 160), (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)


def bilinear(pixels):
    """Return the box in the other size in float64, centers of pixels mapped to centers."""
    places = [(np.arange(n) + 0.5) * (end - start) / n + start - 0.5 for n, start, end in zip(SIZE, BOX[:2], BOX[2:])]
    (x, y), (i, j) = places, (place.astype(int) for place in places)
    x, y = x - i, (y - j)[:, None]
    top, bottom = (pixels[j + n][:, i] * (1 - x) + pixels[j + n][:, i + 1] * x for n in (0, 1))
    return top * (1 - y) + bottom * y


def compare(name, call):
    """Return how much brighter bytes come out than floats, and which share of them is the floor."""
    made, exact = (np.asarray(call(NOISE.convert(mode)), np.float64) for mode in ("L", "F"))
    inside = (exact > 0) & (exact < 255)  # bicubic goes beyond, and rotate leaves corners empty
    brighter = float((made - exact)[inside].mean())
    is_floor = float((made == np.floor(exact))[inside].mean())
    print(f"{name}: {brighter:+.3f} levels in the mean, {is_floor:.1%} are the floor")
    return brighter, is_floor


exact = bilinear(np.asarray(NOISE, np.float64))
assert np.abs(np.asarray(NOISE.convert("F").transform(SIZE, Image.Transform.EXTENT, BOX, FILTERS[0])) - exact).max() < 1e-3
for kind in FILTERS:
    for name, call in (
        ("transform", lambda image: image.transform(SIZE, Image.Transform.EXTENT, BOX, kind)),
        ("rotate", lambda image: image.rotate(10, kind)),
    ):
        brighter, is_floor = compare(f"{name} {kind.name}", call)
        assert -0.55 < brighter < -0.4 and is_floor > 0.999
    brighter, is_floor = compare(f"resize {kind.name}", lambda image: image.resize(SIZE, kind, BOX))
    assert abs(brighter) < 0.05 and is_floor < 0.6
ramp = Image.fromarray((np.add.outer(np.arange(256), np.arange(256)) // 2).astype(np.uint8))
turned = ramp
for _ in range(36):
    turned = turned.rotate(10, FILTERS[1])
middle = (slice(100, 156), slice(100, 156))
lost = float((np.asarray(ramp, np.float64) - np.asarray(turned))[middle].mean())
print(f"a ramp turned 36 times by 10 degrees: {lost:.1f} levels darker in the middle")
assert 15 < lost < 20
assert (np.asarray(Image.new("L", (64, 64), 200).rotate(10, FILTERS[0]))[20:44, 20:44] == 200).all()
print("as described")
PYTHON
