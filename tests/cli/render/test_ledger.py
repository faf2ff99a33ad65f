"""A ledger in every rendering: each compared whole with a snapshot, and held to the schema that it has."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from pydantic_sarif.model import StaticAnalysisResultsFormatSarifVersion210JsonSchema as Sarif

from mobilekit import __version__
from mobilekit.cli.findings import findings_of
from mobilekit.cli.render.diff import diff_report
from mobilekit.cli.render.export import export_report, next_command
from mobilekit.cli.render.ledger_junit import diff_junit
from mobilekit.cli.render.ledger_markdown import diff_markdown
from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.render.sarif import findings_sarif
from mobilekit.cli.render.terminal import calibration_lines
from mobilekit.cli.results import DiffResult, ExportResult, result_of
from mobilekit.cli.schema import schema_of
from mobilekit.parity.baseline import against_baseline
from mobilekit.parity.layers.result import LayerRow, Layers, Observer, StageLayers, TappedValue, TensorError
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import (
    AppRow,
    ArtifactSummary,
    Bound,
    BrokenInvariant,
    FormatError,
    GateResult,
    Ledger,
    MeasuredOn,
    Metrics,
    Row,
    verdict_of,
)
from mobilekit.parity.ranges.result import RangeLint, RangeWarning
from mobilekit.rewrites.exactness import Exactness
from mobilekit.rewrites.report import Float32Check, Proof, Refusal, StepReport
from mobilekit.store.manifest import CalibrationSource, FailedStage, Int8Ranges, UnseenError, Weights
from mobilekit.store.stages import Stage
from tests.cli.render.test_ci import check_junit
from tests.snapshots import check_snapshot, on_terminal

NOISE = FormatError(1e-6, 2e-7, 4.0, 4e-4, 8e-3, 2e-2, 2e-2)
KEEP_FLOAT = "Leave more in float: int8.keep_float in the recipe."
MANIFEST: dict[str, Any] = {
    "model": {
        "name": "nets[bold]:boom:",
        "options": {"num_classes": 10},
        "weights": {"source": "w.safetensors", "trained": True, "sha256": "ab" * 32},
    },
    "recipe": {"name": "default", "content": {}},
    "precision": ["int8"],
    "calibration": {"source": "built-in photos", "count": 84, "sha256": "cd" * 32},
    "tools": {"mobilekit": "0", "torch": "2"},
    "input": {"color": "RGB", "size": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "files": {"model.onnx": "ef" * 32, "model.int8.tflite": "01" * 32},
}


def metrics(error: float, labeled: bool = False) -> Metrics:
    """What outputs are that are off by a share of the reference's."""
    return Metrics(4 * error, error, error, 1 - error, None if not error else 20.0, 1.0, 0.875 if labeled else None)


def row(stage: Stage, against: Stage, error: float, random: float = 0.0, **more: Any) -> Row:
    """A comparison, held to a relative L2 of 0.04 where the stage is int8, and to 1e-6 elsewhere."""
    limit = more.pop("most", 0.04) if stage.precision == "int8" else 1e-6
    bound = Bound("relative_l2", limit, "by hand", KEEP_FLOAT if stage.precision == "int8" else "")
    limits = (bound.judge(metrics(error)),)
    random_limits = () if stage.is_quantized else (bound.judge(metrics(random)),)
    verdict = "fail" if more.get("findings") else verdict_of((*limits, *random_limits))
    labeled = more.pop("labeled", False)
    return Row(
        **vars(metrics(error, labeled)),
        stage=stage,
        against=against,
        output="logits",
        verdict=verdict,
        limits=limits,
        random=metrics(random),
        random_limits=random_limits,
        **more,
    )


