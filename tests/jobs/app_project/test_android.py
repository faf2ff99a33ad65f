"""The project for Android: what can be seen without a compiler. tests/zoo/test_app_android.py compiles it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mobilekit.jobs.app_project.write import rendered
from tests.command_line import Cli
from tests.jobs.app_project.facts import SPECS, make_facts


@pytest.mark.slow
def test_files_labels_and_goldens_are_assets(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\nnone\n")
    words = ("--labels", tmp_path / "names.txt", "--precision", "int8,float32", "--name", "Tiny net")
    done = cli("app", "android", tiny_bundle, "-o", tmp_path / "app", *words)
    assert done.returncode == 0, done.stderr
    assert "note: It was not built here: " in done.stderr
    assert "Without tolerances for GPUs" in done.stderr  # which the test on a phone would have
    source = tmp_path / "app" / "app" / "src"
    names = ["labels.txt", "model.float32.tflite", "model.int8.tflite"]
    assert sorted(path.name for path in (source / "main" / "assets").iterdir()) == names
    goldens = source / "androidTest" / "assets" / "goldens"
    assert json.loads((goldens / "goldens.json").read_text())["bundle"] == "../../../main/assets"
    assert cli("goldens", "check", goldens).returncode == 0
    facts = (source / "main" / "kotlin" / "Facts.kt").read_text()
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    taken = manifest["artifacts"]["model.int8.tflite"]["inputs"][0]
    assert f'TensorFacts("input", Numbers.INT8, {taken["scale"]}, {taken["zero_point"]})' in facts
    assert facts.index("model.int8.tflite") < facts.index("model.float32.tflite")  # as they were named
    assert 'rootProject.name = "tiny_net"' in (tmp_path / "app" / "settings.gradle.kts").read_text()
    assert "**This project was not built where it was written**" in (tmp_path / "app" / "README.md").read_text()


def test_xml_is_well_formed_and_versions_are_exact() -> None:
    files = dict(rendered("android", make_facts("android", SPECS["gray"])))
    found = [path for path in files if path.endswith(".xml")]
    assert len(found) == 2
    for path in found:
        ElementTree.fromstring(files[path])  # noqa: S314 - our own
    gradle = files["app/build.gradle.kts"] + files["build.gradle.kts"]
    assert len(re.findall(r'"[\w.-]+:[\w.-]+:\d+\.\d+\.\d+"', gradle)) == 4
    assert len(re.findall(r'version "\d+\.\d+\.\d+"', gradle)) == 2
    assert not re.search(r"latest|\+\"", gradle)


@pytest.mark.parametrize("kind", SPECS)
def test_each_import_is_used_and_braces_close(kind: str) -> None:
    for path, text in rendered("android", make_facts("android", SPECS[kind])):
        if path.endswith((".kt", ".kts")):
            assert text.count("{") == text.count("}") and text.count("(") == text.count(")"), path
            body = re.sub(r"^import .*\n", "", text, flags=re.MULTILINE)
            imported = re.findall(r"^import [\w.]+\.(\w+)$", text, re.MULTILINE)
            assert [name for name in imported if not re.search(rf"\b{name}\b", body)] == [], path
            assert all(len(line) <= 120 or '"' in line for line in text.splitlines()), path
