"""What plots have in common: their kinds, and how they are written."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError
from mobilekit.store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
_DPI = 110
_MOST_PIXELS = 60_000  # of a side; the renderer takes fewer than 2^16
_WITHOUT_DATES: Mapping[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def check_place(path: Path) -> None:
    """Refuse a file of a kind that is not drawn, or in a directory that is not there.

    Raises:
        UsageError: The suffix is neither .png nor .svg, or there is no such directory.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is neither .png nor .svg.", "Give the plot one of these suffixes.")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}.", "Make it, or choose another place.")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one go, as the kind that its suffix says.

    Raises:
        UsageError: As `check_place` raises.
    """
    check_place(path)
    write_atomic(path, _drawn(figure, path.suffix.lower().removeprefix(".")))


def _drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as `png` or `svg`; the same figure gives the same bytes."""
    from matplotlib import rc_context

    image = io.BytesIO()
    dpi = min(_DPI, _MOST_PIXELS / max(figure.get_size_inches()))
    with rc_context({"svg.hashsalt": "mobilekit"}):
        figure.savefig(image, format=kind, dpi=dpi, metadata=_WITHOUT_DATES if kind == "svg" else None)
    return image.getvalue()
