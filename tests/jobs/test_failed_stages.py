"""A TFLite file that cannot be made, opened or run is left out, with the reason; one without a limit is unjudged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.artifacts import failed_stages, find_artifacts
from mobilekit.convert import tflite
from mobilekit.errors import ToolError
from mobilekit.store.bundle import find_changes
from mobilekit.store.worker import WorkerError
from tests.conftest import Cli
from tests.tiny import TINY, TINY_RECIPE

pytestmark = pytest.mark.slow

SAID = "ValueError: scale of conv/Relu6 is <nan> & more"
REASON = f"the TensorFlow Lite converter failed: {SAID}"
Converter = Callable[..., None]


@pytest.fixture
def converter(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> Converter:
    """Put files that were made before in the converter's place: nothing is converted."""

    def install(fails: tuple[str, ...] = (), is_cut: bool = False, dies_at: str = "") -> None:
        def run_task(_task: str, request: dict[str, Any], _folder: Path) -> dict[str, Any]:
            Path(request["begun"]).touch()
            for precision, path in request["files"].items():
                if precision == dies_at:
                    raise ToolError("the TFLite conversion was killed") from WorkerError("", code=-11)
                if precision not in fails:
                    shutil.copy(tiny_bundle / Path(path).name, path)
            if is_cut:
                path = Path(request["files"]["int8"])
                path.write_bytes(path.read_bytes()[:200])
            said = {"error": SAID, "tool": "the TensorFlow Lite converter"}
            return {"output_layouts": {}, "failed": dict.fromkeys(fails, said)}

        monkeypatch.setattr(tflite, "run_task", run_task)

    return install


def export(cli: Cli, folder: Path, *more: str) -> Any:
    return cli("export", TINY, "--recipe", TINY_RECIPE, "--no-cache", "-o", folder, "--json", *more)


def test_int8_that_cannot_be_made_leaves_the_others(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    converter(fails=("int8",))
    bundle = tmp_path / "bundle"
    done = export(cli, bundle)
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["verdict"] == "fail"
    (failed,) = result["ledger"]["failed_stages"]
    assert (failed["stage"], failed["reason"]) == ("tflite-int8", REASON)
    assert [(each["rule"], each["stage"]) for each in result["findings"]] == [("stage", "tflite-int8")]
    assert {"model.onnx", "model.float32.tflite", "model.float16.tflite", "model.dynamic.tflite"} <= result[
        "files"
    ].keys()
    assert not (bundle / "model.int8.tflite").exists()
    assert find_changes(bundle) == []
    _is_said_by_every_command(bundle, cli, tmp_path)


def _is_said_by_every_command(bundle: Path, cli: Cli, folder: Path) -> None:
    verified = cli("verify", bundle)
    assert verified.returncode == 0 and REASON in " ".join(verified.stdout.split())
    reports = [folder / name for name in ("a.xml", "a.md", "a.sarif")]
    words = [
        word for name, path in zip(("junit", "markdown", "sarif"), reports, strict=True) for word in (f"--{name}", path)
    ]
    measured = cli("diff", bundle, "--reference", TINY, *words)
    assert measured.returncode == 1 and "tflite-int8: left out" in measured.stdout
    assert cli("report", bundle, "-o", folder / "a.html").returncode == 0
    for path in (*reports, folder / "a.html"):
        assert "scale of conv/Relu6 is" in path.read_text()
    inspected = cli("inspect", bundle / "model.int8.tflite")
    assert inspected.returncode == 2 and REASON in " ".join(inspected.stderr.split())
    assert [each.precision for each in find_artifacts([bundle])] == ["float32", "float16", "dynamic"]
    assert failed_stages([bundle]) == [f"{bundle} has no tflite-int8: {REASON}."]


def test_a_file_that_does_not_open_is_left_out(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    converter(is_cut=True)
    done = export(cli, tmp_path / "bundle")
    assert done.returncode == 1, done.stderr
    (failed,) = json.loads(done.stdout)["ledger"]["failed_stages"]
    assert failed["stage"] == "tflite-int8" and "LiteRT cannot open model.int8.tflite" in failed["reason"]
    assert not (tmp_path / "bundle" / "model.int8.tflite").exists()


def test_stages_made_from_one_that_failed_are_left_out_with_it(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    converter(fails=("float32",))
    result = json.loads(export(cli, tmp_path / "bundle").stdout)
    failed = {each["stage"]: each["follows"] for each in result["ledger"]["failed_stages"]}
    others = dict.fromkeys(("tflite-float16", "tflite-dynamic", "tflite-int8"), "tflite-float32")
    assert failed == {"tflite-float32": None, **others}
    assert "model.onnx" in result["files"]
    assert not [name for name in result["files"] if name.endswith(".tflite")]


def test_a_converter_that_dies_of_one_file_makes_the_others(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    converter(dies_at="float16")
    result = json.loads(export(cli, tmp_path / "bundle").stdout)
    assert [each["stage"] for each in result["ledger"]["failed_stages"]] == ["tflite-float16"]
    assert {"model.float32.tflite", "model.dynamic.tflite", "model.int8.tflite"} <= result["files"].keys()


@pytest.mark.parametrize("failing", [{"fails": ("int8",)}, {"is_cut": True}], ids=["made", "opened"])
def test_strict_leaves_nothing(converter: Converter, failing: dict[str, Any], cli: Cli, tmp_path: Path) -> None:
    converter(**failing)
    done = export(cli, tmp_path / "bundle", "--strict")
    assert done.returncode == 4
    assert not (tmp_path / "bundle").exists()


def test_what_was_left_out_is_tried_again(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    converter(fails=("int8",))
    bundle, words = tmp_path / "bundle", (TINY, "--recipe", TINY_RECIPE, "-o")
    cache = {"MOBILEKIT_CACHE": str(tmp_path / "cache")}
    assert cli("export", *words, bundle, **cache).returncode == 1
    again = cli("export", *words, bundle, "--strict", **cache)
    assert again.returncode == 4 and "was exported without tflite-int8" in " ".join(again.stderr.split())
    converter()
    assert cli("export", *words, tmp_path / "other", **cache).returncode == 0


def test_an_unjudged_stage_is_inconclusive_and_strict_fails(converter: Converter, cli: Cli, tmp_path: Path) -> None:
    """A limit that the recipe loosens beyond a half, with its reason, is none."""
    converter()
    recipe, bundle = tmp_path / "recipe.yaml", tmp_path / "bundle"
    loose = "limits: {tflite-int8: {relative_l2: 0.8, reason: a trial}}\n"
    recipe.write_text(TINY_RECIPE.read_text() + loose)
    words = ("export", TINY, "--recipe", recipe, "--no-cache", "-o", bundle)
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("inconclusive: ") and "unjudged: its limit of 8.0e-01 is above 0.5" in done.stdout
    assert cli(*words, "--strict").returncode == 1
    diff = ("diff", bundle, "--reference", TINY)
    assert [cli(*diff).returncode, cli(*diff, "--strict").returncode] == [0, 1]
    assert cli("report", bundle, "-o", tmp_path / "a.html").returncode == 0
    assert "<strong>inconclusive</strong>: " in (tmp_path / "a.html").read_text()
