#!/usr/bin/env bash
# Pillow 13.0.0's `resize` chooses by the shapes whether it scales the height or the width first, and rounds to bytes
# between: whoever computes what it does in one order is off for some shapes.
#
# The two orders differ most where bicubic goes beyond 0 and 255 in the first pass, which is cut off there.
#
# Seen on 2026-11-30 with Pillow 13.0.0, pictures of black and white noise, bicubic to 10 x 10: of 60 rows of 30
# pixels it scales the height first, of 44 rows of 30 and of 30 rows of 60 the width; the other order differs by 3 or 4
# levels.
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
CUBIC = Image.Resampling.BICUBIC


def noise(height, width):
    return (255 * np.random.default_rng(0).integers(0, 2, (height, width))).astype(np.uint8)


def by(pixels, *sizes):
    image = Image.fromarray(pixels)
    for size in sizes:
        image = image.resize(size, CUBIC)
    return np.asarray(image).astype(int)


seen = {}
for height, width in ((60, 30), (44, 30), (30, 60)):
    pixels = noise(height, width)
    both = by(pixels, (10, 10))
    columns = by(pixels, (10, height), (10, 10))
    rows = by(pixels, (width, 10), (10, 10))
    assert abs(rows - columns).max() >= 3
    seen[height, width] = "width first" if (both == columns).all() else "height first" if (both == rows).all() else "?"
    print(f"{height} rows of {width}: {seen[height, width]}; the orders differ by up to {abs(rows - columns).max()} levels")
assert list(seen.values()) == ["height first", "width first", "width first"]
print("as described")
PYTHON
