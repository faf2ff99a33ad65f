"""Which files a bench is about."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from mobilekit.bench.artifacts import Artifact, find_artifacts, printable
from mobilekit.errors import ToolError, UsageError
from mobilekit.store.bundle import MODULES, write_manifest
from tests.manifests import manifest_of

WHOLE = b"\x1c\x00\x00\x00TFL3" + bytes(20)


def write_bundle(folder: Path, *precisions: str) -> Path:
    """Make a folder that passes for a bundle."""
    (folder / "stages").mkdir(parents=True)
    for precision in precisions:
        (folder / f"model.{precision}.tflite").write_bytes(WHOLE + precision.encode())
    (folder / MODULES).write_text('{"modules": {"t": "stem"}, "classes": {}}')
    write_manifest(folder, manifest_of(precision=list(precisions)))
    return folder


def write_file(path: Path, content: bytes = WHOLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(artifacts: list[Artifact]) -> list[str]:
    return [artifact.name for artifact in artifacts]


def refusal(*paths: Path) -> UsageError:
    with pytest.raises(UsageError) as caught:
        find_artifacts(paths)
    return caught.value


def test_a_bundle_gives_its_files_in_the_order_of_its_recipe(tmp_path: Path) -> None:
    found = find_artifacts([write_bundle(tmp_path / "net", "float32", "int8")])
    assert [(each.name, each.precision) for each in found] == [
        ("net/model.float32.tflite", "float32"),
        ("net/model.int8.tflite", "int8"),
    ]
    assert {each.group for each in found} == {str(tmp_path / "net")}
    assert found[1].sha256 == hashlib.sha256(WHOLE + b"int8").hexdigest()
    assert found[1].alignment() == {"modules": {"t": "stem"}, "classes": {}}


def test_files_that_stand_alone_are_one_group(tmp_path: Path) -> None:
    found = find_artifacts([write_file(tmp_path / "b.tflite"), write_file(tmp_path / "a.tflite", WHOLE + b"2")])
    assert [(each.name, each.group, each.precision) for each in found] == [
        ("b.tflite", "files", "unknown"),
        ("a.tflite", "files", "unknown"),
    ]
    assert found[0].alignment() is None


def test_a_file_of_a_bundle_keeps_its_name_and_precision(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "net", "float32", "int8")
    (found,) = find_artifacts([folder / "model.int8.tflite"])
    assert (found.name, found.precision, found.group) == ("net/model.int8.tflite", "int8", "files")
    assert found.alignment() is not None
    (other,) = find_artifacts([write_file(folder / "other.tflite")])
    assert (other.name, other.precision, other.bundle) == ("other.tflite", "unknown", None)


def test_files_of_two_bundles_are_compared_with_each_other(tmp_path: Path) -> None:
    folders = [write_bundle(tmp_path / name, "int8") for name in ("old", "new")]
    found = find_artifacts([folder / "model.int8.tflite" for folder in folders])
    assert names(found) == ["old/model.int8.tflite", "new/model.int8.tflite"]
    assert {each.group for each in found} == {"files"}


def test_the_same_file_counts_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(tmp_path / "a.tflite")
    (tmp_path / "link.tflite").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    assert names(find_artifacts([path, Path("a.tflite"), Path("link.tflite"), tmp_path / "." / "a.tflite"])) == [
        "a.tflite"
    ]
    folder = write_bundle(tmp_path / "net", "float32", "int8")
    assert len(find_artifacts([folder, folder, folder / "model.int8.tflite"])) == 2


def test_equal_names_become_paths(tmp_path: Path) -> None:
    paths = [write_file(tmp_path / folder / "a.tflite", WHOLE + folder.encode()) for folder in ("x", "y")]
    alone = write_file(tmp_path / "b.tflite")
    assert names(find_artifacts([*paths, alone])) == [str(paths[0]), str(paths[1]), "b.tflite"]
    bundles = [write_bundle(tmp_path / folder / "net", "int8") for folder in ("p", "q")]
    assert names(find_artifacts(bundles)) == [str(folder / "model.int8.tflite") for folder in bundles]


def test_without_a_path_every_bundle_under_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "There is no bundle under artifacts/." in str(refusal())
    (tmp_path / "artifacts" / "notes").mkdir(parents=True)
    assert "mobilekit export" in refusal().hint
    for name in ("b", "a"):
        write_bundle(tmp_path / "artifacts" / name, "int8")
    assert names(find_artifacts([])) == ["a/model.int8.tflite", "b/model.int8.tflite"]


def test_a_bundle_here_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_bundle(tmp_path / "net", "int8"))
    assert names(find_artifacts([Path()])) == ["net/model.int8.tflite"]
    assert names(find_artifacts([Path("model.int8.tflite")])) == ["net/model.int8.tflite"]


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"\x08\0\0\0ONNX" + bytes(40), b"version https://git-lfs", bytes(64)]
)
def test_what_litert_would_crash_on_is_refused(tmp_path: Path, content: bytes) -> None:
    error = refusal(write_file(tmp_path / "a.tflite", content))
    assert error.what == f"{tmp_path / 'a.tflite'} is not a TFLite file: it does not begin as one."


def test_other_paths_are_refused(tmp_path: Path) -> None:
    assert "There is no file" in refusal(tmp_path / "gone.tflite").what
    assert "is neither a .tflite file" in refusal(write_file(tmp_path / "model.onnx")).what
    assert "has no manifest.json" in refusal(tmp_path).what
    assert "There is no file" in refusal(Path("/dev/null")).what


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"precision": 1}', '{"precision": null}', "\x00"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    assert "manifest.json" in refusal(tmp_path).what


def test_a_bundle_of_onnx_alone_has_nothing_to_time(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    write_bundle(folder)
    assert "has no TFLite file" in refusal(folder).what


def test_of_a_bundle_for_executorch_alone_a_file_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    write_bundle(folder)
    for name in ("model.int8.pte", "model.float32.pte"):
        (folder / name).write_bytes(WHOLE)
    assert refusal(folder).hint == f"`mobilekit bench {folder / 'model.float32.pte'}` times its .pte file."


def test_a_damaged_alignment_is_an_error_of_its_own(tmp_path: Path) -> None:
    (found,) = find_artifacts([write_bundle(tmp_path / "net", "int8")])
    (tmp_path / "net" / MODULES).write_text("{")
    with pytest.raises(ToolError, match="is damaged"):
        found.alignment()
    (tmp_path / "net" / MODULES).unlink()
    assert found.alignment() is None


def test_a_name_in_another_encoding_can_be_printed() -> None:
    assert printable(os.fsdecode(b"caf\xe9.tflite")) == "caf?.tflite"
    assert printable("käse.tflite") == "käse.tflite"


def test_a_real_bundle(digits_bundle: Path, tmp_path: Path) -> None:
    found = find_artifacts([digits_bundle])
    assert [each.precision for each in found] == ["float32", "float16", "dynamic", "int8"]
    manifest = json.loads((digits_bundle / "manifest.json").read_text())
    assert [each.sha256 for each in found] == [manifest["files"][each.path.name] for each in found]
    lonely = tmp_path / "model.int8.tflite"
    shutil.copy(found[-1].path, lonely)
    (copy,) = find_artifacts([lonely])
    assert (copy.name, copy.precision, copy.sha256) == ("model.int8.tflite", "unknown", found[-1].sha256)
