"""What pictures have in common: their kinds, and how they are written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import UsageError
from mobilekit.store.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
_DPI = 110


def check_suffix(path: Path) -> None:
    """Refuse a file of a kind that is not drawn.

    Raises:
        UsageError: The suffix is neither .png nor .svg.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path} is neither .png nor .svg.", "Give the plot one of these suffixes.")


def save(figure: Figure, path: Path) -> None:
    """Write a figure in one go, as the kind that its suffix says."""
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.lower().removeprefix("."), dpi=_DPI)
    write_atomic(path, picture.getvalue())
