"""Renderings compared whole with what is kept beside the tests.

`MOBILEKIT_RENEW_SNAPSHOTS=1 pytest FILE` writes them anew; read the difference before it is committed.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

from rich.console import Console, RenderableType

FOLDER = Path(__file__).parent / "cli" / "render" / "snapshots"
RENEW = "MOBILEKIT_RENEW_SNAPSHOTS"


def check_snapshot(name: str, text: str, folder: Path = FOLDER) -> None:
    """Compare a rendering with the file of this name in a folder.

    Args:
        name: File name, such as `bench.md`.
        text: The whole rendering; it must not hold what differs from run to run.
        folder: tests/cli/render/snapshots without.
    """
    path = folder / name
    if os.environ.get(RENEW):
        folder.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"there is no snapshot {name} yet: {RENEW}=1 makes it"
    assert text == path.read_text(encoding="utf-8"), f"{name} is another: {RENEW}=1 renews it"


def on_terminal(*renderables: RenderableType, width: int = 120) -> str:
    """Return what a terminal of this width shows of renderables, without colors; trailing blanks are cut."""
    file = io.StringIO()
    options = {"soft_wrap": True, "highlight": False, "markup": False, "emoji": False, "color_system": None}
    console = Console(file=file, width=width, **options)
    for renderable in renderables:
        console.print(renderable)
    return "\n".join(line.rstrip() for line in file.getvalue().split("\n"))
