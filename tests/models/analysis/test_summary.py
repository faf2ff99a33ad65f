"""Models in figures: the JSON of `mobilekit models` is what it was when it was made of dicts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mobilekit.models.analysis.summary import summarize
from mobilekit.models.registry import find_model
from tests.conftest import ROOT


def in_any_order(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry, "options": sorted(entry["options"])}


@pytest.mark.parametrize(("name", "with_stages"), [("models.json", False), ("model.json", True)])
def test_the_json_is_what_it_was(name: str, with_stages: bool) -> None:
    (before,) = json.loads((ROOT / "tests" / "data" / "json" / name).read_text())
    now = summarize(find_model("ghostnetv2_digits"), with_stages).to_json()
    assert in_any_order(now) == in_any_order(before)
    assert list(now) == list(before)
