"""Models as people write them in all formats; `tests/test_cases.py` has their float32 files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilekit.cli.findings import findings_of
from mobilekit.store.stages import DEFAULT_PRECISIONS, Stage
from tests.one_converter import one_converter
from tests.right_cases import CASES, check_float32, exported


@pytest.fixture(scope="module", autouse=True)
def converter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with one_converter(tmp_path_factory.mktemp("converter")):
        yield


@pytest.mark.parametrize("name", CASES)
def test_a_case_in_all_formats(name: str, tmp_path: Path) -> None:
    """Float files are right. int8 is made, and is right or fails with its cause and the way out."""
    exported(name, tmp_path / "out", DEFAULT_PRECISIONS)
    ledger = check_float32(name, tmp_path / "out")
    assert not ledger.failed_stages
    wrong = [finding for finding in findings_of(ledger) if finding.level == "error"]
    assert {finding.stage for finding in wrong} <= {Stage.TFLITE_INT8}
    assert bool(wrong) is bool(CASES[name].int8), [finding.text for finding in wrong]
    assert any(CASES[name].int8 in finding.advice for finding in wrong) or not wrong
