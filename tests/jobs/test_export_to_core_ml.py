"""Exports with a package for Core ML: what is said where it is not run, and what is made the same again."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from mobilekit.artifacts.coreml import environment
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.errors import ToolError
from mobilekit.store.bundle import find_changes
from mobilekit.store.stages import Stage
from tests.conftest import Cli
from tests.tiny import TINY, TINY_RECIPE

NAME = Stage.MLPACKAGE.value
NOT_HERE = pytest.mark.skipif(sys.platform == "darwin", reason="Core ML is here, and runs it")


def export(cli: Cli, folder: Path, *more: str) -> Any:
    return cli("export", TINY, "--recipe", TINY_RECIPE, "--precision", NAME, "-o", folder, *more)


def test_a_machine_without_coremltools_is_told_before_the_work(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "installed_version", lambda _name: None)
    done = export(cli, tmp_path / "bundle")
    assert done.returncode == 4
    assert "coremltools, which Core ML packages are made and read by, is not installed." in done.stderr
    assert "pip install '.[coreml]'" in done.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.fixture(scope="module")
def exported(cli: Cli, coremltools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a package."""
    folder = tmp_path_factory.mktemp("core-ml") / "bundle"
    done = export(cli, folder, "--json")
    assert done.returncode == 0, done.stderr
    (folder.parent / "result.json").write_text(done.stdout)
    return folder


@pytest.mark.slow
@NOT_HERE
def test_a_package_that_is_not_run_is_no_pass(exported: Path, cli: Cli, tmp_path: Path) -> None:
    result = json.loads((exported.parent / "result.json").read_text())
    ledger = result["ledger"]
    assert (result["verdict"], ledger["verdict"]) == ("inconclusive", "inconclusive")
    assert ledger["not_run"] == [{"stage": NAME, "reason": "Core ML runs on macOS alone"}]
    assert {row["verdict"] for row in ledger["stages"]} == {"pass"} and NAME not in {
        row["stage"] for row in ledger["stages"]
    }
    (finding,) = result["findings"]
    assert (finding["level"], finding["place"]) == ("warning", NAME)
    assert finding["text"] == "not run here: Core ML runs on macOS alone"
    junit, markdown, report = (tmp_path / name for name in ("parity.xml", "parity.md", "report.html"))
    done = cli("diff", exported, "--reference", TINY, "--junit", junit, "--markdown", markdown)
    assert done.returncode == 0, done.stderr
    assert "3 stages within the limits; mlpackage not run here" in " ".join(done.stdout.split())
    (skipped,) = ElementTree.parse(junit).iter("skipped")  # noqa: S314 - our own
    assert skipped.get("message") == "not run here: Core ML runs on macOS alone"
    assert f"| {NAME} |" in markdown.read_text() and "not run here" in markdown.read_text()
    assert cli("diff", exported, "--reference", TINY, "--strict").returncode == 1
    assert cli("report", exported, "-o", report).returncode == 0
    assert '<td class="inconclusive">not run here</td>' in report.read_text()
    card = tmp_path / "card.md"
    assert cli("card", exported, "-o", card).returncode == 0
    assert "mlpackage was not run: Core ML runs on macOS alone. Nothing is known of its outputs." in card.read_text()


