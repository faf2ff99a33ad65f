"""From what steps found to rows: what failed is said, and what was found is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.sweep import child
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.results import rows_of, without_result
from mobilekit.sweep.steps import Ended
from tests.old_bundle import OLD_BUNDLE
from tests.sweep.noop import timed
from tests.sweep.rows_by_hand import DEVICE

LATENCY = {"median": 2.0, "low": 1.0, "high": 3.0, "confidence": 0.96}


@pytest.fixture
def cell() -> Cell:
    precisions = tuple(json.loads((OLD_BUNDLE / "manifest.json").read_text())["precision"])
    return Cell("ghostnet", precisions=precisions, device="adb:A", diff=False)


@pytest.fixture
def folder(tmp_path: Path, cell: Cell) -> SweepFolder:
    """A sweep whose cell has been exported."""
    made = SweepFolder(tmp_path / "s")
    made.begin({}, resume=False)
    shutil.copytree(OLD_BUNDLE, made.bundle_of(cell))
    done(made, cell, "export", {})
    return made


def done(folder: SweepFolder, cell: Cell, step: str, found: dict[str, Any]) -> None:
    place = folder.place_of(cell, step)
    place.folder.mkdir(parents=True, exist_ok=True)
    place.write({"found": found, "host": "here", "seconds": 1.5})


def bench(cell: Cell, folder: SweepFolder, **more: Any) -> dict[str, Any]:
    """Return what a bench found of a cell's first file."""
    file = f"{folder.bundle_of(cell).name}/model.{cell.precisions[0]}.tflite"
    result = {"file": file, "latency_ms": LATENCY, "raw_ms": [1.0, 2.0, 3.0], "statistic": "median", "memory_mb": 1.0,
              "delegates": [], "accepted": True, "why_not": None, **more.pop("result", {})}  # fmt: skip
    run = {"latency_ms": 2.0}
    rounds = [{"index": 0, "rejected": "it is hot", "runs": {file: run, "other/file": run}}]
    found = {
        "device": DEVICE,
        "engine": {"name": "LiteRT", "version": "2"},
        "results": [result],
        "rounds": rounds,
        **more,
    }
    return {"bench": found, "baseline": {"entries": []}}


def first_row(cell: Cell, folder: SweepFolder, last: Ended) -> dict[str, Any]:
    return next(row for row in rows_of(cell, folder, last) if row["precision"] == cell.precisions[0])


def test_a_file_has_its_ledgers_figures_and_its_bytes(cell: Cell, folder: SweepFolder) -> None:
    row = first_row(cell, folder, Ended("bench"))
    stage = f"tflite-{cell.precisions[0]}"
    ledger = json.loads((OLD_BUNDLE / "ledger.json").read_text())
    whole = [each for each in ledger["stages"] if each["stage"] == stage and each["against"] == "reference"]
    assert row["relative_l2"] == max(each["relative_l2"] for each in whole)
    assert row["size_bytes"] == (OLD_BUNDLE / row["file"]).stat().st_size
    assert (row["export_seconds"], row["bench_seconds"], row["host"]) == (1.5, None, "here")


def test_all_rounds_of_the_file_are_kept_those_that_do_not_count_too(cell: Cell, folder: SweepFolder) -> None:
    done(folder, cell, "bench", bench(cell, folder))
    row = first_row(cell, folder, Ended("bench"))
    assert (row["status"], row["latency_ms"], row["raw_ms"]) == ("ok", 2.0, [1.0, 2.0, 3.0])
    [one] = json.loads(row["rounds"])
    assert one["rejected"] == "it is hot"
    assert [name.rpartition("/")[2] for name in one["runs"]] == [row["file"]]


@pytest.mark.parametrize(("confidence", "ends"), [(0.96875, (1.0, 3.0)), (0.9375, (None, None)), (0.0, (None, None))])
def test_rounds_too_few_for_an_interval_have_none(
    confidence: float, ends: tuple[float | None, float | None], cell: Cell, folder: SweepFolder
) -> None:
    """Of 6, of 5 and of 1."""
    latency = {**LATENCY, "confidence": confidence}
    done(folder, cell, "bench", bench(cell, folder, result={"latency_ms": latency}))
    row = first_row(cell, folder, Ended("bench"))
    assert (row["latency_ms"], row["latency_low_ms"], row["latency_high_ms"]) == (2.0, *ends)


