"""PyTorch programs of a bundle's models: what is lowered without a file of ours, rewritten or as it is."""

from __future__ import annotations

from pathlib import Path

import torch

from mobilekit.jobs.bundle_models import models_of_bundle, recipe_of_bundle
from mobilekit.models.inputs import zeros
from mobilekit.store.bundle import open_bundle

PROGRAMS = ("rewritten.pt2", "reference.pt2")


def program_of(bundle: Path, name: str, folder: Path) -> Path:
    """Return an exported program of a bundle's model, which takes one image; it is made where it is not there.

    Args:
        bundle: The bundle's path.
        name: Of `PROGRAMS`.
        folder: The program lies in a folder of the bundle's name there.
    """
    path = folder / bundle.name / name
    if path.is_file():
        return path
    opened = open_bundle(bundle)
    loaded = recipe_of_bundle(opened)
    reference, rewritten = models_of_bundle(opened, loaded)
    model = reference if name == "reference.pt2" else rewritten.graph
    path.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        torch.export.save(torch.export.export(model.eval(), tuple(zeros(loaded.recipe.shapes).values())), path)
    return path
