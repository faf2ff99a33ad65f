"""All inputs of a model by name: pictures, and what a recipe's `extra_inputs` puts beside them."""

from __future__ import annotations

import numpy as np

from mobilekit.recipes.inputs.preprocess import Array, Arrays
from mobilekit.recipes.schema import Recipe
from mobilekit.store.bundle import INPUT

_SEED = 1


def with_extras(pictures: Array, recipe: Recipe) -> Arrays:
    """Return pictures as the first input, and as many of each extra one.

    An extra input that is a picture has the same ones in another order: moved by one place for the first such input,
    by two for the second. Any other has seeded values. As many of these as the recipe calibrates on are made, and they
    repeat: what int8 is measured on stays within the ranges that it was calibrated for, however few values there are.

    Args:
        pictures: float32 (N, C, H, W).
        recipe: Describes the inputs.
    """
    arrays = {INPUT: pictures}
    places = 0
    for name, extra in recipe.extra_inputs.items():
        if extra.like:
            places += 1
            arrays[name] = np.roll(pictures, -places, axis=0)
        else:
            values = _draw(name, recipe, recipe.calibration.count, _SEED)
            arrays[name] = np.resize(values, (len(pictures), *values.shape[1:]))
    return arrays


def random_inputs(recipe: Recipe, count: int = 4, seed: int = 0) -> Arrays:
    """Return random values for all inputs, float32 (count, ...): standard normal, or uniform in an input's range.

    Bytes are those of which normalization makes standard normal values, as near as they come to them.
    """
    pictures = np.random.default_rng(seed).standard_normal((count, *recipe.input.shape[1:]), dtype=np.float32)
    arrays = {INPUT: pictures, **{name: _draw(name, recipe, count, seed) for name in recipe.extra_inputs}}
    return arrays | {name: _as_bytes(arrays[name], recipe) for name in recipe.pixels}


def _as_bytes(normal: Array, recipe: Recipe) -> Array:
    mean, std = (np.array(values, np.float32).reshape(-1, 1, 1) for values in (recipe.input.mean, recipe.input.std))
    return np.clip(np.round(255 * (normal * std + mean)), 0, 255)


def _draw(name: str, recipe: Recipe, count: int, seed: int) -> Array:
    """Return seeded random values of one extra input, float32 (count, ...); each name has its own."""
    generator = np.random.default_rng([seed, *name.encode()])
    shape, limits = (count, *recipe.shapes[name][1:]), recipe.extra_inputs[name].range
    if limits is None:
        return generator.standard_normal(shape, dtype=np.float32)
    return generator.uniform(*limits, shape).astype(np.float32)
