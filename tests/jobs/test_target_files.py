"""Files for a target alone: written where the common one has what the target computes wrongly, and held to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mobilekit.bench.artifacts import find_artifacts
from mobilekit.cli.findings import gate_words
from mobilekit.errors import UsageError
from mobilekit.jobs.target_files import check_target_files, notes_of_target_files, write_target_files
from mobilekit.parity.ledger.result import Ledger, MeasuredOn
from mobilekit.recipes.inputs.builtin import Evaluation
from mobilekit.store.bundle import write_manifest
from mobilekit.store.stages import Stage
from mobilekit.targets.catalogue import files_for, find_target
from tests.manifests import manifest_of
from tests.tflite_by_hand import make_grouped

STAGES = (Stage.ONNX_SIMPLIFIED, Stage.TFLITE_FLOAT32, Stage.TFLITE_INT8)
LEDGER = Ledger(MeasuredOn("noise", 5), {}, ())
OWN = "model.int8.gpu.tflite"
EVALUATION = Evaluation("noise", {"t0": np.random.default_rng(0).normal(size=(5, 8, 4, 4)).astype(np.float32)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle whose int8 file the GPU computes wrongly, and whose other file it does not."""
    folder = tmp_path / "net"
    (folder / "stages").mkdir(parents=True)
    (folder / "model.float32.tflite").write_bytes(make_grouped(3, 2))
    (folder / "model.int8.tflite").write_bytes(make_grouped(1, 2))
    return folder


def test_a_target_gets_a_file_where_it_is_wrong(folder: Path) -> None:
    assert list(notes_of_target_files(folder, STAGES)) == []
    write_target_files(folder, STAGES, "cpu")
    write_target_files(folder, STAGES, "gpu")
    assert sorted(path.name for path in folder.glob("*.gpu.*")) == [OWN]
    [note] = notes_of_target_files(folder, STAGES)
    assert note.startswith(
        f"{OWN} is for gpu alone: the function of model.int8.tflite, which gpu would compute wrongly"
    )
    [gate] = check_target_files(folder, LEDGER, STAGES, EVALUATION)
    assert (gate.artifact, gate.gate, gate.target, gate.value, gate.verdict) == (OWN, "same-function", "gpu", 0, "pass")


def test_another_function_fails(folder: Path) -> None:
    (folder / OWN).write_bytes(make_grouped(3, 2))
    [gate] = check_target_files(folder, LEDGER, STAGES, EVALUATION)
    assert gate.verdict == "fail"
    assert gate.value > 0.1
    assert gate_words(gate).endswith("to the file that it stands for, at most 0.0e+00")


def test_that_file_is_asked_about_and_timed(folder: Path) -> None:
    write_target_files(folder, STAGES, "gpu")
    write_manifest(folder, manifest_of(precision=["float32", "int8"]))
    names = {word: [path.name for path in files_for(find_target(word), folder)] for word in ("gpu", "cpu")}
    assert names == {
        "gpu": ["model.float32.tflite", OWN],
        "cpu": ["model.float32.tflite", "model.int8.tflite"],
    }
    assert [each.name for each in find_artifacts([folder], "gpu")] == ["net/model.float32.tflite", f"net/{OWN}"]
    assert [each.name for each in find_artifacts([folder])] == ["net/model.float32.tflite", "net/model.int8.tflite"]


def test_a_bundle_that_lost_that_file_is_refused(folder: Path) -> None:
    write_target_files(folder, STAGES, "gpu")
    write_manifest(folder, manifest_of(precision=["float32", "int8"]))
    (folder / OWN).unlink()
    with pytest.raises(UsageError, match=r"model\.int8\.gpu\.tflite is gone, which the export wrote for gpu"):
        files_for(find_target("gpu"), folder)
    assert len(files_for(find_target("cpu"), folder)) == 2
