"""What mobilekit 0.1.0 wrote is read by every command that reads such files; data/written_by_0_1 has a sample of each.

A format that is read no more is refused with the command that makes the file anew: change the test of it to that.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.command_line import Cli
from tests.conftest import ROOT

OLD = ROOT / "tests" / "data" / "written_by_0_1"
BUNDLE = OLD / "bundle"
BENCH = OLD / "bench"
REFERENCE = ("--reference", f"{OLD / 'nets.py'}:make")
FILES = ("model.onnx", "model.float32.tflite", "model.int8.tflite")


def test_a_bundle_is_whole(cli: Cli) -> None:
    said = cli("verify", BUNDLE)
    assert said.returncode == 0, said.stderr
    assert "10 files agree with the manifest" in said.stdout


@pytest.mark.parametrize("file", FILES)
def test_its_files_are_inspected(cli: Cli, file: str) -> None:
    said = cli("inspect", BUNDLE / file, "--json")
    assert said.returncode == 0, said.stderr
    assert sum(json.loads(said.stdout)["ops"].values()) > 5


def test_it_is_measured_and_held_to_its_own_ledger(cli: Cli) -> None:
    said = cli("diff", BUNDLE, *REFERENCE, "--baseline", BUNDLE / "ledger.json", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["verdict"] == json.loads(said.stdout)["baseline"]["verdict"] == "pass"
    stages = [row["stage"] for row in json.loads(said.stdout)["stages"] if row["against"] == "reference"]
    assert stages == ["rewritten", "onnx", "onnx-simplified", "tflite-float32", "tflite-int8"]
    assert "note" not in said.stderr, "words of an old recipe are no fault of who has the bundle"


@pytest.mark.slow
def test_it_is_looked_into(cli: Cli, tmp_path: Path) -> None:
    said = cli("diff", BUNDLE, *REFERENCE, "--layers", "--precision", "float32", "--plot", tmp_path / "layers.svg")
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "layers.svg").stat().st_size > 1000


def test_its_ranges_are_told(cli: Cli) -> None:
    said = cli("ranges", BUNDLE, *REFERENCE, "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["recipe"] == "recipe"


def test_it_is_reported(cli: Cli, tmp_path: Path) -> None:
    said = cli("report", BUNDLE, "-o", tmp_path / "page.html")
    assert said.returncode == 0, said.stderr
    page = (tmp_path / "page.html").read_text()
    assert "nets.py:make" in page and "tflite-int8" in page and "changed since the export" not in page


@pytest.mark.slow
def test_it_is_rebuilt(cli: Cli) -> None:
    said = cli("verify", BUNDLE, "--rebuild", *REFERENCE, "--json")
    assert said.returncode in (0, 1), said.stderr
    made = {file["file"]: file for file in json.loads(said.stdout)["rebuild"]["files"]}
    assert made["stages/rewritten.safetensors"]["same"]
    assert all(file["rebuilt_sha256"] for file in made.values()), "other tools make other bytes, but every file"


def test_it_gives_the_files_of_a_bench(cli: Cli, tmp_path: Path) -> None:
    from mobilekit.bench.artifacts import find_artifacts

    found = find_artifacts([BUNDLE])
    assert [each.name for each in found] == ["bundle/model.float32.tflite", "bundle/model.int8.tflite"]
    assert all(each.alignment() for each in found)


def test_an_export_over_it_says_what_to_do(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    net, recipe = f"{OLD / 'nets.py'}:make", OLD / "recipe.yaml"
    said = cli("export", net, "--recipe", recipe, "--precision", "float32", "-o", tmp_path / "bundle")
    assert said.returncode == 2
    assert "--force" in said.stderr
    assert (tmp_path / "bundle" / "ledger.json").read_bytes() == (BUNDLE / "ledger.json").read_bytes()


@pytest.mark.parametrize("path", [OLD / "recipe.yaml", *sorted((OLD / "recipes").glob("*.yaml"))], ids=lambda p: p.stem)
def test_a_recipe_is_read(cli: Cli, path: Path) -> None:
    said = cli("recipes", "check", path)
    assert said.returncode == 0, said.stderr


def test_a_recording_is_made_anew(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since 0.2 a phone is asked who it is, and for its lock; a recording answers only what was asked."""
    monkeypatch.chdir(BENCH)
    said = cli("bench", "small.tflite", "--device", "replay:recording")
    assert said.returncode == 3
    assert "is no recording that this version of mobilekit reads" in said.stderr
    assert "Record it again: `mobilekit bench ... --record DIR`." in said.stderr


def test_a_bench_is_held_to_its_baseline_and_budgets(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(BENCH)
    session = ROOT / "tests" / "data" / "lab_session" / "recording"
    plan = ("--device", f"replay:{session}", "--rounds", "6", "--runs", "3")
    limits = ("--baseline", "baseline.json", "--budgets", "budgets.yaml")
    said = cli(
        "bench", "small.tflite", "large.tflite", *plan, *limits, "--save-baseline", tmp_path / "b.json", "--json"
    )
    assert said.returncode == 0, said.stderr
    old, new = (json.loads(path.read_text()) for path in (BENCH / "baseline.json", tmp_path / "b.json"))
    kept = ("file", "precision", "threads", "engine", "statistic", "cpu_mask", "delegate", "sha256")
    assert [[each[name] for name in kept] for each in new["entries"]] == [
        [each[name] for name in kept] for each in old["entries"]
    ]
    assert [change["file"] for change in json.loads(said.stdout)["baseline"]] == ["small.tflite", "large.tflite"]
    assert {row["verdict"] for row in json.loads(said.stdout)["budgets"] if row["limited"] == "size_mb"} == {"pass"}
    assert len(json.loads(said.stdout)["budgets"]) == 4


@pytest.mark.slow
def test_a_bundle_of_today_is_held_to_a_ledger_of_then(cli: Cli, digits_bundle: Path) -> None:
    done = cli("diff", digits_bundle, "--baseline", OLD / "ghostnetv2_digits.ledger.json", "--json")
    assert done.returncode == 0, done.stderr
    assert {row["verdict"] for row in json.loads(done.stdout)["baseline"]["stages"]} == {"same"}
