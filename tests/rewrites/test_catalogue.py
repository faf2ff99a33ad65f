"""A rewrite is one file, which is found by looking."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilekit.recipes.builtin import builtin_recipes
from mobilekit.recipes.load import load_recipe
from mobilekit.rewrites import rules
from mobilekit.rewrites.catalogue import REWRITES, load_rule
from mobilekit.rewrites.names import own_names

Drop = Callable[[str, str], None]
RULE = """
from mobilekit.rewrites.base import Exactness, Options
from mobilekit.rewrites.rules.fold_batch_norm import FoldBatchNorm
from mobilekit.rewrites.shared.activations import ActivationSwap

class Dropped(FoldBatchNorm):
    name = "dropped-in"
"""


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Drop:
    """Lay a file beside the rules."""
    monkeypatch.setattr(rules, "__path__", [*rules.__path__, str(tmp_path)])

    def put(name: str, text: str) -> None:
        (tmp_path / name).write_text(text)
        monkeypatch.delitem(sys.modules, f"{rules.__name__}.{Path(name).stem}", raising=False)

    return put


def test_a_rules_file_is_named_as_its_rewrite() -> None:
    assert list(REWRITES) == own_names() == sorted(REWRITES)
    for name, kind in REWRITES.items():
        assert kind.name == name
        assert kind.__module__ == f"{rules.__name__}.{name.replace('-', '_')}"


def test_a_file_that_is_dropped_in_is_found(drop: Drop) -> None:
    drop("dropped_in.py", RULE)
    assert own_names() == sorted([*REWRITES, "dropped-in"])
    assert load_rule("dropped-in").__name__ == "Dropped"


def test_a_rewrite_in_no_shipped_recipe_is_experimental_and_no_other() -> None:
    texts = builtin_recipes()
    shipped = {step.name for name in texts for step in load_recipe(name).recipe.rewrites}
    assert {name for name, kind in REWRITES.items() if kind.experimental} == set(REWRITES) - shipped
    for kind in REWRITES.values():
        assert not kind.experimental or re.search(r"; right .*\.$", kind.experimental)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("", "none"),
        (RULE.replace("dropped-in", "another"), "another"),
        (RULE + "class Second(Dropped):\n    name = 'second'\n", "dropped-in, second"),
    ],
)
def test_a_file_of_no_rewrite_or_several_is_refused(drop: Drop, text: str, has: str) -> None:
    drop("dropped_in.py", text)
    with pytest.raises(TypeError, match=rf"dropped_in\.py is to have one rewrite, named dropped-in; it has {has}$"):
        load_rule("dropped-in")


def test_names_cost_no_import_of_torch() -> None:
    code = (
        "import sys; from mobilekit.rewrites.names import own_names; assert own_names(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
