"""Draw pages of `mobilekit report` as pictures, with a chromium that is on PATH.

.venv/bin/python -m benchmarks.report_pictures sweep.html docs/report_sweep.png
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path
from typing import Literal

from PIL import Image

from mobilekit.store.files import write_atomic

WIDTH = 1280  # pixels
COLORS = 128  # of a picture: text and lines need few, and take a third of the bytes then


def main() -> None:
    """Draw one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path, help="PNG")
    parser.add_argument("--height", type=int, default=1100, help="pixels from the top; %(default)s without")
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    drawn = draw(asked.page, asked.height, "dark" if asked.dark else "light")
    write_atomic(asked.picture, drawn)
    print(f"{asked.picture}: {len(drawn) / 1000:.0f} kB")


def draw(page: Path, height: int, scheme: Literal["light", "dark"]) -> bytes:
    """Return the upper part of a page as PNG.

    Args:
        page: HTML.
        height: Of the part, in pixels.
        scheme: `light` or `dark`.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=scheme)
        shown.goto(page.resolve().as_uri())
        shown.wait_for_selector(".chart svg")
        image = Image.open(io.BytesIO(shown.screenshot()))
        browser.close()
    packed = io.BytesIO()
    image.convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        packed, "PNG", optimize=True
    )
    return packed.getvalue()


if __name__ == "__main__":
    main()
