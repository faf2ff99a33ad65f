"""The words that name targets, and the files that each reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.targets.catalogue import files_for, find_target, find_targets, words
from tests.conftest import Cli


def test_each_word_names_its_target() -> None:
    assert [find_target(word).name for word in words()] == words()
    assert [target.name for target in find_targets("gpu, cpu,gpu,")] == ["gpu", "cpu"]


@pytest.mark.parametrize("word", ["gpus", "gpu:", "gpu:float16"])
def test_another_word_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match=f"no target '{word}'"):
        find_target(word)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("CPU", "Known: cpu."),
        ("gpu:float16", "Known: gpu."),
        ("qnn", "Known: qnn:SM8450, qnn:SM8550, qnn:SM8650, qnn:SM8750, qnn:SM8850."),
        ("vela:u55", "Known: vela:u55-32, vela:u55-64, vela:u55-128, "),
        ("runtime:2.4", "Known: runtime:2.5, runtime:2.6, "),
        ("gpus", "Did you mean gpu"),
        ("npu", "Known: qnn:SM8650, vela:u55-256."),
        ("hexagon", "Known: cpu, gpu, qnn, rknn, runtime, vela."),
    ],
)
def test_what_is_meant_is_told_by_kind_and_in_order(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_target(word)
    assert caught.value.hint.startswith(hint)


def test_a_wrong_file_is_refused_with_the_right_one(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.int8.tflite", "model.float32.tflite"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"The target gpu reads \.tflite files, and model\.onnx is none") as caught:
        files_for(find_target("gpu"), tmp_path / "model.onnx")
    assert caught.value.hint == f"Name {tmp_path / 'model.float32.tflite'}."


def test_a_bundle_gives_its_files_in_their_order(tiny_bundle: Path) -> None:
    files = files_for(find_target("cpu"), tiny_bundle)
    assert files[0].name == "model.float32.tflite"
    assert all(path.suffix == ".tflite" for path in files)


def test_a_folder_that_is_no_bundle(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", str(tmp_path), "--target", "cpu")
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    done = cli("inspect", str(tmp_path / "absent"), "--target", "cpu")
    assert (done.returncode, "There is no file or folder" in done.stderr) == (2, True)


def test_ops_are_not_listed_by_target(cli: Cli, tmp_path: Path) -> None:
    assert cli("inspect", str(tmp_path), "--target", "cpu", "--ops").returncode == 2
