"""What a project is made of, and what it is not made of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mobilekit.jobs.app_project.platforms import PLATFORMS
from mobilekit.jobs.app_project.write import TEMPLATES
from mobilekit.store.bundle import write_manifest
from mobilekit.store.manifest import File, Tensor
from tests.cli.test_schema import check_closely
from tests.command_line import Cli

pytestmark = pytest.mark.slow


def test_what_is_printed(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    words = ("app", "python", tiny_bundle, "--precision", "float16", "--count", "1")
    done = cli(*words, "-o", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'one'} is written: make_tiny on python, model.float16.tflite, 1 golden case." in done.stdout
    assert "Next: cd " in done.stdout
    assert done.stderr.splitlines()[-1].startswith("note: Nobody named the classes")
    done = cli(*words, "-o", tmp_path / "two", "--json")
    content = json.loads(done.stdout)
    check_closely("app", content)
    assert (content["files"], content["labels"], content["cases"]) == (["model.float16.tflite"], 0, 1)


def test_a_project_holds_no_folder_of_this_disk(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("app", "python", tiny_bundle, "-o", tmp_path / "app").returncode == 0
    for path in (path for path in (tmp_path / "app").rglob("*") if path.suffix in (".py", ".md", ".txt")):
        assert str(Path(__file__).parents[3]) not in path.read_text() and str(tmp_path) not in path.read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("{tmp}/nothing", "-o", "{tmp}/app"), "nothing is not a bundle: it does not exist."),
        (("{tmp}", "-o", "{tmp}/app"), "is not a bundle: it has no manifest.json."),
        (("{bundle}", "-o", "{tmp}/full"), "full is not empty; it is kept."),
        (("{bundle}", "-o", "{tmp}/full/labels.txt"), "labels.txt is a file; it is kept."),
        (("{bundle}", "-o", "{bundle}/app"), "lies in the bundle"),
        (("{bundle}", "-o", "{tmp}/app", "--precision", "int4"), "int4"),
        (("{bundle}", "-o", "{tmp}/app", "--labels", "{tmp}/full/labels.txt"), "names 2 classes, and logits has 4"),
        (("{bundle}", "-o", "{tmp}/app", "--labels", "{tmp}/none.txt"), "none.txt"),
        (("{bundle}", "-o", "{tmp}/app", "--inputs", "{tmp}/none"), "There is no folder"),
    ],
)
def test_what_makes_no_project(words: tuple[str, ...], told: str, tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "labels.txt").write_text("cat\ndog\n")
    done = cli("app", "python", *(word.format(bundle=tiny_bundle, tmp=tmp_path) for word in words))
    assert done.returncode == 2 and told in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["full"] and not (tiny_bundle / "app").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"input": {"size": 24, "channels": 5}}, "takes arrays of 5 channels"),
        ({"input": {"size": 24, "batch": 4}}, "take 4 pictures at once"),
        ({"extra_inputs": {"mask": {"shape": [1, 4]}}}, "takes mask besides the picture"),
    ],
)
def test_a_model_that_takes_more_than_a_picture(
    change: dict[str, object], told: str, tiny_bundle: Path, cli: Cli, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    manifest["recipe"]["content"] |= change
    del manifest["files"], manifest["self_sha256"]
    write_manifest(tmp_path / "bundle", manifest)
    done = cli("app", "python", tmp_path / "bundle", "-o", tmp_path / "app")
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.splitlines()) == 2
    assert not (tmp_path / "app").exists()


def test_a_changed_bundle_makes_no_project(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    with (tmp_path / "bundle" / "model.float32.tflite").open("ab") as file:
        file.write(b"x")
    done = cli("app", "python", tmp_path / "bundle", "-o", tmp_path / "app")
    assert done.returncode == 2 and "is not as it was exported: model.float32.tflite is changed" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_names_stand_in_any_language(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    name = 'Cats "and" <dogs>\n`rm` $HOME {{ 1 }} \\'
    words = ("--name", name, "--precision", "float32", "--count", "1", "--json")
    done = cli("app", "python", tiny_bundle, "-o", tmp_path / "app", *words)
    assert json.loads(done.stdout)["name"] == "Cats -and- -dogs-rm- -HOME - 1"


def test_each_template_is_of_a_platform_or_shared() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {*PLATFORMS, "shared"}


@pytest.mark.parametrize(
    ("platform", "taken", "refused"),
    [
        ("python", ("float32", "uint8", "int8", "int16", "int64"), ()),
        ("web", ("float32", "uint8", "int32"), ("int8", "int16", "int64", "bool")),
        ("android", ("float32", "uint8", "int8", "int32", "int64", "bool"), ("int16",)),
    ],
)
def test_which_numbers_a_platform_takes(platform: str, taken: tuple[str, ...], refused: tuple[str, ...]) -> None:
    def reason(dtype: str, file_format: str = "tflite") -> str | None:
        ends = [Tensor("input", [1, 8, 8, 3], "NHWC", "float32")], [Tensor("labels", [1, 8, 8], None, dtype)]
        return PLATFORMS[platform].why_not(File(file_format, *ends))

    assert [reason(dtype) for dtype in taken] == [None] * len(taken)
    assert all(f"its labels is {dtype}" in str(reason(dtype)) for dtype in refused)
    assert [reason(dtype, "onnx") for dtype in refused] == [None] * len(refused)
    advised = [dtype for dtype in refused if "io: float32" in str(reason(dtype))]
    assert advised == [dtype for dtype in refused if dtype in ("int8", "int16")]


def test_another_platform_is_refused_in_one_sentence(tmp_path: Path, cli: Cli) -> None:
    done = cli("app", "pyhton", tmp_path, "-o", tmp_path / "app")
    said = "error: Invalid value for 'platform': 'pyhton' is not one of 'web', 'android', 'python'."
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, said)