def test_a_phone_that_was_lost_leaves_its_figures_and_a_failed_row(cell: Cell, folder: SweepFolder) -> None:
    done(folder, cell, "bench", bench(cell, folder, partial="A was unplugged. Plug it in."))
    row = first_row(cell, folder, Ended("bench"))
    assert (row["status"], row["failed_step"], row["reason"]) == ("failed", "bench", "A was unplugged. Plug it in.")
    assert row["latency_ms"] == 2.0
    others = [row for row in rows_of(cell, folder, Ended("bench")) if row["precision"] != cell.precisions[0]]
    assert {row["reason"] for row in others} == {"A was unplugged. Plug it in."}, "it was not yet their turn"


def test_a_file_that_did_not_run_is_failed_by_itself(cell: Cell, folder: SweepFolder) -> None:
    refused = {"accepted": False, "why_not": "no kernel", "latency_ms": None, "raw_ms": [], "statistic": None}
    done(folder, cell, "bench", bench(cell, folder, result=refused))
    row = first_row(cell, folder, Ended("bench"))
    assert (row["status"], row["failed_step"], row["reason"]) == ("failed", "bench", "no kernel")
    assert row["parity"] is not None


def test_a_step_that_failed_leaves_what_was_found_before(cell: Cell, folder: SweepFolder) -> None:
    rows = rows_of(cell, folder, Ended("bench", "why", "what to do"))
    assert {(row["status"], row["failed_step"], row["reason"], row["hint"]) for row in rows} == {
        ("failed", "bench", "why", "what to do")
    }
    assert all(row["sha256"] for row in rows)


def test_an_export_whose_bundle_was_removed_is_done_anew(cell: Cell, folder: SweepFolder) -> None:
    done(folder, cell, "bench", bench(cell, folder))
    folder.forget_lost(cell)
    assert folder.place_of(cell, "export").read() is not None
    shutil.rmtree(folder.bundle_of(cell))
    folder.forget_lost(cell)
    assert [folder.place_of(cell, step).read() for step in cell.steps] == [None, None]


def test_another_bundle_in_the_place_of_an_export_says_what_a_sweep_can_do(cell: Cell, folder: SweepFolder) -> None:
    request = {"step": "export", "cell": cell.to_json(), "folder": str(folder.path), "base": "/"}
    found = child._answer(request)
    assert "holds another export" in found["why_not"]
    assert found["hint"] == "`mobilekit sweep run` with --resume --failed removes it, and makes it anew."


def test_forgetting_a_step_forgets_those_after_it(cell: Cell, folder: SweepFolder) -> None:
    done(folder, cell, "bench", bench(cell, folder))
    folder.forget(cell, "bench")
    assert folder.place_of(cell, "export").read() and not folder.place_of(cell, "bench").read()
    assert folder.bundle_of(cell).is_dir()
    folder.forget(cell, "export")
    assert not folder.place_of(cell, "export").read()
    assert not folder.bundle_of(cell).exists()


def test_a_cell_is_not_done_whose_results_are_not_there(cell: Cell, folder: SweepFolder) -> None:
    """As of workers that each have a memory or a disk of their own."""
    gone = without_result(cell, folder)
    assert gone and (gone.step, gone.why_not) == ("bench", "it ended, and what it found is not in the sweep's folder")
    assert "--store that all workers see" in gone.hint
    done(folder, cell, "bench", timed(*cell.precisions))
    assert without_result(cell, folder) is None
    assert {row["status"] for row in rows_of(cell, folder, Ended("bench"))} == {"ok"}
    (folder.bundle_of(cell) / "manifest.json").write_text("{}")
    gone = without_result(cell, folder)
    assert gone and (gone.step, str(gone.why_not).startswith("it ended, and its bundle")) == ("export", True)
    rows = rows_of(cell, folder, gone)
    assert {(row["status"], row["failed_step"]) for row in rows} == {("failed", "export")}


def test_a_file_that_no_step_has_is_failed(cell: Cell, folder: SweepFolder) -> None:
    """Of the bundle, and of the bench."""
    done(folder, cell, "bench", timed(*cell.precisions[1:]))
    more = replace(cell, precisions=(*cell.precisions, "onnx-int8"))
    shutil.copytree(folder.bundle_of(cell), folder.bundle_of(more))
    done(folder, more, "export", {})
    done(folder, more, "bench", timed(*cell.precisions[1:]))
    found = {row["precision"]: (row["status"], row["reason"]) for row in rows_of(more, folder, Ended("bench"))}
    assert found.pop(cell.precisions[0]) == ("failed", "the bench has no such file")
    assert found.pop("onnx-int8") == ("failed", "the bundle has no such file")
    assert set(found.values()) == {("ok", None)}