def ledger(onnx: float = 5e-7, int8: float = 0.02, random: float = 5e-7, size: float = 0.5, **more: Any) -> Ledger:
    """A ledger of three stages with these errors, and a gate of 1 MB on a file of this size."""
    labeled, most = more.pop("labeled", False), more.pop("most", 0.04)
    rows = (
        row(Stage.REWRITTEN, Stage.REFERENCE, 3e-7, labeled=labeled),
        row(Stage.ONNX, Stage.REFERENCE, onnx, random, labeled=labeled),
        row(Stage.ONNX, Stage.REWRITTEN, onnx, random, labeled=labeled),
        row(Stage.TFLITE_INT8, Stage.REFERENCE, max(int8, onnx), labeled=labeled, most=most),
        row(Stage.TFLITE_INT8, Stage.ONNX, int8, labeled=labeled, most=most, **more),
    )
    steps = (
        StepReport("fold", Exactness.EXACT, ("a", "b"), (), ("", ""), Proof(6e-15, ()), Float32Check("y", 17, 111, 4)),
        StepReport(
            "gate", Exactness.EXACT_WHEN, (), tuple(Refusal(f"n.{i}", "it is small already") for i in range(49))
        ),
        StepReport("other", Exactness.EXACT, (), (), notes=("it matches nothing in this model",)),
    )
    gate = GateResult("model.int8.tflite", "max_size_mb", 1, size, "pass" if size <= 1 else "fail")
    artifacts = {"model.int8.tflite": ArtifactSummary(int(size * 1e6), {"CONV_2D": 3}, 1)}
    on = MeasuredOn("photos [red]:boom:", 16)
    return Ledger(on, {"logits": NOISE}, rows, steps, (gate,), artifacts, 0.875 if labeled else None, "ab" * 32)


def of_labels() -> Ledger:
    """A ledger of an output that is labels: one stage passes, one has a limit that says nothing, and one fails."""
    truth = np.arange(200).reshape(4, 50)
    rows = []
    for stage, wrong, allowed in ((Stage.ONNX, 0, 0.0), (Stage.TFLITE_DYNAMIC, 40, 0.6), (Stage.TFLITE_INT8, 30, 0.1)):
        found = compare(truth, np.where(truth < wrong, 99, truth))
        limits = (Bound("equal_labels", 1 - allowed, "by hand").judge(found),)
        random_limits = () if stage.is_quantized else limits
        verdict, against = verdict_of(limits), Stage.REFERENCE
        more: dict[str, Any] = {"limits": limits, "random": found, "random_limits": random_limits, "verdict": verdict}
        rows.append(Row(**vars(found), stage=stage, against=against, output="classes", **more))
        rows.append(replace(rows[-1], against=Stage.REWRITTEN if stage is Stage.ONNX else Stage.ONNX))
    noise = replace(NOISE, labels=200)
    return Ledger(MeasuredOn("photos", 4), {"classes": noise}, tuple(rows))


def inside() -> Layers:
    """Values inside, of which one jumps."""
    error = TensorError(0.5, 0.25, 12.0, 9.0, 3, 64)
    rows = (LayerRow("tap_0", "stem", replace(error, relative_l2=0.01), error, 0.01, 0.02, 0.01),)
    rows += (LayerRow("tap_1", "blocks.0", error, error, 0.01, 0.02, 0.24),)
    taps = tuple(TappedValue(each.tap, each.module, each.module, (), False, None) for each in rows)
    seen = Observer(True, 0.0, 0.0)
    floats = StageLayers(Stage.ONNX, Stage.REFERENCE, seen, (replace(rows[0], step=None), replace(rows[1], step=None)))
    return Layers(MeasuredOn("photos", 4), taps, (floats, StageLayers(Stage.TFLITE_INT8, Stage.ONNX, seen, rows)))


