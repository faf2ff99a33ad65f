"""What mobilekit 0.1.0 wrote is read by every command that reads such files; data/written_by_0_1 has a sample of each.

A format that is read no more is refused with the command that makes the file anew: change the test of it to that.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mobilekit.cli import app
from tests.conftest import ROOT, Cli

OLD = ROOT / "tests" / "data" / "written_by_0_1"
BUNDLE = OLD / "bundle"
BENCH = OLD / "bench"
REFERENCE = ("--reference", f"{OLD / 'nets.py'}:make")
FILES = ("model.onnx", "model.float32.tflite", "model.int8.tflite")


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which is JSON and nothing else."""
        return json.loads(self.out)


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command line in this process."""
    monkeypatch.setenv("MOBILEKIT_DEBUG", "")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["mobilekit", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            app.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    yield call
    signal.signal(signal.SIGTERM, handler)


def test_a_bundle_is_whole(run: Run) -> None:
    said = run("verify", BUNDLE)
    assert said.code == 0, said.err
    assert "10 files agree with the manifest" in said.out


@pytest.mark.parametrize("file", FILES)
def test_its_files_are_inspected(run: Run, file: str) -> None:
    said = run("inspect", BUNDLE / file, "--json")
    assert said.code == 0, said.err
    assert sum(said.json["ops"].values()) > 5


def test_it_is_measured_and_held_to_its_own_ledger(run: Run) -> None:
    said = run("diff", BUNDLE, *REFERENCE, "--baseline", BUNDLE / "ledger.json", "--json")
    assert said.code == 0, said.err
    assert said.json["verdict"] == said.json["baseline"]["verdict"] == "pass"
    stages = [row["stage"] for row in said.json["stages"] if row["against"] == "reference"]
    assert stages == ["rewritten", "onnx", "onnx-simplified", "tflite-float32", "tflite-int8"]
    assert said.err == "", "words of an old recipe are no fault of who has the bundle"


@pytest.mark.slow
def test_it_is_looked_into(run: Run, tmp_path: Path) -> None:
    said = run("diff", BUNDLE, *REFERENCE, "--layers", "--precision", "float32", "--plot", tmp_path / "layers.svg")
    assert said.code == 0, said.err
    assert (tmp_path / "layers.svg").stat().st_size > 1000


def test_its_ranges_are_told(run: Run) -> None:
    said = run("ranges", BUNDLE, *REFERENCE, "--json")
    assert said.code == 0, said.err
    assert said.json["recipe"] == "recipe"


def test_it_is_reported(run: Run, tmp_path: Path) -> None:
    said = run("report", BUNDLE, "-o", tmp_path / "page.html")
    assert said.code == 0, said.err
    page = (tmp_path / "page.html").read_text()
    assert "nets.py:make" in page and "tflite-int8" in page and "Changed since" not in page


@pytest.mark.slow
def test_it_is_rebuilt(run: Run) -> None:
    said = run("verify", BUNDLE, "--rebuild", *REFERENCE, "--json")
    assert said.code in (0, 1), said.err
    made = {file["file"]: file for file in said.json["rebuild"]["files"]}
    assert made["stages/rewritten.safetensors"]["same"]
    assert all(file["rebuilt_sha256"] for file in made.values()), "other tools make other bytes, but every file"


def test_it_gives_the_files_of_a_bench(run: Run, tmp_path: Path) -> None:
    from mobilekit.bench.artifacts import find_artifacts

    found = find_artifacts([BUNDLE])
    assert [each.name for each in found] == ["bundle/model.float32.tflite", "bundle/model.int8.tflite"]
    assert all(each.alignment() for each in found)


def test_an_export_over_it_says_what_to_do(run: Run, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    net, recipe = f"{OLD / 'nets.py'}:make", OLD / "recipe.yaml"
    said = run("export", net, "--recipe", recipe, "--precision", "float32", "-o", tmp_path / "bundle")
    assert said.code == 2
    assert "--force" in said.err
    assert (tmp_path / "bundle" / "ledger.json").read_bytes() == (BUNDLE / "ledger.json").read_bytes()


@pytest.mark.parametrize("path", [OLD / "recipe.yaml", *sorted((OLD / "recipes").glob("*.yaml"))], ids=lambda p: p.stem)
def test_a_recipe_is_read(run: Run, path: Path) -> None:
    said = run("recipes", "check", path)
    assert said.code == 0, said.err


def test_a_bench_is_replayed_and_held_to_its_baseline_and_budgets(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(BENCH)
    plan = ("--device", "replay:recording", "--rounds", "6", "--runs", "3", "--profile")
    limits = ("--baseline", "baseline.json", "--budgets", "budgets.yaml")
    said = run(
        "bench", "small.tflite", "large.tflite", *plan, *limits, "--save-baseline", tmp_path / "b.json", "--json"
    )
    assert said.code == 0, said.err
    old, new = (json.loads(path.read_text()) for path in (BENCH / "baseline.json", tmp_path / "b.json"))
    assert new["entries"] == old["entries"]
    assert [change["file"] for change in said.json["baseline"]] == ["small.tflite", "large.tflite"]
    assert {row["verdict"] for row in said.json["budgets"] if row["limited"] == "size_mb"} == {"pass"}
    assert len(said.json["budgets"]) == 4


@pytest.mark.slow
def test_a_bundle_of_today_is_held_to_a_ledger_of_then(cli: Cli, digits_bundle: Path) -> None:
    done = cli("diff", digits_bundle, "--baseline", OLD / "ghostnetv2_digits.ledger.json", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["verdict"] for row in json.loads(done.stdout)["baseline"]["stages"]} == {"same"}
