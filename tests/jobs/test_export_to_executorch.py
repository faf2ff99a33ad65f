"""Exports with a file for ExecuTorch: with its own runtime where it is set up, and what is said where it is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mobilekit.artifacts.analysis.precision import precision_of
from mobilekit.artifacts.executorch import environment
from mobilekit.artifacts.executorch.pte import read_pte
from mobilekit.convert.executorch import write
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.compare import pair_of_bundle
from mobilekit.store.bundle import OUTSIDE, Bundle
from mobilekit.store.stages import Stage
from tests.conftest import Cli
from tests.tiny import TINY, TINY_RECIPE

PTE, FLOAT16, INT8 = Stage.PTE_FLOAT32, Stage.PTE_FLOAT16, Stage.PTE_INT8


def export(cli: Cli, folder: Path, *more: str) -> Any:
    forms = ("--precision", f"float32,{PTE}")
    return cli("export", TINY, "--recipe", TINY_RECIPE, *forms, "-o", folder, *more)


@pytest.fixture
def without_executorch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "absent"))


@pytest.mark.usefixtures("without_executorch")
def test_a_machine_without_executorch_is_told_before_the_work(cli: Cli, tmp_path: Path) -> None:
    done = export(cli, tmp_path / "bundle")
    assert done.returncode == 4
    assert f"which {environment.VARIABLE} names, is no Python" in " ".join(done.stderr.split())
    assert environment.COMMAND in done.stderr
    assert [*tmp_path.iterdir()] == []


def test_a_gate_on_it_is_read_and_written_back(tmp_path: Path) -> None:
    from mobilekit.recipes.load import load_recipe
    from mobilekit.recipes.schema import Recipe

    (tmp_path / "r.yaml").write_text(f"precision: [{PTE}]\ngates:\n  {PTE}: {{max_partitions: 1}}\n")
    recipe = load_recipe(str(tmp_path / "r.yaml")).recipe
    assert recipe.programs == (PTE,)
    assert recipe.gates.files[PTE.value].max_partitions == 1  # type: ignore[index]
    written = recipe.model_dump(mode="json")
    assert written["gates"] == {PTE.value: {"max_partitions": 1, "max_size_mb": None}}
    assert Recipe.model_validate(written) == recipe


def test_a_file_for_executorch_alone_is_not_bisected(tmp_path: Path) -> None:
    rows = [SimpleNamespace(stage=PTE, verdict="fail")]
    with pytest.raises(UsageError, match="pte-float32 failed, and ExecuTorch does not show the values") as caught:
        pair_of_bundle(Bundle(tmp_path, {}), SimpleNamespace(rows=rows), None, None)  # type: ignore[arg-type]
    assert f"mobilekit diff {tmp_path} --layers --precision {PTE}" in caught.value.hint


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_a_model_that_cannot_be_lowered_keeps_its_other_files(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> None:
        raise ToolError(
            "ExecuTorch does not lower the model: RuntimeError: Missing out variants.", "All else is there."
        )

    monkeypatch.setattr(write, "lower", refuse)
    done = export(cli, tmp_path / "bundle", "--json", "--no-cache")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    (failed,) = result["ledger"]["failed_stages"]
    assert (failed["stage"], failed["advice"]) == (PTE, "All else is there.")
    assert failed["reason"] == "ExecuTorch does not lower the model: RuntimeError: Missing out variants"
    assert {"model.onnx", "model.float32.tflite"} <= result["files"].keys()
    assert PTE.file not in result["files"]


@pytest.mark.slow
@pytest.mark.usefixtures("executorch")
def test_the_file_is_proved_by_executorchs_own_runtime(cli: Cli, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    forms = ("--precision", f"float32,{PTE},{FLOAT16},{INT8}")
    done = cli("export", TINY, "--recipe", TINY_RECIPE, *forms, "-o", bundle, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    totals = {row["stage"]: row for row in result["ledger"]["stages"] if row["against"] == Stage.REFERENCE}
    float32, row = totals[Stage.TFLITE_FLOAT32], totals[PTE]
    assert row["verdict"] == "pass" and 0 < row["relative_l2"] < 1e-6
    assert [limit["limit"] for limit in row["limits"]] == [limit["limit"] for limit in float32["limits"]]
    quantized = totals[INT8]
    assert quantized["verdict"] == "pass" and 1e-3 < quantized["relative_l2"] < 0.05
    assert {limit["metric"] for limit in quantized["limits"]} >= {"relative_l2"}
    assert {row["against"] for row in result["ledger"]["stages"] if row["stage"] == INT8} == {Stage.REFERENCE, PTE}
    halved = totals[FLOAT16]
    (limit,) = halved["limits"]
    assert (halved["verdict"], limit["metric"], halved["random_limits"]) == ("pass", "relative_l2", [])
    assert "rounded to float16" in limit["derivation"]
    assert 1e-5 < halved["relative_l2"] <= limit["limit"] < 1e-2
    found = read_pte(bundle / FLOAT16.file)
    assert (len(found.parts), found.outside) == (1, ("_to_dim_order_copy", "_to_dim_order_copy"))
    assert [each.dtype for each in (*found.inputs, *found.outputs)] == ["float32", "float32"]
    told = cli("inspect", bundle / FLOAT16.file).stdout
    assert "the file computes in float16, and takes and gives float32" in " ".join(told.split())
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["tools"]["executorch"] == environment.versions()["executorch"]
    assert manifest["artifacts"][PTE.file]["format"] == "pte"
    assert manifest["artifacts"][PTE.file]["outputs"][0]["name"] == "logits"
    assert OUTSIDE.format(PTE) in manifest["files"]
    assert [result["ledger"]["artifacts"][each.file]["partitions"] for each in (PTE, FLOAT16, INT8)] == [1, 1, 1]
    assert cli("verify", bundle, "--rebuild", "--reference", TINY).returncode == 0
    looked = ("--layers", "--precision", f"{FLOAT16},{INT8}", "--reference", TINY)
    inside = cli("diff", bundle, *looked, "--json")
    assert inside.returncode == 0, inside.stderr
    stages = {stage["stage"]: stage for stage in json.loads(inside.stdout)["layers"]["stages"]}
    assert [*stages] == ["reference", "rewritten", "onnx", "onnx-simplified", PTE, FLOAT16, INT8]
    for stage in (PTE, FLOAT16, INT8):
        found = stages[stage]
        assert found["observer"]["identical"]
        assert len(found["layers"]) == len(stages["onnx"]["layers"]) > 2
    assert stages[INT8]["against"] == stages[FLOAT16]["against"] == PTE
    for stage, precision in ((PTE, "float32"), (FLOAT16, "float16"), (INT8, "int8")):
        file = bundle / stage.file
        assert precision_of(file) == precision
        compared = cli("diff", "--reference", TINY, "--recipe", TINY_RECIPE, "--candidate", file, "--json")
        assert compared.returncode == 0, compared.stderr
        (measured,) = json.loads(compared.stdout)["stages"]
        assert (measured["stage"], measured["verdict"]) == (stage.file, "pass")
        assert measured["relative_l2"] == pytest.approx(totals[stage]["relative_l2"], rel=0.01)