DEAD = BrokenInvariant("dead", "1 of 5 outputs are dead | <always> 0", KEEP_FLOAT)
RANGES = RangeLint(
    84, (RangeWarning("float16-overflow", "severe", "head", "head", 7e4, 65504, "it is 7e+04", "scale"),)
)
FAILED = (
    FailedStage(Stage.TFLITE_FLOAT32, "onnx2tf failed at the op Mul_3: it has <4> & 5 | axes", "Try another."),
    FailedStage(Stage.TFLITE_INT8, "it is made from tflite-float32, which failed", follows=Stage.TFLITE_FLOAT32),
)
DROP = GateResult("model.int8.tflite", "max_top1_drop", 0.01, 0.125, "fail", "75 % for 87.5 %, on 16 inputs")
APP = GateResult(
    "model.float32.tflite", "app-mediapipe", 0.95, 0.875, "fail", "MediaPipe Tasks; a[b]:c.jpg suffers most"
)


def app(name: str, error: float, agreement: float = 1.0, is_mistake: bool = False) -> AppRow:
    """A file that is given pictures as an app makes them."""
    found = replace(metrics(error, labeled=True), top1_agreement=agreement)
    worst = {"worst": "photos/a[b]:c.jpg", "worst_relative_l2": 2 * error}
    more = {"what": f"as {name} | does", "file": "model.float32.tflite", "output": "logits"}
    return AppRow(**vars(found), **worst, **more, app=name, is_mistake=is_mistake)


APPS = (
    app("android", 0.03),
    app("mediapipe", 0.25, 0.875),
    app("opencv", 0.03),
    app("nearest", 0.0, is_mistake=True),
    app("bgr", 0.5, 0.5, is_mistake=True),
)
UNKNOWN = GateResult("model.onnx", "max_top1_drop", 0.01, float("nan"), "inconclusive", "the inputs have no labels")
CASES: dict[str, DiffResult] = {
    "pass": result_of(replace(ledger(), ranges=RANGES)),
    "assumed": result_of(
        replace(
            ledger(), assumed=("size", "calibration"), calibration=CalibrationSource("built-in photos", 84, "cd" * 32)
        )
    ),
    "doubted": result_of(replace(ledger(labeled=True), doubt="it is right on <9> % of 16 inputs")),
    "accuracy": result_of(replace(ledger(labeled=True), gates=(DROP, UNKNOWN))),
    "apps": result_of(replace(ledger(labeled=True), apps=APPS, gates=(*ledger().gates, APP))),
    "labeled": result_of(ledger(labeled=True)),
    "stage": result_of(ledger(onnx=0.5)),
    "random": result_of(ledger(random=0.5)),
    "invariant": result_of(ledger(findings=(DEAD,)), layers=inside()),
    "gate": result_of(ledger(size=2.5)),
    "unjudged": result_of(ledger(int8=0.3, most=1.2)),
    "labels": result_of(of_labels()),
    "failed": result_of(replace(ledger(), rows=ledger().rows[:3], gates=(), failed_stages=FAILED)),
    "baseline": result_of(ledger(int8=0.039), baseline=against_baseline(ledger(int8=0.039), ledger(int8=0.001))),
}


def test_a_line_says_how_the_ranges_of_each_int8_file_came_about() -> None:
    errors = {"histogram": UnseenError(0.2, 0.4), "chosen": UnseenError(0.1, 0.25)}
    tflite, plain = Int8Ranges("min-max", fewest=28), Int8Ranges("min-max")
    pte = Int8Ranges("chosen", 12, relative_l2=errors)
    source = CalibrationSource("photos", 20, "cd" * 32, True, tflite, {"pte-int8": pte, "onnx-int8": plain})
    assert calibration_lines(replace(ledger(), calibration=source)) == [
        "int8's ranges go from lowest to highest value: it takes 28 calibration inputs (or batches, with `batch`) to "
        "choose others.",
        "pte-int8's ranges are chosen tensor by tensor: on 12 calibration inputs kept back, mean relative L2 (and the "
        "worst) is 0.2 (0.4) with those of histograms, 0.1 (0.25) with chosen ones.",
    ]


