"""`mobilekit tune` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilekit.bench.devices import emulator_setup
from mobilekit.recipes.load import load_recipe
from tests.conftest import ROOT, Cli

NET = f"{ROOT / 'tests' / 'nets_to_tune.py'}:make_gated"
RECIPE = """
input: {size: 32}
rewrites: [{name: fold-batch-norm}]
precision: [float32]
calibration: {count: 4}
"""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("shufflenet", "--device", "adb:all"), "Name one device"),
        (("shufflenet", "--device", "emulated", "--core", "a67"), "There is no core 'a67'"),
        (("shufflenet", "--core", "a76"), "--core is for --device emulated"),
        (("shufflenet", "--device", "emulated", "--core", "a76", "--rounds", "6"), "--rounds has no meaning"),
        (("shufflenet", "--rounds", "3"), "--rounds"),
        (("shufflenet", "-o", "nowhere/tuned.yaml"), "There is no folder nowhere"),
        (("shufflenet", "-o", "mine.yaml"), "mine.yaml exists; it is kept"),
        (("ghostnetv2_digits", "--weights", "missing.safetensors"), "missing.safetensors"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_the_work(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    done = cli("tune", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert (tmp_path / "mine.yaml").read_text() == "mine"


@pytest.mark.slow
def test_a_model_is_tuned_and_exported_with_its_recipe(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(RECIPE)
    words = ("tune", NET, "--recipe", "base.yaml", "--rounds", "6", "--runs", "2", "-o", "tuned.yaml", "--json")
    done = cli(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    forms = {row["form"]: row for row in content["forms"]}
    assert forms["relu6-gate"]["steps"] == [{"name": "relu6-gate"}]
    assert forms["relu6-gate"]["low"] <= forms["relu6-gate"]["ratio"] <= forms["relu6-gate"]["high"]
    assert len(content["benches"][0]["rounds"]) == 6
    assert content["verdict"] == "pass"
    tuned = load_recipe(str(tmp_path / "tuned.yaml")).recipe
    has_gate = any(step.name == "relu6-gate" for step in tuned.rewrites)
    assert has_gate == forms["relu6-gate"]["chosen"]
    exported = cli("export", NET, "--recipe", "tuned.yaml", "-o", "out", "--json", cwd=tmp_path)
    assert json.loads(exported.stdout)["verdict"] == "pass"


@pytest.mark.slow
@pytest.mark.skipif(emulator_setup.find_count_problem() is not None, reason="nothing can be counted here")
def test_a_model_is_tuned_by_counts(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(RECIPE)
    words = (
        "tune",
        NET,
        "--recipe",
        "base.yaml",
        "--device",
        "emulated",
        "--core",
        "a55",
        "-o",
        "tuned.yaml",
        "--json",
    )
    done = cli(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    [gate] = [row for row in content["forms"] if row["form"] == "relu6-gate"]
    assert gate["ratio"] == gate["instructions"] / content["base"]["instructions"]
    assert gate["chosen"] == (gate["verdict"] == "fewer")
    assert content["core"]["name"] == "a55" and content["benches"] == []
    tuned = load_recipe(str(tmp_path / "tuned.yaml")).recipe
    assert any(step.name == "relu6-gate" for step in tuned.rewrites) == gate["chosen"]
