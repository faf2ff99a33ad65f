"""The file of a sweep: what is wrong with it is named at once, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.sweep import content
from mobilekit.sweep.load import LoadedSweep, load_sweep
from tests.conftest import ROOT


def load(folder: Path, text: str) -> LoadedSweep:
    (folder / "fleet.yaml").write_text("adb: [{phones: [{serial: A, labels: [a]}]}]")
    (folder / "s.yaml").write_text(text)
    return load_sweep(folder / "s.yaml")


def test_the_example_of_the_docs_is_four_cells() -> None:
    cells = load_sweep(ROOT / "docs" / "examples" / "sweep.yaml").cells
    assert [cell.label for cell in cells] == [
        "ghostnetv2 160 on local",
        "ghostnetv2 224 on local",
        "shufflenet 160 on local",
        "shufflenet 224 on local",
    ]
    assert {cell.precisions for cell in cells} == {("float32", "int8")}


def test_phones_of_a_fleet(tmp_path: Path) -> None:
    """Only cells that are timed on one know of it, so that others are the same as without a fleet."""
    text = "fleet: fleet.yaml\nmatrix: {models: [ghostnet], devices: ['label:a', 'serial:A', local]}"
    cells = load(tmp_path, text).cells
    assert [cell.bench.get("fleet") for cell in cells] == ["fleet.yaml", "fleet.yaml", None]
    alone = load(tmp_path, "matrix: {models: [ghostnet], devices: [local]}").cells
    assert cells[2].key == alone[0].key


WRONG = {
    "unknown key": ("matrix: {model: [ghostnet]}", "s.yaml:1: unknown key model. Did you mean models"),
    "model": ("matrix:\n  models:\n    - ghostnett", "s.yaml:3: There is no model ghostnett. Did you mean ghostnet"),
    "twice": ("matrix:\n  models: [ghostnet]\n  threads: [1,\n   1]", "s.yaml:4: 1 stands twice."),
    "precision": (
        "matrix: {models: [ghostnet], precisions: [float8]}",
        "precisions.0: write one of float32, float16, dynamic, int8, "
        "int16x8, onnx-int8, onnx-int16x8, pte-float32, pte-float16, pte-int8, not 'float8'.",
    ),
    "package": (
        "matrix:\n  models: [ghostnet]\n  precisions: [float32, mlpackage]",
        "s.yaml:3: matrix.precisions.1: leave it out: a sweep makes no packages for Core ML, as its rows are files; "
        "`mobilekit export --precision mlpackage` makes one, not 'mlpackage'.",
    ),
    "package of an inclusion": (
        "matrix: {models: [ghostnet]}\ninclude:\n  - precisions: [mlpackage]",
        "s.yaml:3: include.0.precisions.0: leave it out: a sweep makes no packages",
    ),
    "size": ("matrix: {models: [ghostnet], input_sizes: [4]}", "s.yaml:1: matrix.input_sizes"),
    "sides": (
        "matrix:\n  models: [ghostnet]\n  input_sizes: [224, 32x4]",
        "s.yaml:3: matrix.input_sizes.1: write a size as 224, or height and width as [256, 192] or 256x192, of 8 to "
        "4096 pixels each, not '32x4'.",
    ),
    "no list": ("matrix: {models: shufflenet}", "s.yaml:1: matrix.models: write it as a list: [shufflenet]."),
    "target": (
        "matrix: {models: [ghostnet], targets: [cpuu]}",
        "s.yaml:1: There is no target 'cpuu'. Did you mean cpu",
    ),
    "device": (
        "matrix: {models: [ghostnet], devices: [locl]}",
        "s.yaml:1: There is no device 'locl' for a sweep. Known:",
    ),
    "devices": ("matrix: {models: [ghostnet], devices: ['adb:all']}", "adb:all is several devices."),
    "no fleet": (
        "matrix: {models: [ghostnet], devices: ['label:a']}",
        "s.yaml:1: label:a is a phone of a fleet, and the sweep names none.",
    ),
    "lost fleet": ("matrix: {models: [ghostnet]}\nfleet: other.yaml", "s.yaml:2: There is no file"),
    "wrong label": (
        "fleet: fleet.yaml\nmatrix: {models: [ghostnet], devices: ['label:b', 'serial:A']}",
        "fleet.yaml has no label b. Known: a",
    ),
    "recipe": ("matrix: {models: [ghostnet], recipes: [defualt]}", "There is no recipe defualt. Did you mean default"),
    "idle exclusion": (
        "matrix: {models: [ghostnet]}\nexclude:\n  - {models: [ghostnetv2]}",
        "s.yaml:3: it excludes nothing of the matrix.",
    ),
    "empty entry": ("matrix: {models: [ghostnet]}\ninclude:\n  - {}", "s.yaml:3: the entry names no axis."),
    "two of one": (
        "matrix: {models: [ghostnet]}\nexclude:\n  - {precisions: [int8], targets: [cpu]}",
        "s.yaml:3: it names precisions and targets; write one exclusion for each.",
    ),
    "nothing left": ("matrix: {models: [ghostnet]}\nexclude: [{models: [ghostnet]}]", "the exclusions leave no cell."),
    "weights": (
        "matrix: {models: [ghostnet]}\nweights: {ghostnet: w.pt}",
        "s.yaml:2: there is no weights file",
    ),
    "weights of another": (
        "matrix: {models: [ghostnet]}\nweights: {ghostnetv2: none}",
        "the sweep has no model ghostnetv2.",
    ),
    "calibration": ("matrix: {models: [ghostnet]}\ncalibration: photos", "s.yaml:2: there is no file or folder"),
    "programs on a device": (
        "matrix:\n  models: [ghostnet]\n  precisions: [float32, pte-int8]\n  devices: [local]",
        "s.yaml:3: pte-int8: a sweep does not time .pte files, and the device is local.",
    ),
    "programs for a target": (
        "matrix:\n  models: [ghostnet]\n  targets: [cpu, gpu]\ninclude:\n  - precisions: [pte-float32, pte-int8]\n"
        "    models: [shufflenet]",
        "s.yaml:5: pte-float32, pte-int8: no target reads .pte files, and cpu, gpu is asked.",
    ),
    "empty": ("", "s.yaml:1: the sweep is empty."),
    "no YAML": ("matrix: [", "s.yaml:1: not valid YAML"),
    "options": (
        "matrix: {models: [ghostnet], model_options: [{widht: 2}]}",
        "s.yaml:1: ghostnet has no option widht",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_with_its_line(case: str, tmp_path: Path) -> None:
    text, said = WRONG[case]
    with pytest.raises(UsageError) as raised:
        load(tmp_path, text)
    assert said in raised.value.what
    assert "package" not in case or ".pte" not in raised.value.hint


@pytest.mark.parametrize("written", ["32x64", "[32, 64]"])
def test_a_size_of_two_sides_is_height_and_width(written: str, tmp_path: Path) -> None:
    [cell] = load(tmp_path, f"matrix: {{models: [ghostnet], input_sizes: [{written}]}}").cells
    assert (cell.input_size, cell.size_word) == ((32, 64), "32x64")


@pytest.mark.parametrize(
    "written", ["4", "32x", "x", "32x64x96", "[32]", "[32, 64, 96]", "big", "1.5", "null", "{a: 1}"]
)
def test_what_is_no_size_is_told_in_plain_words(written: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="write a size as 224"):
        load(tmp_path, f"matrix: {{models: [ghostnet], input_sizes: [{written}]}}")


def test_programs_beside_other_files_have_targets(tmp_path: Path) -> None:
    text = "matrix: {models: [ghostnet], precisions: [float32, pte-float32], targets: [cpu]}"
    assert load(tmp_path, text).cells[0].precisions == ("float32", "pte-float32")


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    text = "matrix:\n  models: [ghostnett]\n  targets: [cpuu]\n  devices: [locl]\ninputs: nowhere\n"
    with pytest.raises(UsageError) as raised:
        load(tmp_path, text)
    lines = raised.value.what.splitlines()
    assert [line.split(": ")[0].rpartition(":")[2] for line in lines] == ["2", "3", "4", "5"]


def test_paths_go_from_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    (tmp_path / "net.py").write_text("")
    (tmp_path / "mine.yaml").write_text("input: {size: 24}\n")
    loaded = load(tmp_path, "matrix: {models: ['net.py:make'], recipes: [mine.yaml]}")
    assert [(cell.model, cell.recipe) for cell in loaded.cells] == [("net.py:make", "mine.yaml")]
    assert loaded.base == tmp_path


NAMED = ("net.py", "mine.yaml", "net.pt", "calibration/a/1.png", "inputs.npz")


@pytest.mark.parametrize("changed", NAMED)
def test_a_cell_whose_files_changed_is_another_cell(changed: str, tmp_path: Path) -> None:
    """So `--resume` runs it, though its paths are the same; a cell that is not made of the file stays as it is."""
    for name in NAMED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("input: {size: 24}\n")
    own = "calibration: calibration\ninputs: inputs.npz\n" if changed.startswith(("calib", "inputs")) else ""
    text = f"matrix: {{models: ['net.py:make'], recipes: [mine.yaml]}}\nweights: {{'net.py:make': net.pt}}\n{own}"
    text += "include: [{models: [ghostnet], recipes: [default]}]"
    first, other = load(tmp_path, text).cells
    assert load(tmp_path, text).cells == (first, other)
    (tmp_path / changed).write_text("input: {size: 32}\n")
    now, other_now = load(tmp_path, text).cells
    assert (now.key == first.key, now.export_key == first.export_key) == (False, False)
    assert (other_now.key == other.key) == (not own)


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(content, "sha256_of", lambda path: str(read.append(path)))
    (tmp_path / "net.py").write_text("")
    assert len(load(tmp_path, "matrix: {models: ['net.py:make', 'net.py:other'], threads: [1, 2, 4]}").cells) == 6
    assert read == [tmp_path / "net.py"]


def test_a_folder_without_pictures_is_told_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(UsageError, match="photos"):
        load(tmp_path, "matrix: {models: [ghostnet]}\ncalibration: photos")
