"""The block of what an export is given: 8 lines, however long one is."""

from __future__ import annotations

from mobilekit.cli.render.given import given_block
from mobilekit.store.manifest import ASSUMED, OPTION, Given

WHAT = ("size", "color", "normalization", "crop", "calibration", "evaluation", "weights")


def test_a_block_has_a_line_for_each_thing_and_one_for_the_model() -> None:
    lines = given_block("net.py:make", [Given(what, "long " * 40, ASSUMED, "--this") for what in WHAT])
    assert len(lines) == 8
    assert all(line.startswith(f"{what:13s} long ") for what, line in zip(WHAT, lines[1:], strict=True))


def test_a_line_says_where_a_value_is_from_and_what_sets_it() -> None:
    lines = given_block(
        "net", [Given("size", "32x16", OPTION, "--input-size"), Given("crop", "1", "recipe a", "--crop")]
    )
    assert lines == [
        "model         net",
        "size          32x16 (--input-size)",
        "crop          1 (recipe a; set it by --crop)",
    ]
