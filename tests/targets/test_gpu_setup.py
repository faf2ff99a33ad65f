"""The set-up of the GPU, against tools that are scripts, and what keeps it from being used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mobilekit.errors import ToolError
from mobilekit.store.files import sha256_of
from mobilekit.targets import gpu_setup
from mobilekit.targets.gpu_setup import COMMAND, environment, find_problem, folder, set_up, written
from tests.conftest import Cli

APT = """
for word; do last=$word; done
case $last in
    update) exit 0 ;;
    chromium-common) echo package > chromium-common_156.0-1_amd64.deb ;;
    *) echo "E: Unable to locate package $last" >&2; exit 100 ;;
esac
"""
DPKG = """
lib=$3/usr/lib/chromium
mkdir -p "$lib"
for name in libvk_swiftshader.so libvulkan.so.1; do echo "$name" > "$lib/$name"; done
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the set-up would be, with scripts for apt and dpkg."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in (("apt-get", APT), ("dpkg-deb", DPKG)):
        (tools / name).write_text(f"#!/bin/sh\n{body}")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(gpu_setup.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(gpu_setup.platformdirs, "user_data_path", lambda _name: tmp_path / "data")
    monkeypatch.setattr(gpu_setup, "default_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(gpu_setup, "_litert_problem", lambda: None)
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_it_is_made_from_the_package_and_says_from_which(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.targets.gpu.try_gpu", lambda _variables: None)
    problem = find_problem()
    assert problem
    assert (problem.exit_code, COMMAND in problem.hint) == (4, True)
    assert set_up() == folder()
    library = folder() / "libvk_swiftshader.so"
    assert written()["version"] == "156.0-1"
    assert written()["sha256"][library.name] == sha256_of(library)
    driver = json.loads((folder() / "driver.json").read_text())
    assert (folder() / driver["ICD"]["library_path"]).resolve() == library.resolve()
    assert environment()["VK_DRIVER_FILES"] == str(folder() / "driver.json")
    assert find_problem() is None


def test_one_that_does_not_run_leaves_what_was_there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(variables: dict[str, str]) -> None:
        assert Path(variables["VK_DRIVER_FILES"]).is_file() and variables != environment()
        raise ToolError("it does not run")

    monkeypatch.setattr("mobilekit.targets.gpu.try_gpu", fail)
    with pytest.raises(ToolError, match="it does not run"):
        set_up()
    assert not folder().exists()
    monkeypatch.setattr("mobilekit.targets.gpu.try_gpu", lambda _variables: None)
    set_up()
    (folder() / "libvulkan.so.1").write_text("the one that works")
    monkeypatch.setattr("mobilekit.targets.gpu.try_gpu", fail)
    with pytest.raises(ToolError, match="it does not run"):
        set_up()
    assert (folder() / "libvulkan.so.1").read_text() == "the one that works"
    assert find_problem() is None


@pytest.mark.parametrize("name", ["libvk_swiftshader.so", "libvulkan.so.1", "driver.json"])
def test_a_part_that_is_gone_is_told(place: Path, cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mobilekit.targets.gpu.try_gpu", lambda _variables: None)
    set_up()
    (folder() / name).unlink()
    problem = find_problem()
    assert problem
    assert (problem.what, COMMAND in problem.hint) == (f"Of the GPU, {name} is gone from {folder()}.", True)
    assert json.loads(cli("devices", "--json").stdout)["gpu"] == {"ready": False}


def test_a_package_that_is_not_there_is_told(place: Path) -> None:
    (place / "bin" / "apt-get").write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2; exit 100\n")
    with pytest.raises(ToolError, match="E: Unable to locate package"):
        set_up()
    assert not folder().exists()


def test_a_driver_of_the_users_own_needs_no_set_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/usr/share/vulkan/icd.d/some.json")
    monkeypatch.setattr(gpu_setup, "_has_loader", lambda: True)
    assert (find_problem(), environment()) == (None, {})
    monkeypatch.setattr(gpu_setup, "_has_loader", lambda: False)
    problem = find_problem()
    assert problem
    assert problem.hint == "apt install libvulkan1"


def test_without_the_parts_inspect_ends_with_4(place: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a.tflite").touch()
    done = cli("inspect", str(tmp_path / "a.tflite"), "--target", "gpu")
    assert (done.returncode, done.stdout) == (4, "")
    assert "No GPU is set up." in done.stderr
    assert COMMAND in done.stderr


@pytest.mark.parametrize("version", [None, "2.1.6"])
def test_an_old_litert_is_told(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    monkeypatch.setattr(gpu_setup, "installed_version", lambda _name: version)
    problem = find_problem()
    assert problem
    assert problem.hint == "pip install 'ai-edge-litert>=2.3'"