def exported(result: DiffResult) -> ExportResult:
    plain = Ledger(**{name: getattr(result, name) for name in Ledger.__dataclass_fields__})
    weights = Weights.from_json(MANIFEST["model"]["weights"])
    files = {"model.int8.tflite": 500_000, "model.onnx": 2_000_000, "ledger.json": 9_000}
    return ExportResult("artifacts/net", False, False, weights, files, plain, findings_of(plain), plain.verdict)


def without_scripts(page: str) -> str:
    """Return a page without its style and its scripts, which are 900 kB, and the digests of these."""
    return re.sub(r"(?s)<(style|script)\b.*?</\1>\n?|<meta http-equiv=[^>]*>\n", "", page)


RENDERINGS: dict[str, Callable[[DiffResult], str]] = {
    "diff.txt": lambda result: on_terminal(*diff_report(result, "artifacts/net")),
    "diff.verbose.txt": lambda result: on_terminal(*diff_report(result, "artifacts/net", verbose=True)),
    "export.txt": lambda result: on_terminal(*export_report(exported(result), MANIFEST)),
    "json": lambda result: json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    "md": lambda result: diff_markdown(result, "net"),
    "xml": lambda result: diff_junit(result, "net"),
    "sarif": lambda result: findings_sarif(result.findings, Path("artifacts/net")).replace(__version__, "VERSION"),
    "html": lambda result: without_scripts(bundle_html(Facts("net", MANIFEST, result, {"model.onnx": 9}))),
}


@pytest.mark.parametrize("form", RENDERINGS)
@pytest.mark.parametrize("case", CASES)
def test_snapshot(case: str, form: str) -> None:
    check_snapshot(f"ledger-{case}.{form}", RENDERINGS[form](CASES[case]))


ESCAPES = {
    "md": {"|": r"\|", "<": r"\<"},
    **{form: {"&": "&amp;", "<": "&lt;", ">": "&gt;"} for form in ("xml", "html")},
}


@pytest.mark.parametrize("form", RENDERINGS)
@pytest.mark.parametrize("case", ["stage", "random", "invariant", "gate", "apps", "failed"])
def test_what_fails_is_in_every_rendering(case: str, form: str) -> None:
    result = CASES[case]
    text = RENDERINGS[form](result)
    errors = [each for each in result.findings if each.level == "error" and not each.follows]
    assert errors
    for finding in errors:
        words = finding.text
        for old, new in ESCAPES.get(form, {}).items():
            words = words.replace(old, new)
        assert words in text
        assert finding.place in text


@pytest.mark.parametrize("form", ["diff.txt", "json", "md", "xml", "sarif", "html"])
def test_what_got_worse_is_in_every_rendering(form: str) -> None:
    findings = CASES["baseline"].findings
    assert {each.rule for each in findings} == {"baseline"}
    text = RENDERINGS[form](CASES["baseline"])
    for finding in findings:
        assert finding.place in text and finding.text.removeprefix("relative L2 ") in text


@pytest.mark.parametrize("case", CASES)
def test_json_is_as_its_schema_says_and_is_read_again(case: str) -> None:
    result = CASES[case]
    content = json.loads(json.dumps(result.to_json(), allow_nan=False))
    Draft202012Validator(schema_of("diff")).validate(content)
    Draft202012Validator(schema_of("export")).validate(exported(result).to_json())
    again = DiffResult.from_json(content)
    assert again.to_json() == content
    assert again.verdict == result.verdict and again.is_good == result.is_good


@pytest.mark.parametrize("case", CASES)
def test_sarif_is_as_the_standard_says(case: str) -> None:
    log = json.loads(findings_sarif(CASES[case].findings, Path("artifacts/my net")))
    Sarif.model_validate(log)  # types that are generated from the official schema, and take no other key
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[each["ruleIndex"]]["id"] == each["ruleId"] for each in run["results"])
    prints = [each["partialFingerprints"]["comparison/v1"] for each in run["results"]]
    assert len(set(prints)) == len(prints)
    is_wrong = any(each["level"] == "error" for each in run["results"])
    assert is_wrong == (not CASES[case].is_good)


