"""The model card of a bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from mobilekit.cli.render.count import count_markdown
from mobilekit.store.bundle import OUTSIDE, write_manifest
from mobilekit.store.stages import Stage
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.command_line import Cli

pytestmark = pytest.mark.slow
BENCH = (
    "## Bench on Pixel 8 (arm64-v8a, Android 15)\n\n| file | median ms |\n| --- | --- |\n| model.int8.tflite | 3.1 |\n"
)


def card(cli: Cli, bundle: Path, path: Path, *options: str | Path) -> str:
    done = cli("card", bundle, "-o", path, *options)
    assert done.returncode == 0, done.stderr
    return path.read_text()


def test_a_card_has_what_the_bundle_holds(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    text = card(cli, tiny_bundle, tmp_path / "README.md", "--license", "apache-2.0", "--name", "Tiny | net")
    _, head, body = text.split("---\n", 2)
    assert yaml.safe_load(head) == {"license": "apache-2.0", "tags": ["mobilekit", "tflite", "litert", "onnx"]}
    assert body.strip().startswith("# Tiny \\| net\n")
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    for name in manifest["artifacts"]:
        size = (tiny_bundle / name).stat().st_size / 1e6
        assert f"| {name} | {size:.2f} | input " in body
        assert manifest["files"][name] in body
    for row in json.loads((tiny_bundle / "ledger.json").read_text())["stages"]:
        assert f"| {row['stage']} | {row['output']} | " in body
    assert "- license: apache-2.0" in body
    assert "Nobody measured its latency" in body


def test_a_card_says_that_ops_are_outside_of_the_parts(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    bundle, file = tmp_path / "bundle", Stage.TFLITE_FLOAT32.file
    shutil.copytree(tiny_bundle, bundle)
    (bundle / OUTSIDE.format(Stage.TFLITE_FLOAT32)).write_text('[{"op": "cast"}, {"op": "cast"}]')
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest.pop("self_sha256")
    write_manifest(bundle, manifest)
    text = card(cli, bundle, tmp_path / "README.md")
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {file} |"))
    assert " | 1, 2 ops outside | " in row


def test_a_card_says_what_nobody_said_and_takes_a_bench(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bench.md").write_text(BENCH)
    text = card(cli, tiny_bundle, tmp_path / "README.md", "--bench", tmp_path / "bench.md")
    assert "license" not in yaml.safe_load(text.split("---\n", 2)[1])
    assert "- license: nobody said it" in text and "`mobilekit card --license` says it" in text
    assert BENCH.strip() in text and "Nobody measured its latency" not in text
    assert str(Path(__file__).parents[1]) not in text, "no folder of this disk"
    assert "tiny.py:make_tiny" in text


def test_a_card_takes_counts_beside_times_and_knows_that_they_are_none(
    tiny_bundle: Path, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "bench.md").write_text(BENCH)
    counts = count_markdown(make_result(make_file(make_model())))
    (tmp_path / "counts.md").write_text(counts)
    alone = card(cli, tiny_bundle, tmp_path / "README.md", "--bench", tmp_path / "counts.md")
    assert counts.strip() in alone and "Nobody measured its latency" in alone
    options = ("--bench", tmp_path / "bench.md", "--bench", tmp_path / "counts.md")
    both = card(cli, tiny_bundle, tmp_path / "BOTH.md", *options)
    assert f"{BENCH.strip()}\n\n{counts.strip()}" in both and "Nobody measured its latency" not in both


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "{tmp}/card.html"), "does not end in .md"),
        (("-o", "{tmp}/nowhere/card.md"), "There is no folder"),
        (("-o", "{bundle}/README.md"), "lies in the bundle"),
        (("-o", "{tmp}/card.md", "--bench", "{bundle}/model.onnx"), "cannot be read"),
        (("-o", "{tmp}/card.md", "--bench", "{bundle}/manifest.json"), "is no section of a bench"),
    ],
)
def test_what_makes_no_card(options: tuple[str, ...], words: str, tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("card", tiny_bundle, *(each.format(tmp=tmp_path, bundle=tiny_bundle) for each in options))
    assert done.returncode == 2 and words in " ".join(done.stderr.split())
    assert len(done.stderr.strip().splitlines()) >= 2
    assert not list(tmp_path.iterdir()) and not (tiny_bundle / "README.md").exists()


def test_a_changed_bundle_has_no_card(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "changed")
    with (tmp_path / "changed" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = cli("card", tmp_path / "changed", "-o", tmp_path / "README.md")
    assert done.returncode == 1 and "is not as it was exported" in done.stderr
    assert not (tmp_path / "README.md").exists()
