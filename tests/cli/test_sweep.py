"""`mobilekit sweep`: from the file to the rows, with the tools as they are."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mobilekit.sweep import cluster, job
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.load import load_sweep
from mobilekit.sweep.rows import read_rows
from mobilekit.sweep.run import Summary
from tests.cli.test_schema import check_closely
from tests.command_line import heed_interrupts
from tests.conftest import ROOT, Cli
from tests.sweep.rows_by_hand import row, sweep_of
from tests.tiny import TINY, TINY_RECIPE

FAULTY = """
def make():
    raise ValueError("no such width")
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of a net that exports, in all formats, and of one that does not."""
    (tmp_path / "faulty.py").write_text(FAULTY)
    file = tmp_path / "sweep.yaml"
    file.write_text(f"""
matrix:
  models: ['{TINY}', 'faulty.py:make']
  recipes: ['{TINY_RECIPE}']
  targets: [cpu]
  devices: [local]
bench: {{rounds: 6, runs: 5, warmup_runs: 1, max_seconds: 0.1}}
""")
    return file


def test_without_its_packages_a_sweep_says_what_to_install(
    cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "installed_version", lambda name: None if name == "pyarrow" else "1")
    for words in (("run", sweep, "-o", sweep.parent / "o"), ("show", sweep.parent)):
        done = cli("sweep", *words)
        assert done.returncode == 4
        assert "Sweeps need pyarrow, which is not installed." in done.stderr
        assert "pip install '.[sweep]'" in done.stderr


def test_a_schema_for_editors(cli: Cli) -> None:
    schema = json.loads(cli("sweep", "schema").stdout)
    assert set(schema["properties"]) >= {"matrix", "exclude", "include"}


class TestWithDask:
    """What needs the packages of the extra."""

    @pytest.fixture(autouse=True)
    def packages(self) -> None:
        pytest.importorskip("distributed")
        pytest.importorskip("pyarrow")

    def test_a_dry_run_prints_the_cells_and_changes_nothing(self, cli: Cli, sweep: Path) -> None:
        done = cli("sweep", "run", sweep, "-o", sweep.parent / "o", "--dry-run", "--workers", "2")
        assert done.returncode == 0, done.stderr
        cells = done.stdout.splitlines()[:2]
        assert [line.endswith(f"by {TINY_RECIPE} on local") for line in cells] == [True, True]
        # Of both an export of a minute, a diff of 20 s and an answer of 5 s, on two cores, and two benches of 6 rounds
        # of 4 files of 1.1 s.
        assert "2 cells, 2 exports, 8 steps: about 2 min with 2 processes" in done.stdout
        assert not (sweep.parent / "o").exists()
        planned = json.loads(cli("sweep", "run", sweep, "-o", "o", "--dry-run", "--workers", "2", "--json").stdout)
        assert planned["seconds"] == pytest.approx(85 + 2 * 6 * 4 * 1.1)

    def test_what_cannot_be_meant_is_refused(self, cli: Cli, sweep: Path) -> None:
        done = cli("sweep", "run", sweep, "-o", "o", "--workers", "2", "--scheduler", "tcp://localhost:1")
        assert (done.returncode, "--workers is for processes of this machine." in done.stderr) == (2, True)
        done = cli("sweep", "run", sweep, "-o", sweep.parent)
        assert (done.returncode, "exists and is not a sweep." in done.stderr) == (2, True)
        for wrong, said in (
            (("--failed",), "Add --resume."),
            (("--store", "memory://x"), "is the memory of each process"),
            (("--store", ""), "--store '' is neither a URL nor an absolute path."),
            (("--store", "nonsense"), "is neither a URL nor an absolute path."),
        ):
            for more in ((), ("--dry-run",)):
                done = cli("sweep", "run", sweep, "-o", sweep.parent / "o", *wrong, *more)
                assert (done.returncode, said in done.stderr) == (2, True), done.stderr
                assert not (sweep.parent / "o").exists()
        there = sweep_of(sweep.parent / "o", [row()])
        done = cli("sweep", "run", sweep, "-o", there)
        assert (done.returncode, "holds a sweep." in done.stderr) == (2, True)

    def test_a_place_where_nothing_can_be_made(self, cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(job, "check_tools", lambda *_needed: None)
        done = cli("sweep", "run", sweep, "-o", "/proc/x")
        assert done.returncode == 4
        assert "No such file or directory: /proc/x." in done.stderr
        assert "for what is to be written, choose another place with -o." in done.stderr

    def test_where_no_scheduler_is_nothing_is_begun(self, cli: Cli, sweep: Path) -> None:
        out = sweep.parent / "o"
        with socket.socket() as silent:  # it has its port, and does not listen there
            silent.bind(("127.0.0.1", 0))
            there = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
            for address, code, said in (
                ("nonsense", 2, "nonsense is no address of a scheduler."),
                (there, 4, f"There is no scheduler at {there}: Connection refused."),
            ):
                for words in (("sweep", "run", sweep, "-o", out, "--scheduler", address), ("worker", address)):
                    done = cli(*words)
                    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
        assert not out.exists()
        done = cli("sweep", "run", sweep.parent / "none.yaml", "-o", out)
        assert (done.returncode, "There is no file" in done.stderr) == (2, True)

    def test_without_executorch_a_sweep_of_its_files_is_not_begun(
        self, cli: Cli, sweep: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MOBILEKIT_EXECUTORCH", "/nowhere/python")
        sweep.write_text("matrix: {models: [ghostnet], precisions: [float32, pte-float32]}")
        done = cli("sweep", "run", sweep, "-o", sweep.parent / "o")
        assert (done.returncode, "names, is no Python." in done.stderr) == (4, True), done.stderr
        assert not (sweep.parent / "o").exists()

    def test_a_missing_cell_whose_bundle_was_removed_is_exported_anew(
        self, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The cell is new, and shares the export of one that has rows."""
        file = tmp_path / "sweep.yaml"
        file.write_text("matrix: {models: [ghostnet], precisions: [float32]}")
        [cell] = load_sweep(file).cells
        folder = SweepFolder(sweep_of(tmp_path / "s", []))
        place = folder.place_of(cell, "export")
        place.folder.mkdir(parents=True)
        place.write({"found": {}, "host": "here", "seconds": 1.0})
        left: list[object] = []
        monkeypatch.setattr(job, "open_cluster", lambda *_words: nullcontext(SimpleNamespace(width=lambda: 1)))
        monkeypatch.setattr(job, "run_cells", lambda *_words: left.append(place.read()) or Summary())
        done = cli("sweep", "run", file, "-o", folder.path, "--resume")
        assert (done.returncode, left) == (0, [None]), done.stderr

    def test_show_prints_a_line_a_file_and_its_json_is_as_published(self, cli: Cli, tmp_path: Path) -> None:
        rows = [row("a", raw_ms=[5.0, 6.0]), row("b", status="failed", failed_step="export", reason="why")]
        folder = sweep_of(tmp_path / "s", rows)
        done = cli("sweep", "show", folder)
        assert done.returncode == 0
        assert "failed: b float32: export: why" in done.stdout
        line = next(line for line in done.stdout.splitlines() if line.startswith(" *"))
        assert line.split()[1:6] == ["a", "224x224", "float32", "local", "1000"]
        content = json.loads(cli("sweep", "show", folder, "--json", "--where", "model=b").stdout)
        check_closely("sweep", {**content, "rows": []})
        assert [(each["model"], each["pareto"]) for each in content["rows"]] == [("b", False)]

    def test_show_says_that_there_is_nothing_to_show(self, cli: Cli, tmp_path: Path) -> None:
        done = cli("sweep", "show", sweep_of(tmp_path / "none", []))
        assert (done.returncode, done.stderr) == (0, f"note: {tmp_path / 'none'} has no rows yet\n")
        some = sweep_of(tmp_path / "some", [row("a")])
        done = cli("sweep", "show", some, "--where", "model=b", "--where", "precision=int8", "--json")
        assert (done.returncode, json.loads(done.stdout)["rows"]) == (0, [])
        assert done.stderr == f"note: no row of {some} meets model=b and precision=int8\n"
        assert cli("sweep", "show", some, "--where", "model=a").stderr == ""

    def test_show_says_what_is_wrong_and_no_interval_of_few_rounds(self, cli: Cli, tmp_path: Path) -> None:
        wrong = [{"op": "ADD", "count": 30}, {"op": "MUL", "count": 1}]
        answer = {"target": "gpu", "taken": 127, "total": 127, "whole": False, "wrong": wrong}
        one = row("a", raw_ms=[5.0], latency_low_ms=None, latency_high_ms=None, targets=[json.dumps(answer)])
        done = cli("sweep", "show", sweep_of(tmp_path / "s", [one]))
        assert done.returncode == 0, done.stderr
        line = next(line for line in done.stdout.splitlines() if " a " in line)
        assert line.split("gpu")[1].split() == ["127/127,", "31", "wrong", "5.00", "-"]
        assert "*" not in line

    @pytest.mark.slow
    def test_a_sweep_of_a_tiny_net_says_what_the_bundle_says(
        self, cli: Cli, cli_apart: Cli, sweep: Path, tiny_bundle: Path
    ) -> None:
        out = sweep.parent / "o"
        done = cli_apart("sweep", "run", sweep, "-o", out, "--workers", "2")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "2 cells ran, 1 failed:" in done.stdout
        told = done.stderr.splitlines()
        assert sum(": bench took " in line for line in told) == 1
        assert sum("faulty.py:make" in line and "export failed" in line for line in told) == 1
        rows = read_rows(out / "rows")
        failed = [each for each in rows if each["model"] == "faulty.py:make"]
        assert {(each["status"], each["failed_step"], each["file"]) for each in failed} == {("failed", "export", None)}
        assert all("no such width" in each["reason"] for each in failed)

        good = {each["precision"]: each for each in rows if each["status"] == "ok"}
        assert set(good) == {"float32", "float16", "dynamic", "int8"}
        ledger = json.loads((tiny_bundle / "ledger.json").read_text())
        for each in ledger["stages"]:
            precision = each["stage"].removeprefix("tflite-")
            if precision in good and each["against"] == "reference":
                there = good[precision]
                assert there["relative_l2"] == pytest.approx(each["relative_l2"])
                assert there["parity"] == each["verdict"]
        for precision, there in good.items():
            file = tiny_bundle / f"model.{precision}.tflite"
            assert there["size_bytes"] == file.stat().st_size
            assert len(there["raw_ms"]) == 6
            assert there["latency_low_ms"] <= there["latency_ms"] <= there["latency_high_ms"]
            assert [json.loads(answer)["target"] for answer in there["targets"]] == ["cpu"]
            assert there["input_size"] == "24x24"

        done = cli("sweep", "run", sweep, "-o", out, "--resume")
        assert (done.returncode, "is complete: each cell has its rows." in done.stdout) == (0, True)
        assert load_sweep(sweep).cells[0].key in {each["cell"] for each in rows}

    @pytest.mark.slow
    @pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
    def test_a_run_that_is_ended_leaves_no_process_and_goes_on(
        self, cli_apart: Cli, sweep: Path, tiny_bundle: Path, number: signal.Signals, code: int
    ) -> None:
        """SIGKILL of the command alone; Ctrl-C, which a terminal sends to all its processes."""
        out = sweep.parent / "o"
        command = [sys.executable, "-m", "mobilekit", "sweep", "run", str(sweep), "-o", str(out), "--workers", "2"]
        with subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(out)},
            preexec_fn=heed_interrupts,
            start_new_session=True,
        ) as process:
            while not (here := processes_of(out, "mobilekit.sweep.child")):
                assert process.poll() is None
                time.sleep(0.01)
            assert here
            (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
            said = process.communicate()[1]
        assert process.returncode == code
        assert "Traceback" not in said
        assert ("Go on with --resume." in said) == (number == signal.SIGINT)
        deadline = time.monotonic() + 60
        while alive := processes_of(out):
            assert time.monotonic() < deadline, alive
            time.sleep(0.1)
        done = cli_apart("sweep", "run", sweep, "-o", out, "--resume", "--workers", "2")
        assert done.returncode == 1, done.stderr
        assert {(each["precision"], each["status"]) for each in read_rows(out / "rows") if each["model"] == TINY} == {
            (precision, "ok") for precision in ("float32", "float16", "dynamic", "int8")
        }
        assert not [*(out / "bundles").glob(".*")]


MARK = "MOBILEKIT_SWEEP_OF_A_TEST"


def processes_of(folder: Path, word: str = "") -> list[list[str]]:
    """Return the command lines, with a word in them, of the processes that a test has started, and those of theirs."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == str(folder) and any(word in each for each in process.cmdline()):
                found.append(process.cmdline())
    return found
