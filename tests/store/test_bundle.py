"""The manifest vouches for every byte of a bundle, its own included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilekit.errors import UsageError
from mobilekit.store.bundle import LEDGER, MANIFEST, find_changes, open_bundle, write_manifest
from mobilekit.store.files import sha256_of
from mobilekit.store.stages import Stage
from tests.manifests import manifest_of

CONTENT = manifest_of(
    model={
        "name": "größe",
        "options": {"width": 0.25, "deep": [1, None, True, -1e-9]},
        "weights": {"source": "trained", "trained": True, "sha256": "0" * 64},
    },
    precision=["float32", "int8"],
)
FILES = {
    "model.onnx": b"\x08\x07onnx" * 40,
    "model.int8.tflite": b"\x00\x00\x00\x00TFL3" + bytes(range(256)),
    "ledger.json": b'{"verdict": "pass"}\n',
    "stages/reference.safetensors": b"\xff" * 300,
    "stages/empty": b"",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    for name, data in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    write_manifest(folder, CONTENT)
    return folder


def _flip(path: Path, byte: int, bit: int) -> bytes:
    """Flip one bit of a file and return what it was."""
    before = path.read_bytes()
    changed = bytearray(before)
    changed[byte] ^= 1 << bit
    path.write_bytes(changed)
    return before


def test_a_bundle_as_written_has_no_changes(bundle: Path) -> None:
    assert find_changes(bundle) == []
    opened = open_bundle(bundle)
    assert opened.manifest["files"] == {name: sha256_of(bundle / name) for name in sorted(FILES)}
    assert {key: opened.manifest[key] for key in CONTENT} == CONTENT
    assert opened.ledger == {"verdict": "pass"}
    assert opened.precisions == ["int8"], "float32 is not among the files"


def test_writing_the_manifest_again_vouches_for_the_new_bytes(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(b"other")
    assert find_changes(bundle) == ["model.onnx is changed: its SHA-256 is not the manifest's"]
    write_manifest(bundle, CONTENT)
    assert find_changes(bundle) == []


def test_every_byte_of_the_manifest_counts(bundle: Path) -> None:
    path = bundle / MANIFEST
    missed = []
    for byte in range(path.stat().st_size):
        before = _flip(path, byte, byte % 8)
        if not any(MANIFEST in change for change in find_changes(bundle)):
            missed.append(byte)
        path.write_bytes(before)
    assert missed == []
    assert find_changes(bundle) == []


def test_every_bit_of_the_manifest_of_an_empty_folder_counts(tmp_path: Path) -> None:
    write_manifest(tmp_path, {})
    path = tmp_path / MANIFEST
    positions = [(byte, bit) for byte in range(path.stat().st_size) for bit in range(8)]
    missed = []
    for byte, bit in positions:
        before = _flip(path, byte, bit)
        if find_changes(tmp_path) == []:
            missed.append((byte, bit))
        path.write_bytes(before)
    assert len(positions) > 700
    assert missed == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_of_any_file_is_found(bundle: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name, content in FILES.items() if content]))
    byte = data.draw(st.integers(0, len(FILES[name]) - 1))
    before = _flip(bundle / name, byte, data.draw(st.integers(0, 7)))
    changes = find_changes(bundle)
    (bundle / name).write_bytes(before)
    assert changes == [f"{name} is changed: its SHA-256 is not the manifest's"]
    assert find_changes(bundle) == []


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert find_changes(bundle) == [f"{name} is missing"]


def test_a_file_that_the_manifest_does_not_list_is_found(bundle: Path) -> None:
    (bundle / "notes.txt").write_text("mine")
    (bundle / "stages" / MANIFEST).write_text("{}")
    (bundle / "stages" / "link").symlink_to(bundle)
    (bundle / "empty").mkdir()
    added = ["notes.txt", "stages/link", f"stages/{MANIFEST}"]
    assert find_changes(bundle) == [f"{name} is not in the manifest" for name in added]


def test_a_longer_and_a_shorter_file_are_found(bundle: Path) -> None:
    (bundle / "stages" / "empty").write_bytes(b"\0")
    (bundle / "model.onnx").write_bytes(FILES["model.onnx"][:-1])
    assert {change.split()[0] for change in find_changes(bundle)} == {"model.onnx", "stages/empty"}


def test_a_folder_in_a_files_place_is_found(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    (bundle / "model.onnx").mkdir()
    assert find_changes(bundle) == ["model.onnx is missing"]


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: " " + text,
        lambda text: text.replace('"format": 1', '"format":  1'),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(json.loads(text), indent=2, ensure_ascii=True) + "\n",
        lambda text: json.dumps(dict(reversed(json.loads(text).items())), indent=2, ensure_ascii=False) + "\n",
        lambda text: text.replace("{", '{\n  "format": 1,', 1),
    ],
    ids=["newline", "no newline", "space", "two spaces", "crlf", "one line", "escapes", "order", "doubled key"],
)
def test_the_same_json_written_otherwise_is_found(bundle: Path, edit: object) -> None:
    path = bundle / MANIFEST
    text = path.read_text()
    changed = edit(text)  # type: ignore[operator]
    assert changed != text
    path.write_bytes(changed.encode())
    assert find_changes(bundle) == [f"{MANIFEST} is changed"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"files": {}}'])
def test_a_manifest_that_is_none_is_found(bundle: Path, text: str) -> None:
    (bundle / MANIFEST).write_text(text)
    assert find_changes(bundle) == [f"{MANIFEST} is changed: it cannot be read"]


def test_a_missing_manifest_is_found(bundle: Path) -> None:
    (bundle / MANIFEST).unlink()
    assert find_changes(bundle) == [f"{MANIFEST} is missing"]


def test_opening_what_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a bundle: it has no manifest.json") as caught:
        open_bundle(tmp_path)
    assert str(tmp_path) in caught.value.what
    assert "mobilekit export" in caught.value.hint
    with pytest.raises(UsageError, match="is not a bundle"):
        open_bundle(tmp_path / "missing")
    (tmp_path / LEDGER).write_text("{}")
    with pytest.raises(UsageError, match="is not a bundle: it is a file"):
        open_bundle(tmp_path / LEDGER)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\x00", b"[]", b"null"])
def test_opening_a_damaged_manifest(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MANIFEST).write_bytes(data)
    with pytest.raises(UsageError, match=r"manifest.json cannot be read"):
        open_bundle(tmp_path)


def test_names_of_artifacts() -> None:
    assert Stage.TFLITE_INT8.file == "model.int8.tflite"


def test_a_core_ml_package_is_no_bundle_whatever_its_manifest_is_called(tmp_path: Path) -> None:
    package = tmp_path / "model.mlpackage"
    package.mkdir()
    (package / MANIFEST).write_text("{}")
    with pytest.raises(UsageError, match=r"model\.mlpackage is a Core ML package, and not a bundle"):
        open_bundle(package)