def test_sarif_names_files_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def uris(bundle: str) -> set[str]:
        results = json.loads(findings_sarif(CASES["gate"].findings, Path(bundle)))["runs"][0]["results"]
        return {each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in results}

    assert uris("artifacts/my net") == {"artifacts/my%20net/model.int8.tflite"}
    assert uris("/somewhere/else") == {"file:///somewhere/else/model.int8.tflite"}


@pytest.mark.parametrize("case", CASES)
def test_junit_has_a_test_for_each_verdict(case: str) -> None:
    result = CASES[case]
    root = check_junit(diff_junit(result, "net"))
    compared = result.baseline.stages if result.baseline else ()
    assert root.attrib["tests"] == str(len(result.gates) + len(result.rows) + len(compared) + len(result.failed_stages))
    assert (root.attrib["failures"] == "0") == result.is_good


@pytest.mark.parametrize(
    ("files", "timed"),
    [
        (["model.float32.pte", "model.int8.pte", "model.onnx"], "artifacts/net/model.float32.pte"),
        (["model.float32.pte", "model.int8.tflite"], "artifacts/net"),
        (["model.onnx"], None),
    ],
)
def test_what_is_next_is_a_bench_of_what_can_be_timed(files: list[str], timed: str | None) -> None:
    result = replace(exported(CASES["random"]), files=dict.fromkeys(files, 9), findings=())
    report = "mobilekit report artifacts/net -o report.html"
    assert next_command(result, MANIFEST) == (
        f"mobilekit bench {timed} (how fast it is), {report}" if timed else report
    )


def test_the_advice_is_that_of_the_first_stage_that_failed() -> None:
    findings = findings_of(ledger(onnx=0.5))
    assert [each.stage for each in findings if each.follows] == ["tflite-int8"]
    assert {each.advice for each in findings if each.stage == "onnx"} == {
        "`mobilekit diff ... --bisect DIR` finds the module at fault, and cuts it out."
    }
    assert not any(each.advice for each in findings if each.follows)
    assert KEEP_FLOAT in {each.advice for each in findings_of(ledger(int8=0.5))}
    assert not any(each.advice for each in findings_of(ledger(onnx=0.5), is_bisected=True))


@pytest.mark.parametrize(
    ("failed", "command"),
    [
        ((Stage.PTE_INT8,), "--layers --precision pte-int8 (which module is at fault)"),
        ((Stage.PTE_INT8, Stage.TFLITE_INT8), "--bisect fault (which module is at fault)"),
        ((Stage.MLPACKAGE,), "(each figure again)"),
    ],
)
def test_what_is_next_looks_where_the_format_shows_what_is_inside(failed: tuple[Stage, ...], command: str) -> None:
    wrong = replace(ledger(), rows=tuple(row(stage, Stage.REWRITTEN, 0.5) for stage in failed))
    result = replace(exported(CASES["random"]), findings=findings_of(wrong))
    assert next_command(result, MANIFEST) == f"mobilekit diff artifacts/net {command}"
    assert not any("--bisect" in each.advice for each in result.findings if each.stage in ("pte-int8", "mlpackage"))


@pytest.mark.parametrize("case", CASES)
def test_an_export_fits_a_screen(case: str) -> None:
    lines = RENDERINGS["export.txt"](CASES[case]).splitlines()
    assert len(lines) <= 30
    on = ", on assumed inputs" if case == "assumed" else ""
    assert lines[0].startswith(f"{CASES[case].verdict}{on}: ")
    given = [line for line in lines if line[:13].rstrip() in ("model", "weights", "recipe", "input", "measured on")]
    assert len(given) == 5
