"""Pictures with labels, in class folders and in tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilekit.errors import UsageError
from mobilekit.recipes.inputs.evaluation import read_evaluation
from mobilekit.recipes.inputs.labeled import find_pictures
from mobilekit.recipes.inputs.user_data import load_own, own_files
from mobilekit.recipes.picture import Input
from mobilekit.recipes.schema import Recipe

GRAY = Recipe(input=Input(size=8, crop=1.0, color="gray", mean=(0.0,), std=(1.0,)))


def _tree(root: Path, files: list[str]) -> Path:
    """Make gray pictures; each is as bright as its place in the list."""
    for place, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), place).save(root / name)
    return root


def _brightness(path: Path) -> list[int]:
    return [round(value * 255) for value in load_own(path, GRAY).arrays["input"][:, 0, 0, 0]]


def test_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    _tree(tmp_path, ["dog/b.png", "cat/a.png", "dog/a.jpg.png", "ant/z.png", "dog/c.png"])
    (tmp_path / "notes").mkdir()
    evaluation = read_evaluation(GRAY, tmp_path)
    assert [path.parent.name for path in find_pictures(tmp_path).files] == ["ant", "cat", "dog", "dog", "dog"]
    assert (evaluation.labels is not None, evaluation.classes, evaluation.is_own) == (True, 3, True)
    np.testing.assert_array_equal(evaluation.labels, [0, 1, 2, 2, 2])
    assert _brightness(tmp_path) == [3, 1, 2, 0, 4]


def test_any_beginning_has_every_class(tmp_path: Path) -> None:
    _tree(tmp_path, [f"{name}/{number}.png" for name in "ab" for number in range(4)])
    few = load_own(tmp_path, GRAY, count=4)
    np.testing.assert_array_equal(few.labels, [0, 1, 0, 1])
    assert own_files(tmp_path)[:2] == [tmp_path / "a" / "0.png", tmp_path / "b" / "0.png"]


def test_classes_txt_gives_the_models_order(tmp_path: Path) -> None:
    _tree(tmp_path, ["cat/a.png", "dog/b.png"])
    (tmp_path / "classes.txt").write_text("\ufefffish\ndog\n\nhorse\ncat\n", encoding="utf-8")
    found = find_pictures(tmp_path)
    assert (found.labels, found.classes) == ([3, 1], None)
    (tmp_path / "classes.txt").write_text("fish\ncats\n")
    with pytest.raises(UsageError, match=r"classes.txt has no class cat, which is a folder there") as caught:
        find_pictures(tmp_path)
    assert caught.value.hint == "Did you mean cats?"
    (tmp_path / "classes.txt").write_text("cat\ndog\ncat\n")
    with pytest.raises(UsageError, match="names cat twice"):
        find_pictures(tmp_path)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match="cannot be read as UTF-8"):
        find_pictures(tmp_path)


def test_numbers_whose_order_is_not_that_of_their_names_are_refused(tmp_path: Path) -> None:
    _tree(tmp_path, ["0/a.png", "1/a.png", "2/a.png"])
    assert find_pictures(tmp_path).labels == [0, 1, 2]
    _tree(tmp_path, ["10/a.png"])
    with pytest.raises(UsageError, match=r"order by name \(0, 1, 10, ...\) is not that of the numbers"):
        find_pictures(tmp_path)


def test_pictures_beside_folders_have_no_labels(tmp_path: Path) -> None:
    _tree(tmp_path, ["a.png", "more/b.png"])
    assert find_pictures(tmp_path).labels is None
    assert find_pictures(tmp_path).files == [tmp_path / "a.png"]


@pytest.mark.parametrize("head", ["", "file,label\n", "File, Label\r\n"])
def test_a_table_of_files_and_labels(tmp_path: Path, head: str) -> None:
    _tree(tmp_path / "pictures", ["a.png", "b,c.png"])
    text = f'{head}"pictures/b,c.png",7\n\npictures/a.png , 2\n'
    (tmp_path / "mine.csv").write_text(text)
    evaluation = read_evaluation(GRAY, tmp_path / "mine.csv")
    np.testing.assert_array_equal(evaluation.labels, [7, 2])
    assert _brightness(tmp_path / "mine.csv") == [1, 0]
    assert evaluation.classes is None


def test_a_table_among_the_pictures_and_names_of_classes(tmp_path: Path) -> None:
    _tree(tmp_path, ["a.png", "b.png", "unlisted.png"])
    (tmp_path / "labels.csv").write_text("b.png,dog\na.png,0\n")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    found = find_pictures(tmp_path)
    assert ([path.name for path in found.files], found.labels) == (["b.png", "a.png"], [1, 0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a.png\n", r"line 1: a.png is not a file and a label"),
        ("file,label\na.png,1,2\n", r"line 2: a.png, 1, 2 is not a file"),
        ("missing.png,1\n", r"line 1: there is no file .*missing.png"),
        ("a.png,-1\n", r"line 1: the label -1 is not a class number"),
        ("a.png,dog\n", r"the label dog is not a class number"),
        ("file,label\n", "names no picture"),
        ("", "names no picture"),
    ],
)
def test_a_table_that_is_wrong_names_the_line(tmp_path: Path, text: str, says: str) -> None:
    _tree(tmp_path, ["a.png"])
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(UsageError, match=says):
        find_pictures(tmp_path)
    with pytest.raises(UsageError, match="There is no file"):
        find_pictures(tmp_path / "other.csv")


def test_diff_measures_top1_on_a_tree(digits_bundle: Path, tmp_path: Path) -> None:
    from mobilekit.jobs.diff import diff
    from mobilekit.recipes.inputs.builtin import digits
    from mobilekit.store.bundle import open_bundle

    images, labels = digits("test")
    for place, (image, label) in enumerate(zip(images[:60], labels[:60], strict=True)):
        (tmp_path / f"digit {label}").mkdir(exist_ok=True)
        image.save(tmp_path / f"digit {label}" / f"{place}.png")
    ledger = diff(open_bundle(digits_bundle), tmp_path)
    assert ledger.reference_top1 is not None and ledger.reference_top1 > 0.95
    tops = {row.stage: row.top1 for row in ledger.rows if row.against == "reference"}
    assert min(top1 for top1 in tops.values() if top1 is not None) > 0.95
    row = next(row for row in ledger.rows if row.stage == "tflite-int8")
    (limit,) = [bound.limit for bound in row.limits if bound.metric == "top1"]
    assert 0.9 < limit <= ledger.reference_top1
    (tmp_path / "classes.txt").write_text("\n".join(f"digit {9 - number}" for number in range(10)))
    assert (diff(open_bundle(digits_bundle), tmp_path).reference_top1 or 0) < 0.3
