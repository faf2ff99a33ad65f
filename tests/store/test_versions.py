"""Which of mobilekit's own sources make a bundle another one: all that an export can reach, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import grimp
import pytest

import mobilekit
from mobilekit.store import versions
from mobilekit.store.versions import BUNDLE_ROOMS, FILE_ROOMS, source_digest, source_files

PACKAGE = Path(mobilekit.__file__).parent
COUNTS_FOR_NOTHING = {"mobilekit", "mobilekit.errors"}  # versions.py says why
FOUND_BY_LOOKING = ("mobilekit.models.families.", "mobilekit.rewrites.rules.", "mobilekit.convert.tasks.")
RUN_BY_NAME = ("mobilekit.store.worker_loop",)
ASKED_BY_NAME = ("mobilekit.targets.gpu_worker", "mobilekit.targets.qnn_worker")
PROGRAMS_BY_NAME = (
    "mobilekit.artifacts.coreml.runtime_worker",
    "mobilekit.convert.coreml.convert_worker",
    "mobilekit.artifacts.executorch.runtime_worker",
    "mobilekit.convert.executorch.lower_worker",
)


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    graph = grimp.build_graph("mobilekit")
    graph.remove_import(importer="mobilekit", imported="mobilekit.api")  # which every import of the package passes
    return graph


def reached_from(graph: grimp.ImportGraph, modules: Iterable[str]) -> set[str]:
    """What these modules import, and what that imports, with what is looked up by name where that can be reached."""
    reached, waiting = set[str](), list(modules)
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += graph.find_modules_directly_imported_by(module)
    return reached


def by_name(graph: grimp.ImportGraph, kinds: tuple[str, ...]) -> list[str]:
    return [module for module in graph.modules if module.startswith(kinds) or module in RUN_BY_NAME]


def modules_in(rooms: Iterable[str]) -> set[str]:
    paths = [path.relative_to(PACKAGE.parent).with_suffix("") for path in source_files(rooms) if path.suffix == ".py"]
    return {".".join(path.parts) for path in paths if path.name != "__init__"}


def without_packages(modules: Iterable[str]) -> set[str]:
    return {module for module in modules if not (PACKAGE.parent / module.replace(".", "/")).is_dir()}


def test_a_bundles_digest_covers_all_that_an_export_reaches_and_nothing_else(imports: grimp.ImportGraph) -> None:
    reached = reached_from(
        imports, ["mobilekit.jobs.export", *ASKED_BY_NAME, *PROGRAMS_BY_NAME, *by_name(imports, FOUND_BY_LOOKING)]
    )
    assert without_packages(reached) - COUNTS_FOR_NOTHING == modules_in(BUNDLE_ROOMS)


def test_a_files_digest_covers_all_that_a_conversion_reaches(imports: grimp.ImportGraph) -> None:
    """And the code of all modules that a rewrite may put into a graph."""
    reached = reached_from(imports, ["mobilekit.convert.pipeline", *by_name(imports, FOUND_BY_LOOKING[2:])])
    rules = {
        module
        for module in imports.modules
        if "mobilekit.rewrites.fx.lowered" in imports.find_modules_directly_imported_by(module)
    }
    assert "mobilekit.rewrites.shared.shuffles" in rules
    assert without_packages(reached | rules) - COUNTS_FOR_NOTHING - modules_in(FILE_ROOMS) == set()


def test_every_room_is_there() -> None:
    for room in (*BUNDLE_ROOMS, *FILE_ROOMS):
        assert source_files([room]), room


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that `source_digest` looks at."""
    folder = tmp_path / "mobilekit"
    shutil.copytree(PACKAGE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(versions, "__file__", str(folder / "store" / "versions.py"))
    return folder


@pytest.mark.parametrize(
    ("changed", "bundle", "file"),
    [
        ("models/families/ghostnet.py", True, False),
        ("models/checkpoints/ghostnetv2_digits.safetensors", True, False),
        ("models/analysis/macs.py", False, False),
        ("parity/ledger/limits.py", True, False),
        ("parity/bisect/bisect.py", False, False),
        ("parity/baseline.py", False, False),
        ("jobs/export.py", True, False),
        ("jobs/doctor.py", False, False),
        ("convert/alignment.py", True, True),
        ("convert/pipeline.py", True, True),
        ("recipes/modules.py", True, True),
        ("rewrites/rules/concat_into_sum.py", True, True),
        ("rewrites/engine.py", True, False),
        ("bench/session.py", False, False),
        ("cli/app.py", False, False),
    ],
)
def test_what_changes_where_a_source_changes(copy: Path, changed: str, bundle: bool, file: bool) -> None:
    before = [source_digest(rooms) for rooms in (BUNDLE_ROOMS, FILE_ROOMS)]
    with (copy / changed).open("a") as source:
        source.write("\n")
    after = [source_digest(rooms) for rooms in (BUNDLE_ROOMS, FILE_ROOMS)]
    assert [old != new for old, new in zip(before, after, strict=True)] == [bundle, file]


def test_a_file_that_moves_changes_the_digest(copy: Path) -> None:
    before = source_digest(["convert/**/*.py"])
    (copy / "convert/onnx.py").rename(copy / "convert/onnx_export.py")
    assert source_digest(["convert/**/*.py"]) != before
