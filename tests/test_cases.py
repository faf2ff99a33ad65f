"""Models as people write them come out right in float32; `zoo/test_cases.py` has the other formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests import cases
from tests.one_converter import one_converter
from tests.right_cases import CASES, check_float32, exported, images


@pytest.fixture(scope="module", autouse=True)
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with one_converter(tmp_path_factory.mktemp("converter")):
        yield


def test_all_cases_are_here() -> None:
    factories = [name for name, each in vars(cases).items() if getattr(each, "__module__", "") == cases.__name__]
    assert [name for name in factories if name.islower() and not name.startswith("_")] == list(CASES)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_case_comes_out_right(name: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", input=images(name, 4))
    exported(name, tmp_path / "out", ("float32",), tmp_path / "few.npz")
    assert check_float32(name, tmp_path / "out").verdict == "pass"
