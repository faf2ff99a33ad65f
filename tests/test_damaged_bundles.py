"""Folders and files that are no bundle, or one that was damaged: every command that reads them says so in two lines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mobilekit.errors import MobilekitError
from mobilekit.store.bundle import MANIFEST, Bundle, find_changes, open_bundle
from tests.command_line import Cli, Said
from tests.conftest import ROOT

OLD = ROOT / "tests" / "data" / "written_by_0_1"
BUNDLE = OLD / "bundle"
REFERENCE = ("--reference", f"{OLD / 'nets.py'}:make")
COMMANDS: dict[str, tuple[str | Path, ...]] = {
    "diff": ("diff", "{}", *REFERENCE),
    "report": ("report", "{}", "-o", "{}.html"),
    "card": ("card", "{}", "-o", "{}.md"),
    "verify": ("verify", "{}"),
    "bench": ("bench", "{}", "--rounds", "1"),
    "ranges": ("ranges", "{}", *REFERENCE),
    "rebuild": ("verify", "{}", "--rebuild", *REFERENCE),
}
Damage = Callable[[Path], None]


def run(cli: Cli, command: str, path: Path) -> Said:
    return cli(*(str(word).replace("{}", str(path)) for word in COMMANDS[command]))


def is_told(said: Said, code: int, *words: str) -> None:
    lines = [line for line in said.stderr.splitlines() if line.startswith("error: ")]
    assert (said.returncode, len(lines)) == (code, 1), said.stderr
    assert "fault of mobilekit" not in said.stderr
    assert said.stderr.splitlines()[-1] != lines[0], "what to do next is missing"
    for word in words:
        assert word in said.stderr


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize("command", ["diff", "report", "bench"])
def test_an_empty_folder(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "empty").mkdir()
    is_told(run(cli, command, tmp_path / "empty"), 2, "empty is not a bundle: it has no manifest.json")


def test_an_empty_folder_is_not_as_it_was_exported(cli: Cli, tmp_path: Path) -> None:
    is_told(run(cli, "verify", tmp_path), 1, "manifest.json is missing")


@pytest.mark.parametrize("command", ["diff", "report", "verify"])
def test_a_file_in_place_of_a_folder(cli: Cli, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("bundle")
    is_told(run(cli, command, tmp_path / "file"), 2, str(tmp_path / "file"))


def test_a_report_of_a_changed_bundle_says_so(cli: Cli, bundle: Path, tmp_path: Path) -> None:
    page = tmp_path / "a.html"
    assert cli("report", bundle, "-o", page).returncode == 0
    (bundle / "model.onnx").write_bytes(b"another")
    is_told(cli("report", bundle, "-o", page), 1, "is not as it was exported: model.onnx is changed")
    assert "changed since the export: model.onnx is changed" in page.read_text()


@pytest.mark.parametrize("command", ["diff", "report", "bench", "ranges"])
@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be"),
        ("\xff", "manifest.json cannot be read"),
        ('{"format": 2, "model": {}}', "the format 2, and this version of mobilekit reads 1"),
        ('{"format": 1}', "Field required"),
        ("[" * 100_000, "manifest.json cannot be read"),
    ],
    ids=["cut", "list", "not UTF-8", "another format", "fields", "deep"],
)
def test_a_manifest_that_is_none(cli: Cli, bundle: Path, command: str, manifest: str, why: str) -> None:
    (bundle / MANIFEST).write_bytes(manifest.encode("latin-1"))
    is_told(run(cli, command, bundle), 2, "manifest.json", why)


def _set(file: str, *place: str, value: Any) -> Damage:
    def damage(bundle: Path) -> None:
        content = json.loads((bundle / file).read_text())
        node = content
        for word in place[:-1]:
            node = node[word]
        node[place[-1]] = value
        (bundle / file).write_text(json.dumps(content))

    return damage


def _cut(file: str, share: float = 0.5) -> Damage:
    def damage(bundle: Path) -> None:
        content = (bundle / file).read_bytes()
        (bundle / file).write_bytes(content[: int(len(content) * share)])

    return damage


def _other_weights(bundle: Path) -> None:
    shutil.copy(bundle / "stages" / "rewritten.safetensors", bundle / "stages" / "reference.safetensors")


def _remove(file: str) -> Damage:
    return lambda bundle: (bundle / file).unlink()


KINDS: dict[str, tuple[str, Damage, int, str]] = {
    "options": ("diff", _set(MANIFEST, "model", "options", value={"width": 3, "of": 4}), 2, "has no option of"),
    "model": ("report", _set(MANIFEST, "model", value=None), 2, "manifest.json cannot be read: model"),
    "files": ("report", _set(MANIFEST, "files", value=[1]), 2, "manifest.json cannot be read: files"),
    "recipe": ("diff", _set(MANIFEST, "recipe", "content", value={"rewrites": 3}), 2, "whose recipe this version"),
    "rewrite": ("diff", _set(MANIFEST, "recipe", "content", "rewrites", value=[{"name": "x"}]), 2, "no rewrite x"),
    "weights": ("diff", _other_weights, 2, "is not the model that"),
    "cut weights": ("diff", _cut("stages/reference.safetensors"), 2, "reference.safetensors cannot be read"),
    "cut rewritten": ("ranges", _cut("stages/rewritten.safetensors"), 2, "rewritten.safetensors cannot be read"),
    "layouts": ("diff", lambda b: (b / "stages/tflite.layouts.json").write_text("[]") and None, 2, "tflite.layouts"),
    "ranges": ("diff", _set("stages/ranges.json", "x", value="wide"), 2, "ranges.json cannot be read"),
    "cut file": ("diff", _cut("model.int8.tflite"), 4, "model.int8.tflite"),
    "cut onnx": ("diff", _cut("model.onnx"), 4, "model.onnx"),
    "no file": ("diff", _remove("model.float32.tflite"), 4, "model.float32.tflite"),
    "no weights": ("diff", _remove("stages/reference.safetensors"), 2, "reference.safetensors"),
    "no ledger": ("report", _remove("ledger.json"), 2, "ledger.json"),
    "cut ledger": ("report", _cut("ledger.json"), 2, "ledger.json"),
    "ledger's stages": ("report", _set("ledger.json", "stages", value=[{"stage": 1}]), 2, "ledger.json"),
    "ledger's rewrites": ("report", _set("ledger.json", "rewrites", value="none"), 2, "ledger.json"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_part_of_a_bundle(cli: Cli, bundle: Path, kind: str) -> None:
    command, damage, code, words = KINDS[kind]
    damage(bundle)
    is_told(run(cli, command, bundle), code, words)


@pytest.mark.parametrize("damage", [_set(MANIFEST, "files", value=[1]), _set(MANIFEST, "files", "a" * 5000, value="")])
def test_verify_finds_a_damaged_list_of_files(cli: Cli, bundle: Path, damage: Damage) -> None:
    damage(bundle)
    is_told(run(cli, "verify", bundle), 1, "manifest.json is changed")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def _places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all that is in JSON data."""
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [place, *(below for key, value in pairs for below in _places(value, (*place, key)))]


MANIFEST_TEXT = (BUNDLE / MANIFEST).read_text()
PLACES = [place for place in _places(json.loads(MANIFEST_TEXT)) if place]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PLACES), JSON)
def test_no_damage_to_a_manifest_is_a_fault(tmp_path: Path, place: tuple[Any, ...], value: Any) -> None:
    content = json.loads(MANIFEST_TEXT)
    node = content
    for word in place[:-1]:
        node = node[word]
    node[place[-1]] = value
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    assert find_changes(tmp_path)
    try:
        assert isinstance(open_bundle(tmp_path), Bundle)
    except MobilekitError as error:
        assert MANIFEST in error.what and error.hint


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(MANIFEST_TEXT)), st.binary(max_size=4))
def test_no_garbage_in_a_manifest_is_a_fault(tmp_path: Path, place: int, garbage: bytes) -> None:
    text = MANIFEST_TEXT.encode()
    (tmp_path / MANIFEST).write_bytes(text[:place] + garbage + text[place + len(garbage) + 1 :])
    assert find_changes(tmp_path)
    try:
        open_bundle(tmp_path)
    except MobilekitError as error:
        assert error.hint
