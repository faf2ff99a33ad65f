"""A bundle that was calibrated on the user's pictures is judged on these, or says that it is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Cli
from tests.tiny import TINY, TINY_RECIPE

FIRST = "Judged on built-in photos: {} was calibrated on 4 inputs of yours (photos), which it does not hold."


def pictures(folder: Path, seed: int) -> Path:
    noise = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(4):
        Image.fromarray(noise.integers(0, 255, (40, 40, 3), np.uint8)).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> dict[str, Path]:
    """A bundle that was calibrated on `photos`, and other pictures."""
    root = tmp_path_factory.mktemp("own")
    folders = {"photos": pictures(root / "photos", 0), "others": pictures(root / "others", 1), "bundle": root / "tiny"}
    words = ("export", TINY, "--recipe", TINY_RECIPE, "--precision", "float32,int8", "--calibration", folders["photos"])
    assert cli(*words, "-o", folders["bundle"]).returncode == 0
    return folders


@pytest.mark.slow
def test_ranges_say_what_they_judge_on(made: dict[str, Path], cli: Cli) -> None:
    words = ("ranges", made["bundle"], "--reference", TINY)
    without, given = cli(*words), cli(*words, "--calibration", made["photos"])
    assert without.returncode == given.returncode == 0, without.stderr + given.stderr
    assert without.stdout.startswith(FIRST.format(made["bundle"]))
    assert "Judged on" not in given.stdout and "Ranges on 4 calibration inputs" in given.stdout
    content = json.loads(cli(*words, "--json").stdout)
    assert [note[:25] for note in content["notes"]] == ["Judged on built-in photos"]
    refused = cli(*words, "--calibration", made["others"])
    assert refused.returncode == 2
    assert f"error: {made['others']} is not what {made['bundle']} was calibrated on" in refused.stderr


@pytest.mark.slow
def test_a_diff_on_other_inputs_says_so_in_its_first_line(made: dict[str, Path], cli: Cli) -> None:
    words = ("diff", made["bundle"], "--reference", TINY)
    first = cli(*words).stdout.splitlines()[0]
    assert re.match(r"(pass, on assumed inputs and|inconclusive, on|fail, on) built-in photos: ", first)
    own = cli(*words, "--inputs", made["others"], "--json")
    content = json.loads(own.stdout)
    assert content["inputs"]["is_own"] and content["calibration"]["is_own"] and "evaluation" not in content["assumed"]


@pytest.mark.slow
def test_a_search_takes_a_bundle(made: dict[str, Path], cli: Cli, tmp_path: Path) -> None:
    words = ("quantize-search", made["bundle"], "--reference", TINY, "--cosine", "0.5", "--json")
    found = json.loads(cli(*words, "--calibration", made["photos"], "--inputs", made["others"]).stdout)
    assert (found["model"], found["recipe"], found["verdict"], found["notes"]) == (TINY, "tiny", "pass", [])
    other = cli(*words, "--calibration", made["others"])
    assert other.returncode == 2 and "is not what" in other.stderr
    unnamed = cli("quantize-search", made["bundle"])
    assert unnamed.returncode == 2 and f"Add --reference {TINY}" in unnamed.stderr
    both = cli("tune", made["bundle"], "--recipe", TINY_RECIPE, "--reference", TINY)
    assert both.returncode == 2 and "is a bundle, with a recipe and weights of its own" in both.stderr
    elsewhere = cli("tune", TINY, "--reference", TINY)
    assert elsewhere.returncode == 2 and "--reference names the code of a bundle's model." in elsewhere.stderr


@pytest.mark.slow
def test_a_bundle_is_a_source_with_the_same_weights(made: dict[str, Path], digits_bundle: Path) -> None:
    """And knows whether they mean something."""
    from mobilekit.jobs.build import build
    from mobilekit.jobs.bundle_inputs import source_of_bundle
    from mobilekit.models.weights import weights_digest

    for path, reference, is_trained in ((made["bundle"], TINY, False), (digits_bundle, None, True)):
        source, note = source_of_bundle(path, reference=reference)
        manifest = json.loads((path / "manifest.json").read_text())
        built = build(source).reference
        assert weights_digest(built.model) == manifest["model"]["weights"]["sha256"]
        assert built.is_trained is is_trained
        assert bool(note) == (path == made["bundle"])
