"""What the comparison with other converters makes of its measurements."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.peers import conversions, report, rows, timings, tools, worker
from benchmarks.peers.chart import draw
from benchmarks.peers.rows import Group
from mobilekit.bench.devices.base import Finished

FACTS = {"macs": 100e6, "max_abs": 1e-5, "cosine": 0.95, "size": 224}


def record(precision: str, max_abs: float = 1e-6, cosine: float = 1.0, **others: Any) -> dict[str, Any]:
    metrics = {"max_abs": max_abs, "cosine": cosine, "finite": True}
    delegate = {"partitions": 3, "delegated": 90, "total": 99}
    figures = {"seconds": 30.4, "memory_mb": 1200.0, "size_bytes": 7_450_000, "versions": {"torch": "2.13.0"}}
    return {"precision": precision, "metrics": metrics, "delegate": delegate, **figures, **others}


def result(file: str, median: float) -> dict[str, Any]:
    latency = {"median": median, "low": 0.99 * median, "high": 1.01 * median}
    return {"file": file, "accepted": True, "why_not": None, "latency_ms": latency}


def against_ours(file: str, ratio: float, verdict: str, against: str = "mobilekit float32") -> dict[str, Any]:
    return {"file": file, "against": against, "ratio": ratio, "low": ratio, "high": ratio, "verdict": verdict}


@pytest.fixture
def groups() -> list[Group]:
    records = {
        ("mobilekit", "float32"): record("float32"),
        ("onnx2tf", "float32"): record("float32"),
        ("litert-torch", "float32"): record("float32", max_abs=0.04),
        ("ONNX Runtime", "float32"): record("float32", delegate=None),
        ("mobilekit", "int8"): record("int8", 0.1, 0.98),
        ("onnx2tf", "int8"): record("int8", 1.6, 0.4),
        ("litert-torch", "int8"): {"precision": "int8", "why_not": "it does not run: signal 6: DIV <data[i]> | zero"},
    }
    medians = {
        "mobilekit float32": 4.0,
        "onnx2tf float32": 5.0,
        "litert-torch float32": 4.5,
        "ONNX Runtime float32": 6.0,
    }
    medians |= {"mobilekit int8": 2.0, "onnx2tf int8": 8.0}
    timed = {
        "date": "2026-01-02",
        "load": 0.1,
        "rates": {"float32": 50e9, "int8": 200e9},
        "bench": {
            "settings": {"rounds": 12, "runs": 20, "warmup_runs": 3, "threads": 1},
            "results": [result(name, median) for name, median in medians.items()],
            "comparisons": [
                against_ours("onnx2tf float32", 1.25, "slower"),
                against_ours("litert-torch float32", 1.125, "slower"),
                against_ours("ONNX Runtime float32", 1.5, "slower"),
                against_ours("onnx2tf int8", 4.0, "slower", "mobilekit int8"),
            ],
        },
    }
    return rows.groups_of("shufflenet", timed, FACTS, records)


def test_rows_say_what_is_wrong(groups: list[Group]) -> None:
    floats, ints = ({row.tool: row.problem for row in group.rows} for group in groups)
    assert floats == {
        "mobilekit": "",
        "onnx2tf": "",
        "litert-torch": "wrong: max abs above 1.0e-05",
        "ONNX Runtime": "",
        "ExecuTorch": "not converted",
    }
    assert ints["mobilekit"] == ""
    assert ints["onnx2tf"] == "of no use: cosine below 0.95"
    assert ints["litert-torch"].startswith("it does not run: signal 6")


def test_the_best_peer_is_the_fastest_that_is_right_or_else_that_runs(groups: list[Group]) -> None:
    assert [group.best_peer and group.best_peer.tool for group in groups] == ["onnx2tf", "onnx2tf"]
    assert groups[0].ours.median == 4.0


def test_the_limit_is_macs_at_the_best_rate(groups: list[Group]) -> None:
    assert [group.limit_ms for group in groups] == pytest.approx([2.0, 0.5])


def test_a_file_that_is_not_finite_or_was_refused_is_a_problem() -> None:
    broken = record("float32")
    broken["metrics"]["finite"] = False
    assert rows.problem_of(broken, None, FACTS) == "wrong: not all outputs are finite"
    refused = {"accepted": False, "why_not": "it crashed"}
    assert rows.problem_of(record("float32"), refused, FACTS) == "refused: it crashed"
    assert rows.problem_of(record("float32"), None, FACTS) == "not timed"
    wrong = rows.problem_of(record("int8", 0.3, 0.96), result("x", 1), FACTS, record("float32", max_abs=0.1))
    assert wrong == "wrong: so is its float32 file"


def test_ratios_to_another_file_than_ours_are_not_shown() -> None:
    timed = {
        "rates": {"float32": 1e9, "int8": 1e9},
        "bench": {
            "results": [result("onnx2tf float32", 5.0), result("ONNX Runtime float32", 6.0)],
            "comparisons": [against_ours("ONNX Runtime float32", 1.2, "slower", "onnx2tf float32")],
        },
    }
    [group, _] = rows.groups_of("shufflenet", timed, FACTS, {})
    assert [row.comparison for row in group.rows] == [None] * 5


def test_tables_have_a_cell_for_each_column(groups: list[Group]) -> None:
    for table in (report.summary(groups), report.table(groups, "shufflenet")):
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
    text = report.table(groups, "shufflenet")
    onnx2tf = (
        "| float32 | onnx2tf | 5.00 (4.95 to 5.05) | 1.25 (1.25 to 1.25), slower | 7.45 | 3 | 1.0e-06 | 1.000000 |"
    )
    assert f"{onnx2tf} 30 | 1200 |  |" in text
    assert "| int8 | *the limit* | 0.50 |" in text
    assert "DIV (data[i]) / zero" in text


def test_the_conditions_say_where_the_machine_was_busy(groups: list[Group]) -> None:
    settings = {"rounds": 12, "runs": 20, "warmup_runs": 3, "threads": 1}
    timed = {"date": "2026-01-02", "rates": {"float32": 50e9}, "load": 0.1, "bench": {"settings": settings}}
    quiet = report.conditions(groups, {"shufflenet": timed})
    assert "100 to 100 G/s in float32" in quiet
    assert quiet.endswith("torch 2.13.0.")
    assert report.conditions(groups, {"shufflenet": {**timed, "load": 3.0}}).endswith("the figures mean little.")


def test_the_chart_is_drawn(groups: list[Group], tmp_path: Path) -> None:
    path = tmp_path / "peers.svg"
    draw(groups, path)
    again = tmp_path / "again.svg"
    draw(groups, again)
    assert path.read_bytes().startswith(b"<?xml")
    assert path.read_bytes() == again.read_bytes()


def test_a_workers_reply_is_a_run() -> None:
    reply = {"init_ms": 1.0, "warmup_ms": [9.0, 4.0], "raw_ms": [3.0, 5.0, 4.0], "memory_mb": 12.0}
    run = timings.read(Finished(0, "noise\n" + json.dumps(reply) + "\n", ""))
    assert (run.latency_ms, run.min_ms, run.max_ms, run.first_ms, run.count) == (4.0, 3.0, 5.0, 9.0, 3)
    failed = timings.read(Finished(134, "", "Traceback\n  DIV: zero\n"))
    assert failed.latency_ms is None
    assert failed.why_not == "exit code 134: DIV: zero"


def test_the_last_words_of_a_command() -> None:
    assert conversions.last_words(-6, "") == "signal 6"
    assert conversions.last_words(1, "a\n\n  b  \n\n") == "exit code 1: b"


def test_a_worker_runs_and_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, outputs = tmp_path / "inputs.npy", tmp_path / "outputs.npy"
    np.save(inputs, np.arange(8, dtype=np.float32).reshape(2, 1, 2, 2))

    def open_file(file: str) -> worker.Bind:
        return lambda array: lambda: array.sum(axis=(1, 2, 3)) + len(file)

    def serve(request: dict[str, Any]) -> Any:
        monkeypatch.setattr("sys.argv", ["worker", json.dumps(request)])
        worker.serve(None, open_file)
        return json.loads(capsys.readouterr().out)

    serve({"run": {"file": "abc", "inputs": str(inputs), "outputs": str(outputs)}})
    assert np.load(outputs).tolist() == [9.0, 25.0]
    reply = serve({"time": {"file": "abc", "size": 4, "runs": 5, "warmup_runs": 2, "max_seconds": 5}})
    assert (len(reply["raw_ms"]), len(reply["warmup_ms"])) == (5, 2)
    with pytest.raises(SystemExit, match="does not convert"):
        serve({"convert": {}})


def test_every_tool_has_commands_and_files(tmp_path: Path) -> None:
    (tmp_path / "facts.json").write_text(json.dumps(FACTS))
    for tool in tools.TOOLS:
        for precision in tools.PRECISIONS:
            commands = tool.commands(tools.Job("shufflenet", precision, tmp_path))
            assert all(isinstance(word, str) for command in commands for word in command)
            assert Path(tool.files[precision]).suffix in (".tflite", ".onnx", ".pte")
        for source in tool.sources:
            assert (conversions.HERE / f"{source}.py").is_file()
