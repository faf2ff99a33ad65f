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
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from packaging.requirements import Requirement

from mobilekit.convert.installed import PYTHONS
from mobilekit.store.bundle import find_changes
from tests.conftest import ROOT
from tests.tiny import TINY, TINY_RECIPE

MAKE = shutil.which("make") or "make"


def fake_checkout(folder: Path) -> None:
    """Copy what the set-up reads, with a set-up script that only notes what it ran for."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "constraints", folder / "constraints")
    (folder / ".ci").mkdir()
    (folder / ".ci" / "setup").write_text('echo "$2" >> log\nmkdir -p "$1/bin"\n')


def ran(folder: Path, *targets: str) -> list[str]:
    """Make the targets, whose own commands fail here, and return all that was installed so far."""
    others = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS")}
    subprocess.run([MAKE, *targets], cwd=folder, env=others, capture_output=True)
    return (folder / "log").read_text().split()


def test_set_up_runs_once_and_again_only_when_pins_change(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    assert ran(tmp_path, "setup") == ["export"]
    assert ran(tmp_path, "setup") == ["export"]
    os.utime(tmp_path / "constraints" / "python3.11.txt", (2**31, 2**31))
    assert ran(tmp_path, "setup") == ["export", "export"]


def test_a_target_installs_what_it_needs_and_no_more(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    assert ran(tmp_path, "export") == ["export"]
    assert ran(tmp_path, "export", "MODEL=timm:resnet18") == ["export", "timm"]
    assert ran(tmp_path, "export", "MODEL=nets/mine.py:make") == ["export", "timm"]
    assert ran(tmp_path, "check") == ["export", "timm", "development"]
    assert ran(tmp_path, "export", "MODEL=torchvision:resnet18") == ["export", "timm", "development", "torchvision"]
    assert ran(tmp_path, "export", "MODEL=hf:nets/vit")[-2:] == ["torchvision", "hf"]
    assert ran(tmp_path, "test-fast")[-2:] == ["torchvision", "hf"]
    assert ran(tmp_path, "docs")[-2:] == ["hf", "docs"]


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


def here(requirements: Iterable[str]) -> set[str]:
    """Names of the packages that these ask for on this Python."""
    wanted = map(Requirement, requirements)
    return {canonical_name(each.name) for each in wanted if each.marker is None or each.marker.evaluate()}


def asked_for() -> list[str]:
    """What an export needs, as pyproject.toml says it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["convert"]]


def installed_for_an_export(installer: ModuleType) -> set[str]:
    words = [word for _, words in installer.phases("export") for word in words]
    return here(word for word in words if word[0] not in "-/")


def test_every_dependency_is_installed_for_an_export(installer: ModuleType) -> None:
    named = installed_for_an_export(installer)
    for name in here(asked_for()):
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
    needed = {canonical_name(packages[name][0]) for name in imported if name in packages}
    # What TensorFlow brings; an op that decodes pictures, which no graph of ours has.
    assert needed - installed_for_an_export(installer) <= {"absl-py", "onnx2tf", "opencv-python", "tensorflow"}


LIBRARIES = ("coremltools", "timm", "torchvision", "transformers", "huggingface-hub", "mediapipe")
SWEEPS = ("dask", "distributed", "fsspec", "mlflow", "mlflow-skinny", "psutil", "pyarrow", "requests")
ELSEWHERE = ("executorch", "torchao")
"""In a Python of their own, whose code lies here as well."""


