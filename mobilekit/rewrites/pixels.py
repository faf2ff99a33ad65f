"""The pictures of a recipe that a model crops, scales and normalizes itself."""

from __future__ import annotations

from mobilekit.models.frame import Axis, Frame
from mobilekit.models.normalization import Pixels
from mobilekit.recipes.schema import Recipe

NO_PIXELS = Pixels()


def pixels_of(recipe: Recipe) -> Pixels:
    """Return a recipe's inputs that are pictures of 0 to 255; none where files take them normalized."""
    picture, resize = recipe.input, recipe.input.resize
    if not recipe.pixels:
        return NO_PIXELS
    frame = None
    if picture.frame_parts:
        lengths = zip(picture.shape[2:], picture.sides, picture.frame_parts, strict=True)
        rows, columns = (Axis(length, size, *part) for length, size, part in lengths)
        frame = Frame(columns, rows, resize.filter, resize.antialias, resize.corners)
    return Pixels(recipe.pixels, picture.mean, picture.std, frame)