@pytest.mark.slow
def test_the_bundle_holds_each_file_of_it_and_makes_them_again(exported: Path, cli: Cli, tmp_path: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    inside = {name for name in manifest["files"] if name.startswith(f"{Stage.MLPACKAGE.file}/")}
    assert {name.rpartition("/")[2] for name in inside} == {"Manifest.json", "model.mlmodel", "weight.bin"}
    assert manifest["artifacts"][Stage.MLPACKAGE.file]["format"] == NAME
    assert manifest["tools"]["coremltools"] == environment.versions()["coremltools"]
    made = sum((exported / name).stat().st_size for name in inside)
    assert json.loads((exported.parent / "result.json").read_text())["files"][Stage.MLPACKAGE.file] == made
    again = cli("verify", exported, "--rebuild", "--reference", TINY)
    assert again.returncode == 0, again.stdout + again.stderr
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    weights = copy / Stage.MLPACKAGE.file / "Data/com.apple.CoreML/weights/weight.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
    assert find_changes(copy) == [f"{weights.relative_to(copy)} is changed: its SHA-256 is not the manifest's"]


@pytest.mark.slow
def test_goldens_of_it_are_pytorchs(exported: Path, cli: Cli, tmp_path: Path) -> None:
    made = cli("goldens", "make", exported, "-o", tmp_path / "goldens", "--count", "2", "--reference", TINY)
    assert made.returncode == 0, made.stderr
    assert "note: model.mlpackage was not run: its expected values are those of the rewritten model" in made.stderr
    content = json.loads((tmp_path / "goldens" / "goldens.json").read_text())
    file = next(each for each in content["files"] if each["file"] == Stage.MLPACKAGE.file)
    tolerances = [place["logits"] for place in file["tolerances"].values()]
    assert len(tolerances) == 2 and tolerances[0] == tolerances[1]
    assert tolerances[0]["metric"] == "relative_l2" and 1e-5 < tolerances[0]["limit"] < 1e-2
    paths = [content["cases"][1][key][file["file"]] for key in ("inputs", "expected")]
    given, expected = (np.load(tmp_path / "goldens" / next(iter(each.values()))) for each in paths)
    (onnx,) = OnnxRuntime(exported / "model.onnx").run({"input": given}).values()
    assert given.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(expected, onnx, rtol=1e-5, atol=1e-5)
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1])\n"
        "numpy.save(sys.argv[3], session.run(None, {'input': numpy.load(sys.argv[2])})[0])\n"
    )
    command = f"{sys.executable} {program} {exported / 'model.onnx'}"
    checked = cli("goldens", "check", tmp_path / "goldens", "--runtime", command, "--precision", NAME)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.slow
def test_goldens_without_the_models_code_leave_it_out(exported: Path, cli: Cli, tmp_path: Path) -> None:
    made = cli("goldens", "make", exported, "-o", tmp_path / "goldens", "--count", "1")
    assert made.returncode == 0, made.stderr
    assert "note: Without model.mlpackage: goldens are of .tflite and .onnx files." in made.stderr


@pytest.mark.slow
def test_inspect_tells_what_is_in_it(exported: Path, cli: Cli) -> None:
    done = cli("inspect", exported / Stage.MLPACKAGE.file, "--ops", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["format"], found["target"], found["delegate"]) == (NAME, "iOS15", None)
    assert found["ops"] == {"conv": 3, "cast": 2, "relu": 2, "add": 1, "reduce_mean": 1, "linear": 1}
    assert [(each["name"], each["dtype"], each["shape"]) for each in found["outputs"]] == [
        ("logits", "float32", [1, 4])
    ]
    assert found["op_list"][1]["outputs"][0]["shape"] == [1, 8, 12, 12]
    assert "mlpackage, 0.01 MB, iOS15" in cli("inspect", exported / Stage.MLPACKAGE.file).stdout


@pytest.mark.slow
@pytest.mark.usefixtures("coremltools")
def test_a_model_that_is_not_converted_keeps_its_other_files(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mobilekit.convert.coreml import write

    def refuse(*_given: Any) -> None:
        raise ToolError("coremltools does not convert the model: NotImplementedError: x.", "All else is there.")

    monkeypatch.setattr(write, "convert_package", refuse)
    done = export(cli, tmp_path / "bundle", "--json", "--no-cache")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    (failed,) = result["ledger"]["failed_stages"]
    assert (failed["stage"], failed["advice"]) == (NAME, "All else is there.")
    assert result["ledger"]["not_run"] == []
    assert "model.onnx" in result["files"] and Stage.MLPACKAGE.file not in result["files"]


def test_another_system_is_a_key_of_the_recipe(tmp_path: Path) -> None:
    from mobilekit.recipes.load import load_recipe

    text = f"precision: [{NAME}]\ncoreml: {{minimum_deployment_target: iOS17}}\n"
    (tmp_path / "r.yaml").write_text(text)
    recipe = load_recipe(str(tmp_path / "r.yaml")).recipe
    assert recipe.coreml.minimum_deployment_target == "iOS17"
    assert recipe.model_dump(mode="json")["coreml"] == {"minimum_deployment_target": "iOS17"}
    assert "coreml" not in type(recipe)().model_dump(mode="json")
