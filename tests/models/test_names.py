"""A family is one file, which is found by looking."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.models import families, registry
from mobilekit.models.names import check_name, distinct, family_names, folder_name, in_libraries, registered_names
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


def test_models_of_libraries_are_found_in_their_files() -> None:
    """Without an import, and torchvision's below decorators of several lines."""
    assert list(in_libraries("resnet18")) == ["timm:resnet18", "torchvision:resnet18"]
    assert list(in_libraries("fcn_resnet50")) == ["torchvision:fcn_resnet50"]
    assert list(in_libraries("mobilenetv3_small_100")) == ["timm:mobilenetv3_small_100"]
    assert list(in_libraries("register_model")) == list(in_libraries("no such")) == []
    with pytest.raises(UsageError, match=r"Did you mean timm:resnet18 or torchvision:resnet18\?"):
        check_name("resnet18")


def test_the_folder_of_a_librarys_model(tmp_path: Path) -> None:
    assert folder_name("torchvision:resnet18") == "resnet18"
    assert folder_name(f"hf:{tmp_path}/vit/") == "vit" and folder_name("hf:google/vit-base") == "vit-base"
    assert folder_name("module:Net") == "Net"


def test_two_classes_of_a_name_are_told_apart() -> None:
    assert distinct(["crane", "ox", "crane"]) == ("crane", "ox", "crane (2)")


@pytest.mark.parametrize(
    "spec", ["ghostnet", "timm:no_such_model", "torchvision:x", "hf:google/vit", f"{__file__}:make"]
)
def test_what_may_be_a_model_is_let_through(spec: str) -> None:
    check_name(spec)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ghostnettv2", "There is no model ghostnettv2.\nDid you mean ghostnetv2"),
        ("nowhere.py:make", "There is no file nowhere.py."),
        ("mine.py", "mine.py names no factory.\nName the function that makes the model: mine.py:FUNCTION."),
        ("", "There is no model ."),
        ("hf:", "hf: names no model.\nWrite it behind the colon: hf:NAME."),
        ("module:Net", "module:Net is a module of Python code, which a command line does not have."),
    ],
)
def test_what_is_none_is_refused(spec: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        check_name(spec)
    assert str(refused.value).startswith(words)
