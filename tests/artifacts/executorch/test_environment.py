"""Which Python is asked for ExecuTorch, and what is said where none has it: Pythons here are scripts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mobilekit.artifacts.executorch import environment
from mobilekit.artifacts.executorch.environment import COMMAND, VARIABLE, python_in, versions
from mobilekit.errors import ToolError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the environment would be; there is none, and no Python is named."""
    monkeypatch.setattr(environment.platformdirs, "user_data_path", lambda _name: tmp_path)
    monkeypatch.setattr(environment, "installed_version", lambda _name: None)
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path


def script(path: Path, says: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_without_one_the_command_and_the_variable_are_named() -> None:
    with pytest.raises(ToolError, match=r"ExecuTorch is not set up\.") as raised:
        versions()
    assert raised.value.exit_code == 4
    assert COMMAND in raised.value.hint and VARIABLE in raised.value.hint


def test_the_one_that_was_set_up_is_asked(place: Path) -> None:
    script(python_in(place / "executorch"), '["1.5.1", "2.13.0+cpu", "0.18.0"]')
    assert versions() == {"executorch": "1.5.1", "executorch/torch": "2.13.0+cpu", "executorch/torchao": "0.18.0"}


def test_one_that_is_named_goes_before(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(python_in(place / "executorch"), '["1.5.1", "2.13.0", "0.18.0"]')
    monkeypatch.setenv(VARIABLE, str(script(place / "theirs", '["1.6.0", "2.14.0", "0.19.0"]')))
    assert versions()["executorch"] == "1.6.0"


@pytest.mark.parametrize(
    ("says", "lacks"), [("executorch", "has no executorch"), ("", "is no Python"), ("anything", "is no Python")]
)
def test_a_named_one_without_executorch_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, says: str, lacks: str
) -> None:
    named = script(place / f"named{len(says)}", says)
    monkeypatch.setenv(VARIABLE, str(named))
    with pytest.raises(ToolError, match=f"{named}, which {VARIABLE} names, {lacks}"):
        versions()


def test_python_is_told_from_what_is_none(place: Path) -> None:
    assert environment._is_python(sys.executable)
    assert not environment._is_python(str(place / "absent"))
