"""A family is one file, which is found by looking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.models import families, registry
from mobilekit.models.names import check_name, family_names, registered_names
from mobilekit.models.registry import find_model, model_names

FAMILY = """
from torch import nn
from mobilekit.models.registry import ModelEntry, register

register(ModelEntry(name="dropped_in", build=nn.Flatten, paper=""))
"""


def test_the_names_in_the_files_are_those_that_are_registered() -> None:
    """A name that is not written out in its ModelEntry is one that completion and look-ups do not have."""
    assert registered_names() == model_names()


def test_a_file_that_is_dropped_in_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = registered_names()
    monkeypatch.setattr(families, "__path__", [*families.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    (tmp_path / "dropped_family.py").write_text(FAMILY)
    try:
        assert "dropped_family" in family_names()
        assert registered_names() == sorted([*before, "dropped_in"])
        assert find_model("dropped_in").create().start_dim == 1
    finally:
        sys.modules.pop(f"{families.__name__}.dropped_family", None)


def test_names_cost_no_import_of_torch() -> None:
    code = (
        "import sys; from mobilekit.models import names; assert names.registered_names(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize("spec", ["ghostnet", "timm:no_such_model", f"{__file__}:make"])
def test_what_may_be_a_model_is_let_through(spec: str) -> None:
    check_name(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ghostnettv2", "There is no model ghostnettv2.\nDid you mean ghostnetv2"),
        ("nowhere.py:make", "There is no file nowhere.py."),
        ("mine.py", "mine.py names no factory.\nName the function that makes the model: mine.py:FUNCTION."),
        ("", "There is no model ."),
    ],
)
def test_what_is_none_is_refused(spec: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(spec)
    assert str(refused.value).startswith(words)
