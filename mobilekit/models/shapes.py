"""Shapes of what a model takes, by the names of its inputs."""

from __future__ import annotations

from mobilekit.store.bundle import INPUT

Shapes = dict[str, tuple[int, ...]]


def resized(shapes: Shapes, image: tuple[int, ...]) -> Shapes:
    """Return the shapes of inputs with an image of another shape, (N, C, H, W).

    Inputs of the same height and width follow it, and all inputs have its batch.
    """
    size = shapes[INPUT][2:]

    def follow(own: tuple[int, ...]) -> tuple[int, ...]:
        rest = (*own[1:-2], *image[2:]) if len(own) > 2 and own[-2:] == size else own[1:]
        return (image[0], *rest)

    return {name: follow(own) for name, own in shapes.items()}


def describe_shapes(shapes: Shapes) -> str:
    """Return the shapes in words, without the batch: `an input of 3x96x96, mask of 1x96x96`."""
    sizes = {name: "x".join(map(str, shape[1:])) for name, shape in shapes.items()}
    return ", ".join(f"{'an input' if name == INPUT else name} of {size}" for name, size in sizes.items())
