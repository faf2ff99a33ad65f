"""The set-up that the Makefile does by itself, and the wheel."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from mobilekit.store.bundle import find_changes
from tests.conftest import ROOT
from tests.tiny import TINY, TINY_RECIPE

MAKE = shutil.which("make") or "make"


def fake_checkout(folder: Path) -> None:
    """Copy what the set-up reads, with a set-up script that only notes what it ran for."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / ".ci").mkdir()
    (folder / ".ci" / "setup").write_text('echo "$2" >> log\nmkdir -p "$1/bin"\n')


def ran(folder: Path, *targets: str) -> list[str]:
    """Make the targets, whose own commands fail here, and return all that was installed so far."""
    subprocess.run([MAKE, *targets], cwd=folder, capture_output=True)
    return (folder / "log").read_text().split()


def test_set_up_runs_once_and_again_only_when_pins_change(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    assert ran(tmp_path, "setup") == ["export"]
    assert ran(tmp_path, "setup") == ["export"]
    os.utime(tmp_path / "constraints.txt", (2**31, 2**31))
    assert ran(tmp_path, "setup") == ["export", "export"]


def test_a_target_installs_what_it_needs_and_no_more(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    assert ran(tmp_path, "export") == ["export"]
    assert ran(tmp_path, "export", "MODEL=timm:resnet18") == ["export", "timm"]
    assert ran(tmp_path, "check") == ["export", "timm", "development"]
    assert ran(tmp_path, "test-fast") == ["export", "timm", "development"]


def test_a_failed_set_up_is_done_again(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    (tmp_path / ".ci" / "setup").write_text('echo "$2" >> log\nexit 3\n')
    assert subprocess.run([MAKE, "setup"], cwd=tmp_path, capture_output=True).returncode != 0
    assert ran(tmp_path, "setup") == ["export", "export"]


def test_a_check_of_the_format_says_what_formats(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    (tmp_path / ".ci" / "setup").write_text('mkdir -p "$1/bin"\n')
    ruff = tmp_path / ".venv" / "bin" / "ruff"
    ruff.parent.mkdir(parents=True)
    ruff.write_text('#!/bin/sh\n[ "$1" = check ]\n')
    ruff.chmod(0o755)
    done = subprocess.run([MAKE, "check"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode != 0
    assert "make format" in done.stdout


@pytest.fixture
def installer() -> ModuleType:
    """The script that installs, as a module."""
    spec = importlib.util.spec_from_file_location("installer", ROOT / ".ci" / "install.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_phase_is_told_before_it_starts(
    installer: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(installer.sys, "prefix", str(tmp_path))
    codes = iter((0, 0, 1))
    monkeypatch.setattr(installer.subprocess, "run", lambda *_args, **_keys: SimpleNamespace(returncode=next(codes)))
    assert installer.main("export") == 1
    said = capsys.readouterr()
    assert [line[:5] for line in said.out.splitlines()[1:]] == ["[1/5]", "[2/5]", "[3/5]"]
    assert "onnx2tf could not be installed" in said.err


def test_every_dependency_is_installed_for_an_export(installer: ModuleType) -> None:
    named = {re.split(r"[^\w.-]", word)[0] for _, words in installer.phases("export") for word in words}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[^\w.-]", requirement)[0]
        assert name in named or f"{name}-cpu" in named


def test_what_onnx2tf_imports_is_installed(installer: ModuleType) -> None:
    """Its own list of what it needs is not followed, so what its sources import has to be there."""
    imported = set()
    for path in Path(importlib.util.find_spec("onnx2tf").submodule_search_locations[0]).rglob("*.py"):  # type: ignore[union-attr,index]
        for statement in ast.parse(path.read_text()).body:  # at the outermost level: what is imported at once
            if isinstance(statement, ast.Import):
                imported |= {name.name.partition(".")[0] for name in statement.names}
            elif isinstance(statement, ast.ImportFrom):
                imported.add(str(statement.module).partition(".")[0])
    packages = metadata.packages_distributions()
    needed = {packages[name][0].lower().replace("_", "-") for name in imported if name in packages}
    there = {re.split(r"[^\w.-]", word)[0].lower() for _, words in installer.phases("export") for word in words}
    # What TensorFlow brings; an op that decodes pictures, which no graph of ours has.
    assert needed - there <= {"absl-py", "opencv-python", "tensorflow"}


def test_what_mobilekit_imports_is_a_dependency_of_its_own() -> None:
    """All but timm and what it brings, which are asked for where a model is timm's; pydantic and onnx bring two."""
    statements = [node for path in (ROOT / "mobilekit").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    imported = {name.name for node in statements if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in statements if isinstance(node, ast.ImportFrom) and not node.level}
    packages = metadata.packages_distributions()
    tops = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"mobilekit"}
    names = {packages[top][0].lower().replace("_", "-") for top in tops}
    needed = {name.removesuffix("-cpu") for name in names}  # TensorFlow's build for processors alone is TensorFlow
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    own = {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in project["dependencies"]}
    assert needed - own <= {"timm", "torchvision", "pydantic-core", "protobuf"}


def test_a_machine_without_python_3_11_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")  # a Python of another version
    (tmp_path / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "setup"), str(tmp_path / "venv"), "export"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "needs Python 3.11" in done.stderr
    assert not (tmp_path / "venv").exists()


def canonical_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_a_machine_without_the_venv_module_is_told_so(tmp_path: Path) -> None:
    python = tmp_path / "python3.11"
    python.write_text('#!/bin/sh\ncase "$2" in *ensurepip*) exit 1;; esac\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(ROOT / ".ci" / "setup"), str(tmp_path / "venv"), "export"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "its venv module is missing" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_every_pin_is_exact_and_every_dependency_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    pinned = {canonical_name(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["timm"]]
    assert {canonical_name(re.match(r"[\w.-]+", each)[0]) for each in wanted} <= pinned  # type: ignore[index]


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_can_export(tmp_path: Path) -> None:
    """The wheel in a folder of its own, with the dependencies of this environment and nothing of the checkout."""
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)
    recipes = {f"export_recipes/{path.name}" for path in (ROOT / "export_recipes").glob("*.yaml")}
    weights = {str(path.relative_to(ROOT)) for path in (ROOT / "mobilekit").rglob("*.safetensors")}
    assert recipes and weights and recipes | weights <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    # Without the site-packages' own .pth files: they would bring the checkout back.
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_path("purelib")]),
    }
    program = [sys.executable, "-S", "-c"]
    where = subprocess.run(
        [*program, "import mobilekit, export_recipes; print(mobilekit.__file__, export_recipes.__file__)"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert where.count(str(site)) == 2
    export = ["export", TINY, "--recipe", str(TINY_RECIPE), "--precision", "float32"]
    done = subprocess.run(
        [sys.executable, "-S", "-m", "mobilekit", *export, "-o", "out"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert find_changes(tmp_path / "out") == []
