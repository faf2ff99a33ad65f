"""The bundles of whole models: those in MOBILEKIT_BUNDLES, or made here.

`make test-zoo` runs these tests. MOBILEKIT_ZOO names the models, all families without; MOBILEKIT_ZOO_SIZE is the size
of the pictures in bundles that are made here, the recipes' own without.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilekit.store.bundle import MANIFEST
from tests.conftest import Shared
from tests.zoo import SIZE

Bundles = Callable[[str], Path]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.zoo)


@pytest.fixture(scope="session")
def bundle_of(shared_bundle: Shared) -> Bundles:
    """Return a model's bundle, in all formats; tests must not change it."""
    given = os.environ.get("MOBILEKIT_BUNDLES")

    def find(model: str) -> Path:
        if given and (Path(given) / model / MANIFEST).exists():
            return Path(given).absolute() / model
        return shared_bundle(model, model, *(["--input-size", SIZE] if SIZE else []))

    return find


@pytest.fixture
def bundle(model: str, bundle_of: Bundles) -> Path:
    """The bundle of the model that the test is about."""
    return bundle_of(model)
