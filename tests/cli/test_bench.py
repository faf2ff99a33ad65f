"""`mobilekit bench` as a user meets it, on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from mobilekit.bench.bench import ON_DEVICE
from mobilekit.bench.devices.base import Device
from mobilekit.bench.devices.discovery import ListedDevice
from mobilekit.bench.devices.select import Selection
from tests.bench.test_binary import elf
from tests.bench.test_choice import PHONE, Phone
from tests.bench_cli import problems_of
from tests.cli.render.test_ci import check_junit, tables
from tests.command_line import heed_interrupts
from tests.conftest import ROOT, Cli
from tests.fake_device import fake_benchmark_model, fake_model

QUICK = ("--rounds", 6, "--runs", 3, "--warmup-runs", 1)


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def problems(self) -> list[str]:
        return problems_of(self.err)


Run = Callable[..., Said]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    yield from make_run(tmp_path, monkeypatch, capsys)


def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run `mobilekit bench` in this process, in an empty folder; return its exit code and what it said."""
    from mobilekit.cli.app import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.parent / "state"))  # another bench may hold this machine's lock
    handler = signal.getsignal(signal.SIGTERM)

    def act(*arguments: Any) -> Said:
        monkeypatch.setattr(sys, "argv", ["mobilekit", "bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        said = capsys.readouterr()
        return Said(int(caught.value.code or 0), said.out, said.err)

    yield act
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def two(digits_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    return make_two(digits_bundle, tmp_path)


def make_two(digits_bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Return two files that stand alone."""
    paths = tmp_path / "A.tflite", tmp_path / "B.tflite"
    for path, precision in zip(paths, ("float32", "int8"), strict=True):
        shutil.copy(digits_bundle / f"model.{precision}.tflite", path)
    return paths


def parse(said: Said) -> dict[str, Any]:
    """Read what must be JSON and nothing else."""
    content: dict[str, Any] = json.loads(said.out)
    assert said.problems == []
    return content


def select(monkeypatch: pytest.MonkeyPatch, *devices: Device, not_ready: tuple[ListedDevice, ...] = ()) -> None:
    """Let every --device be these."""
    monkeypatch.setattr(
        "mobilekit.bench.devices.select.find_devices", lambda *_a, **_k: Selection(list(devices), list(not_ready))
    )


def phone(name: str, **changes: Any) -> Phone:
    return Phone(ON_DEVICE, facts=replace(PHONE, name=name), **changes)


def test_two_files_and_a_verdict(cli: Cli, two: tuple[Path, Path], tmp_path: Path) -> None:
    done = cli("bench", *two, *QUICK, XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 0
    assert "round 1 of 6: A.tflite" in done.stderr.replace("B.tflite", "A.tflite"), "a pipe hears of each step"
    lines = done.stdout.splitlines()
    assert lines[0].startswith("local: ") and "LiteRT" in lines[0]
    assert lines[1] == "1 thread; 6 rounds of up to 3 inferences; ms"
    (verdict,) = (line for line in lines if line.startswith("B.tflite") and " A.tflite" in line)
    assert any(word in verdict for word in ("faster", "slower", "inconclusive ("))


def test_json_is_the_contract_and_nothing_else(cli_apart: Cli, digits_bundle: Path, tmp_path: Path) -> None:
    done = cli_apart("bench", digits_bundle, "--rounds", 2, "--runs", 3, "--json", XDG_STATE_HOME=str(tmp_path))
    assert done.returncode == 0 and "round 1 of 2" in done.stderr
    content = json.loads(done.stdout)
    assert content["device"]["name"] == "local"
    assert content["engine"]["name"] == "LiteRT"
    assert [result["precision"] for result in content["results"]] == ["float32", "float16", "dynamic", "int8"]
    for result in content["results"]:
        assert result["accepted"] is True and result["why_not"] is None
        assert result["file"] == f"{digits_bundle.name}/model.{result['precision']}.tflite"
        assert len(result["raw_ms"]) == result["rounds"] == 2
        figures = result["latency_ms"]
        assert figures["min"] <= figures["p5"] <= figures["median"] <= figures["p95"] <= figures["max"]
        assert 0 < figures["median"] < 100
        assert 0 < result["memory_mb"] < 200
    assert [each["against"] for each in content["comparisons"]] == [content["results"][0]["file"]] * 3
    runs = [list(each["runs"]) for each in content["rounds"]]
    assert len({tuple(order) for order in runs}) == 1, "the runs are listed by file, not by when they ran"


def test_without_a_file_every_bundle(run: Run, digits_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "digits").symlink_to(digits_bundle)
    content = parse(run("--rounds", 1, "--runs", 1, "--json"))
    assert len(content["results"]) == 4
    assert content["settings"]["rounds"] == 1


def test_a_file_named_twice_counts_once(run: Run, two: tuple[Path, Path]) -> None:
    content = parse(run(two[0], two[0], "A.tflite", "--rounds", 1, "--runs", 1, "--json"))
    assert [result["file"] for result in content["results"]] == ["A.tflite"]
    assert content["comparisons"] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("gone.tflite", "There is no file gone.tflite."),
        ("", "There is no bundle under artifacts/."),
        ("folder", "folder is not a bundle: it has no manifest.json."),
        ("model.onnx", "model.onnx is neither a .tflite file, which benchmark_model runs, nor a .pte file."),
        ("garbage.tflite", "garbage.tflite is not a TFLite file: it does not begin as one."),
        ("A.tflite --cpus zz", "--cpus zz is not a hexadecimal mask."),
        ("A.tflite --cpus 0", "--cpus 0 is not a hexadecimal mask."),
        ("A.tflite --cpus=-f", "--cpus -f is not a hexadecimal mask."),
        ("A.tflite --cpus big", "The device does not tell which of its cores are the big ones."),
        ("A.tflite --device nonsense", "There is no device 'nonsense'."),
        ("A.tflite --device emulated", "--device emulated is for `mobilekit diff`: its latencies would mean nothing."),
        ("A.tflite --device adb:", "There is no device 'adb:'."),
        ("A.tflite --device replay:gone", "There is no recording in gone."),
        ("A.tflite --record here", "--device local cannot be recorded."),
        ("A.tflite --delegate gpu", "LiteRT on this machine has no gpu delegate."),
        ("A.tflite --delegate nnapi", "LiteRT on this machine has no nnapi delegate."),
        ("A.tflite --delegate npu", "npu"),
        ("A.tflite --plot x.jpg", "x.jpg is neither .png nor .svg."),
        ("A.tflite --plot none/x.png", "There is no folder none for x.png."),
        ("A.tflite --junit none/x.xml", "There is no folder none for x.xml."),
        ("A.tflite --markdown folder", "folder is a folder."),
        ("A.tflite --save-baseline none/x.json", "There is no folder none for x.json."),
        ("A.tflite --baseline gone.json", "Cannot read the baseline gone.json"),
        ("A.tflite --baseline model.onnx", "model.onnx is no baseline"),
        ("A.tflite --budgets gone.yaml", "Cannot read gone.yaml"),
        ("A.tflite --benchmark-binary gone/tool", "gone/tool cannot be read: No such file or directory."),
        ("A.tflite --benchmark-binary ./arm", "arm is for arm64-v8a, and the device is x86_64."),
        ("A.tflite --benchmark-binary garbage.tflite", "garbage.tflite is not a program."),
        ("A.tflite --benchmark-binary tool", "There is no benchmark_model tool."),
        ("A.tflite --rounds 0", "--rounds"),
        ("A.tflite --threads 0", "--threads"),
        ("A.tflite --max-seconds 0", "--max-seconds"),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    run: Run, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, said: str
) -> None:
    from mobilekit.bench.devices import local

    monkeypatch.setattr(local, "read_facts", lambda: replace(PHONE, name="local", abi="x86_64", cores=()))
    (tmp_path / "folder").mkdir()
    (tmp_path / "model.onnx").write_bytes(b"\x08\x0a")
    (tmp_path / "garbage.tflite").write_bytes(bytes(range(256)))
    (tmp_path / "arm").write_bytes(elf(183))
    before = sorted(tmp_path.rglob("*"))
    found = run(*arguments.split())
    assert found.code == 2
    assert found.out == ""
    assert said in found.err
    assert "Traceback" not in found.err and "fault of mobilekit" not in found.err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_device_that_is_not_there_is_a_failed_device(run: Run, two: tuple[Path, Path]) -> None:
    found = run(two[0], "--device", "adb:nobody", "--adb-server", "127.0.0.1:9")
    assert (found.code, found.out) == (3, "")


def test_a_file_that_is_cut_is_refused_and_the_other_is_timed(run: Run, two: tuple[Path, Path]) -> None:
    two[0].write_bytes(two[0].read_bytes()[:4000])
    found = run(*two, "--rounds", 2, "--runs", 1, "--json", "--profile", "--junit", "j.xml")
    content = json.loads(found.out)
    assert found.code == 1
    refused, other = content["results"]
    assert refused["accepted"] is False
    assert refused["why_not"] == "it is not a whole TFLite file; convert or export it again"
    assert other["accepted"] is True and content["comparisons"] == []
    assert list(content["profiles"]) == ["B.tflite"]
    assert check_junit(Path("j.xml").read_text())[0].get("failures") == "1"


def test_profiles_are_in_the_json(run: Run, digits_bundle: Path) -> None:
    content = parse(run(digits_bundle / "model.int8.tflite", "--rounds", 1, "--runs", 1, "--profile", "--json"))
    (profile,) = content["profiles"].values()
    assert profile["total_ms"] > 0 and profile["by_kind"]["DFC"] > 0 and profile["by_module"]["blocks.6"] > 0


def test_all_reports_are_written(
    run: Run, digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(monkeypatch, phone("adb:1"))
    files = [digits_bundle / f"model.{precision}.tflite" for precision in ("float32", "int8")]
    found = run(
        *files, *QUICK, "--plot", "p.svg", "--junit", "j.xml", "--markdown", "m.md", "--save-baseline", "b.json"
    )
    assert (found.code, found.problems) == (0, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.json", "j.xml", "m.md", "p.svg"]
    assert check_junit((tmp_path / "j.xml").read_text()).get("tests") == "2"
    assert len(tables((tmp_path / "m.md").read_text())[0]) == 4
    assert len(json.loads((tmp_path / "b.json").read_text())["entries"]) == 2


@pytest.mark.parametrize(
    ("change", "verdict", "code"),
    [
        (
            lambda base: [each.update(raw_ms=[ms / 10 for ms in each["raw_ms"]]) for each in base["entries"]],
            "regressed",
            1,
        ),
        (
            lambda base: [each.update(raw_ms=[ms * 10 for ms in each["raw_ms"]]) for each in base["entries"]],
            "improved",
            0,
        ),
        (lambda base: base["device"].update(model="another"), "not-comparable", 0),
        (lambda base: [each.update(engine="LiteRT") for each in base["entries"]], "not-comparable", 0),
        (lambda base: [each.update(file="C.tflite") for each in base["entries"]], "new", 0),
    ],
)
def test_only_a_regression_fails_against_a_baseline(
    run: Run,
    two: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], Any],
    verdict: str,
    code: int,
) -> None:
    path = tmp_path / "base.json"
    select(monkeypatch, phone("adb:1"))
    assert run(two[0], *QUICK, "--save-baseline", path).code == 0
    base = json.loads(path.read_text())
    change(base)
    path.write_text(json.dumps(base))
    found = run(two[0], *QUICK, "--baseline", path, "--json", "--junit", "j.xml")
    rows = json.loads(found.out)["baseline"]
    assert rows[0]["verdict"] == verdict
    assert found.code == code
    assert check_junit(Path("j.xml").read_text()).get("failures") == str(code)


def test_a_budget_that_is_exceeded_fails(
    run: Run, two: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select(monkeypatch, phone("adb:1"))
    budgets = tmp_path / "budgets.yaml"
    budgets.write_text("budgets: [{file: A.tflite, latency_ms: 1000, size_mb: 100}]")
    assert run(*two, *QUICK, "--budgets", budgets).code == 0
    budgets.write_text("budgets: [{file: A.tflite, latency_ms: 0.000001}, {file: C.tflite, size_mb: 1}]")
    found = run(*two, *QUICK, "--budgets", budgets)
    assert found.code == 1
    assert "A.tflite latency_ms 1e-06 1.00 fail" in " ".join(found.out.split())
    assert "note: The budget for C.tflite (*) on * covers no file." in found.out


def test_a_report_that_cannot_be_written_costs_no_figures(
    run: Run, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_path: Path, _data: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mobilekit.store.files.write_atomic", full)
    found = run(two[0], "--rounds", 1, "--runs", 1, "--json", "--junit", "j.xml")
    assert found.code == 4
    assert json.loads(found.out)["results"][0]["accepted"] is True
    assert "The disk is full" in found.err


def test_a_baseline_without_an_accepted_run_says_why_not(run: Run, two: tuple[Path, Path]) -> None:
    two[0].write_bytes(two[0].read_bytes()[:4000])
    found = run(two[0], "--rounds", 1, "--save-baseline", "b.json")
    assert found.code == 2
    assert "refused: A.tflite: it is not a whole TFLite file; convert or export it again" in found.out
    assert "No run was accepted, so there is no baseline to keep." in found.err


def test_benchmark_model_runs_here_as_well(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(fake_model(300_000, 1))
    content = parse(run("a.tflite", "--rounds", 6, "--benchmark-binary", fake_benchmark_model(), "--json"))
    assert content["engine"]["name"] == "benchmark_model"
    assert content["engine"]["source"] == str(fake_benchmark_model())
    assert content["results"][0]["accepted"] is True
    assert content["results"][0]["statistic"] == "mean", "this version prints no median"


def test_benchmark_model_on_the_path_is_found(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "benchmark_model").symlink_to(fake_benchmark_model())
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "a.tflite").write_bytes(fake_model(300_000, 1))
    content = parse(run("a.tflite", "--rounds", 1, "--json"))
    assert content["engine"]["source"] == str(folder / "benchmark_model")


# Interruptions.


def _running_workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until the bench has a process that times files, and not one of the short ones that ask for facts."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        children = psutil.Process(process.pid).children(recursive=True)
        workers = [child for child in children if any("litert_worker" in word for word in _command(child))]
        if workers:
            return workers
        time.sleep(0.02)
    raise AssertionError("no worker was started")


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_bench_leaves_nothing(
    two: tuple[Path, Path], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = ["bench", str(two[0]), "--runs", "10000", "--max-seconds", "60", "--json", "--junit", "j.xml"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mobilekit", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(scratch), "XDG_STATE_HOME": str(tmp_path.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    workers = _running_workers(process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert out == ""
    assert "Traceback" not in err
    _, alive = psutil.wait_procs(workers, timeout=1)
    assert workers and not [worker for worker in alive if worker.status() != psutil.STATUS_ZOMBIE]
    assert list(scratch.iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["A.tflite", "B.tflite", "scratch"]
