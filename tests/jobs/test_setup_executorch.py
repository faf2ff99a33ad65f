"""The set-up of ExecuTorch, against a Python that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.artifacts.executorch import environment
from mobilekit.artifacts.executorch.environment import python_in
from mobilekit.errors import ToolError
from mobilekit.jobs import setup_executorch
from mobilekit.jobs.setup_executorch import set_up

PYTHON = """#!/bin/sh
echo "$*" >> {log}
case "$*" in
    *venv*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python" ;;
    *pip*) {pip} ;;
    *lower_worker*) {worker} ;;
    *version*) echo '["1.5.1", "2.13.0", "0.18.0"]' ;;
esac
"""
FINE = "read line; echo '{\"result\": {}}'"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(environment.platformdirs, "user_data_path", lambda _name: tmp_path / "data")
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(setup_executorch.sys, "executable", str(tmp_path / "python"))
    return tmp_path


def python(place: Path, pip: str = "true", worker: str = FINE) -> None:
    (place / "python").write_text(PYTHON.format(log=place / "log", pip=pip, worker=worker))
    (place / "python").chmod(0o755)


def test_it_installs_the_pinned_versions_and_tries_them(place: Path) -> None:
    python(place)
    assert set_up() == place / "data" / "executorch"
    _venv, pip, *tried = (place / "log").read_text().splitlines()
    constraint = Path(pip.split("--constraint ")[1].split()[0])
    assert constraint.name == "executorch.txt" and "executorch==1.5.1" in constraint.read_text().splitlines()
    assert pip.endswith("executorch torch")
    assert any("lower_worker" in line for line in tried)
    assert python_in(environment.folder()).is_file()


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ({"pip": "echo 'ERROR: No matching distribution found'; exit 1"}, "pip cannot install executorch: ERROR: No m"),
        ({"worker": "exit 1"}, "ExecuTorch does not run here"),
    ],
)
def test_what_fails_is_told_and_leaves_what_was_there(place: Path, fails: dict[str, str], words: str) -> None:
    python(place)
    set_up()
    python(place, **fails)
    with pytest.raises(ToolError, match=words):
        set_up()
    assert python_in(environment.folder()).is_file()
    assert [path.name for path in (place / "data").iterdir()] == ["executorch"]