def test_what_mobilekit_imports_is_a_dependency_of_its_own() -> None:
    """All but the libraries that are asked for where they are used; pydantic and onnx bring two."""
    statements = [node for path in (ROOT / "mobilekit").rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    imported = {name.name for node in statements if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in statements if isinstance(node, ast.ImportFrom) and not node.level}
    packages = metadata.packages_distributions()
    tops = {name.partition(".")[0] for name in imported} - set(sys.stdlib_module_names) - {"mobilekit"}
    names = {packages.get(top, [top])[0].lower().replace("_", "-") for top in tops}
    needed = {name.removesuffix("-cpu") for name in names}  # TensorFlow's build for processors alone is TensorFlow
    assert needed - here(asked_for()) <= {*LIBRARIES, *SWEEPS, *ELSEWHERE, "pydantic-core", "protobuf"}


def program(path: Path, answers: str) -> None:
    """Write a shell script in place of a Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answers}\n")
    path.chmod(0o755)


def fake_python(path: Path, version: str) -> None:
    """Write a Python that says its version, and where it is when it is to make an environment, and makes none."""
    program(path, f'case "$1 $2" in *version_info*) echo {version} ;; "-m venv") echo {path} ;; esac')


def set_up(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up where PATH has no Python but the folder's."""
    for tool in ("dirname", "rm"):
        if not (folder / tool).exists():
            (folder / tool).symlink_to(str(shutil.which(tool)))
    words = ["/bin/sh", str(ROOT / ".ci" / "setup"), str(folder / "venv"), "export"]
    return subprocess.run(words, env={"PATH": str(folder), **variables}, capture_output=True, text=True)


@pytest.mark.parametrize("variables", [{}, {"PYTHON": "python3"}])
def test_a_machine_without_a_python_that_converts_is_told_so(tmp_path: Path, variables: dict[str, str]) -> None:
    fake_python(tmp_path / "python3", "3.14")
    done = set_up(tmp_path, **variables)
    assert done.returncode == 2
    assert "needs Python 3.11, 3.12 or 3.13" in done.stderr and "found 3.14" in done.stderr
    assert "All but exports works with 3.14" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_newest_python_that_converts_is_taken(tmp_path: Path) -> None:
    for version in ("3.11", "3.12", "3.14"):
        fake_python(tmp_path / f"python{version}", version)
    program(tmp_path / "python3.13", "exit 127")  # as pyenv has it for a version that is not chosen
    assert set_up(tmp_path).stdout.splitlines() == [str(tmp_path / "python3.12")]
    assert set_up(tmp_path, PYTHON="python3.11").stdout.splitlines() == [str(tmp_path / "python3.11")]


def test_an_environment_keeps_its_python_until_another_is_asked_for(tmp_path: Path) -> None:
    fake_python(tmp_path / "python3.13", "3.13")
    fake_python(tmp_path / "venv" / "bin" / "python", "3.11")
    assert set_up(tmp_path).stdout == ""
    assert (tmp_path / "venv").exists()
    assert set_up(tmp_path, PYTHON="python3.13").stdout.splitlines() == [str(tmp_path / "python3.13")]
    assert not (tmp_path / "venv").exists()


def test_another_python_makes_a_set_up_environment_anew(tmp_path: Path) -> None:
    fake_checkout(tmp_path)
    fake_python(tmp_path / "other", "3.12")
    assert ran(tmp_path, "setup") == ["export"]
    fake_python(tmp_path / ".venv" / "bin" / "python", "3.11")
    assert ran(tmp_path, "setup", f"PYTHON={tmp_path / '.venv' / 'bin' / 'python'}") == ["export"]
    assert ran(tmp_path, "setup", f"PYTHON={tmp_path / 'other'}") == ["export", "export"]


def test_uv_installs_where_there_is_one(installer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installer.installer()[:4] == [sys.executable, "-m", "pip", "install"]
    program(tmp_path / "uv", "exit 0")
    assert installer.installer() == [str(tmp_path / "uv"), "pip", "install", "--quiet", "--python", sys.executable]


def canonical_name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


def test_a_machine_without_the_venv_module_is_told_so(tmp_path: Path) -> None:
    program(tmp_path / "python3.11", 'case "$2" in *version_info*) echo 3.11 ;; *ensurepip*) exit 1 ;; esac')
    done = set_up(tmp_path)
    assert done.returncode == 2
    assert "its venv module is missing" in done.stderr and "apt install python3.11-venv" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("python", [f"{major}.{minor}" for major, minor in PYTHONS])
def test_every_pin_is_exact_and_every_dependency_pinned(python: str) -> None:
    text = (ROOT / "constraints" / f"python{python}.txt").read_text()
    pins = [Requirement(line) for line in text.splitlines() if not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") for pin in pins)
    pinned = {canonical_name(pin.name): pin for pin in pins}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for wanted in map(
        Requirement, [*asked_for(), *(each for name, extra in extras.items() if name != "convert" for each in extra)]
    ):
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python}):
            [exact] = pinned[canonical_name(wanted.name)].specifier
            assert wanted.specifier.contains(exact.version), f"{wanted} is pinned to {exact}"


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
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "mobilekit").rglob("templates/**/*") if path.is_file()}
    assert recipes and weights and templates and recipes | weights | templates <= set(names)
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
