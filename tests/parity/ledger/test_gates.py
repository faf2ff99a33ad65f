"""Gates on the form of artifacts: partitions, ops and size; in the ledger, and in all that shows it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mobilekit.artifacts.delegate import Delegation, UndelegatedOp
from mobilekit.artifacts.inspect import Inspection
from mobilekit.cli.findings import gate_words
from mobilekit.cli.render.ledger_junit import diff_junit
from mobilekit.cli.render.ledger_markdown import diff_markdown
from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.render.sarif import findings_sarif
from mobilekit.cli.results import result_of
from mobilekit.errors import UsageError
from mobilekit.parity.ledger.gates import check_gate
from mobilekit.recipes.gates import Gate
from mobilekit.recipes.load import load_recipe
from mobilekit.recipes.schema import Recipe
from tests.tiny import TINY

LEFT = UndelegatedOp("GATHER", "x", "no kernel")


def described(partitions: int = 1, left: int = 0, ops: dict[str, int] | None = None, size: int = 10**6) -> Inspection:
    delegate = Delegation("XNNPACK" if partitions else None, partitions, 9 - left, 9, (LEFT,) * left)
    return Inspection("tflite", ops or {"CONV_2D": 3}, delegate, (), (), size)


@pytest.mark.parametrize(
    ("found", "most", "verdict"),
    [
        (described(1), 1, "pass"),
        (described(2, left=1), 1, "fail"),
        (described(2, left=1), 2, "pass"),
        (described(1, left=1), 1, "fail"),  # one part is not the whole graph where ops are left outside it
        (described(0, left=9), 5, "fail"),  # nothing delegated is no partition, and not few of them
    ],
)
def test_partitions(found: Inspection, most: int, verdict: str) -> None:
    [result] = check_gate("a.tflite", found, Gate(max_partitions=most))
    assert result.verdict == verdict
    assert found.delegate and result.value == found.delegate.partitions
    assert bool(result.why) == (verdict == "fail")


def test_what_is_left_is_named() -> None:
    [result] = check_gate("a.tflite", described(3, left=2), Gate(max_partitions=1))
    assert result.why == "2 GATHER not delegated (no kernel)"
    assert gate_words(result) == "3 XNNPACK partitions, at most 1"
    assert gate_words(replace(result, value=1)) == "1 XNNPACK partition, at most 1"


def test_forbidden_ops_are_counted() -> None:
    gate = Gate(forbid_ops=("TRANSPOSE", "PAD", "GATHER"))
    [result] = check_gate("a.tflite", described(ops={"TRANSPOSE": 2, "PAD": 1, "ADD": 7}), gate)
    assert (result.verdict, result.value, result.why) == ("fail", 3, "2 TRANSPOSE, 1 PAD")
    [result] = check_gate("a.tflite", described(ops={"ADD": 7}), gate)
    assert (result.verdict, result.value, result.why) == ("pass", 0, "")


@pytest.mark.parametrize(("size", "verdict"), [(2_000_000, "pass"), (2_000_001, "fail")])
def test_sizes(size: int, verdict: str) -> None:
    [result] = check_gate("a.tflite", described(size=size), Gate(max_size_mb=2))
    assert result.verdict == verdict


def test_a_gate_that_says_nothing_checks_nothing() -> None:
    assert check_gate("a.tflite", described(0), Gate()) == ()


def test_an_op_that_does_not_exist_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("input: {size: 64}\ngates:\n  int8:\n    forbid_ops: [TRANSPOS]\n")
    with pytest.raises(UsageError, match=r"mine.yaml:4.*no op TRANSPOS(?s:.*)TRANSPOSE"):
        load_recipe(str(path))


def test_every_family_is_held_to_one_partition() -> None:
    for name in ("ghostnet", "ghostnetv2", "ghostnetv2_digits", "efficientvit", "shufflenet"):
        gates = load_recipe(name).recipe.gates.files
        assert {precision: gate.max_partitions for precision, gate in gates.items()} == {
            "float32": 1,
            "float16": 1,
            "int8": 1,
        }


def test_a_bundle_beyond_a_gate_fails_and_says_so(tiny_bundle: Path) -> None:
    """An int8 file, held to what it cannot be."""
    from mobilekit.jobs import diff as differ
    from mobilekit.store.bundle import open_bundle

    bundle = open_bundle(tiny_bundle)
    assert {gate["verdict"] for gate in bundle.ledger["gates"]} == {"pass"}
    content = bundle.manifest["recipe"]["content"]
    content["gates"] = {"int8": {"forbid_ops": ["CONV_2D"]}, "float32": {"max_partitions": 1}}
    assert Recipe.model_validate(content).gates.files["int8"].forbid_ops == ("CONV_2D",)
    ledger = differ.diff(replace(bundle, manifest=json.loads(json.dumps(bundle.manifest))), reference=TINY)
    assert ledger.verdict == "fail"
    assert {row.verdict for row in ledger.rows} == {"pass"}
    [failed] = [gate for gate in ledger.gates if gate.verdict == "fail"]
    assert failed.artifact == "model.int8.tflite" and failed.why.endswith("CONV_2D")
    result = result_of(ledger)
    suite = ElementTree.fromstring(diff_junit(result, "x"))  # noqa: S314  (we wrote it)
    assert [case.get("name") for case in suite.iter("testcase") if case.find("failure") is not None] == [
        "model.int8.tflite: forbid_ops"
    ]
    words = r"model.int8.tflite: \d+ forbidden ops, at most 0: \d+ CONV_2D"
    renderings = (diff_markdown(result, "x"), findings_sarif(result.findings, tiny_bundle))
    for text in (*renderings, bundle_html(Facts("x", bundle.manifest, result, {}))):
        assert re.search(words, text)
