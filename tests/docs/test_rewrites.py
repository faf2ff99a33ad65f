"""docs/rewrites.md says what the tool does."""

from __future__ import annotations

import re

from mobilekit.recipes.load import load_recipe
from mobilekit.rewrites.base import Exactness
from mobilekit.rewrites.catalogue import REWRITES, steps_of
from tests.conftest import ROOT

TEXT = (ROOT / "docs" / "rewrites.md").read_text()


def test_the_table_has_every_rewrite_that_costs_accuracy() -> None:
    section = TEXT.split("<!-- benchmarks/rewrites_accuracy.py -->")[1].split("<!-- end -->")[0]
    named = set(re.findall(r"`([a-z0-9-]+)`", section))
    assert named == {name for name, rewrite in REWRITES.items() if not rewrite.exactness.is_proved}
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    assert rows[0] == ["rewrite", "sites", "drift", "same", "top-1", "tuned: drift", "tuned: same", "tuned: top-1"]
    for label, sites, drift, *shares in rows[2:]:
        assert sites.isdecimal() != label.endswith("none")
        assert float(drift) >= 0
        assert all(0 <= float(share.rstrip("%")) <= 100 for share in (*shares[:2], *shares[3:]))


def test_every_exactness_is_explained() -> None:
    assert all(f"| `{exactness.value}` |" in TEXT for exactness in Exactness)


def test_the_examples_recipe_is_valid() -> None:
    loaded = load_recipe(str(ROOT / "docs" / "examples" / "hard_gates.yaml"))
    assert [step.name for step in steps_of(loaded)] == ["hard-sigmoid"]
