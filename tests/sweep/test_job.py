"""What is seen before a sweep runs: its folder, and the tools of the machines that do its steps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mobilekit.errors import ToolError, UsageError
from mobilekit.sweep import job
from mobilekit.sweep.cell import Cell
from mobilekit.sweep.folder import SweepFolder

pytest.importorskip("distributed")
pytest.importorskip("pyarrow")

CELLS = [Cell("ghostnet", precisions=("float32",), targets=("cpu",)), Cell("ghostnet", precisions=("pte-int8",))]
HERE, PHONES, PLAIN = "tcp://here:1", "tcp://phones:1", "tcp://plain:1"


class Workers:
    """A client of a machine with room for steps, one with phones alone, and a plain worker of dask."""

    def __init__(self, **lacks: tuple[str, str]) -> None:
        self.asked: list[str] = []
        self.lacks = lacks

    def scheduler_info(self, n_workers: int) -> dict[str, Any]:
        assert n_workers == -1, "all of them"
        resources = {HERE: {"step": 2.0}, PHONES: {"step": 0.0, "phone:A": 1.0}, PLAIN: {}}
        return {"workers": {address: {"resources": each} for address, each in resources.items()}}

    def run(self, function: Any, *words: Any, workers: list[str], on_error: str) -> dict[str, Any]:
        assert words == (True, True, ["cpu"]) and function is job.missing_tool and on_error == "return"
        self.asked = workers
        return {address: self.lacks.get(address.split("/")[2].split(":")[0]) for address in workers}


def test_each_worker_that_takes_steps_is_asked() -> None:
    client = Workers()
    job._check_workers(SimpleNamespace(client=client), CELLS)  # type: ignore[arg-type]
    assert client.asked == [HERE, PLAIN]
    client = Workers(plain=("ExecuTorch is not there.", "Set it up."))
    with pytest.raises(ToolError, match=r"tcp://plain:1 cannot do the sweep: ExecuTorch is not there\.\nSet it up\."):
        job._check_workers(SimpleNamespace(client=client), CELLS)  # type: ignore[arg-type]


def test_a_tool_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking() -> None:
        raise ToolError("onnx2tf is not installed.", "Install it.")

    assert job.missing_tool(False, False, []) is None
    monkeypatch.setattr("mobilekit.convert.installed.check_installed", lacking)
    assert job.missing_tool(True, False, []) == ("onnx2tf is not installed.", "Install it.")


def test_a_dry_run_sees_that_the_folder_can_be_taken(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("matrix: {models: [ghostnet]}")
    assert len(job.plan(job.SweepRequest(file, tmp_path / "new")).cells) == 1
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match="exists and is not a sweep"):
        job.plan(job.SweepRequest(file, tmp_path))
    SweepFolder(tmp_path / "old").begin({}, resume=False)
    with pytest.raises(UsageError, match="holds a sweep"):
        job.plan(job.SweepRequest(file, tmp_path / "old"))
    assert len(job.plan(job.SweepRequest(file, tmp_path / "old", resume=True)).cells) == 1
