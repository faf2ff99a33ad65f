"""A GPU for the tests that ask one: the one that is set up, or none."""

from __future__ import annotations

import pytest

from mobilekit.targets.gpu_setup import find_problem


@pytest.fixture
def gpu() -> None:
    """Skip the test where no GPU is set up."""
    if problem := find_problem():
        pytest.skip(problem.what)
