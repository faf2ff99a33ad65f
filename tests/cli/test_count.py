"""`mobilekit bench --device emulated --core CORE`: what a user asks for, and what is told where it cannot be had."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mobilekit.bench.devices import emulator_setup
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.cli.test_schema import check_closely
from tests.conftest import Cli
from tests.programs import TWO_PARTS
from tests.tflite_by_hand import make_tflite


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "net.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 64), ["y"]))
    return path


@pytest.mark.parametrize(
    ("arguments", "told", "hint"),
    [
        (["--device", "emulated", "--core", "a67"], "There is no core 'a67'", "a76"),
        (["--core", "a76"], "--core is for --device emulated", ""),
        (["--device", "adb", "--core", "a76"], "--core is for --device emulated", ""),
        (["--device", "emulated"], "its latencies would mean nothing", "count instructions: --core a76"),
        (["--device", "emulated", "--core", "a76", "--threads", "2"], "--threads has no meaning with --core", "Leave"),
        (["--device", "emulated", "--core", "a76", "--runs", "7"], "--runs has no meaning with --core", "Leave"),
        (["--device", "emulated", "--core", "a76", "--free-clocks"], "--free-clocks has no meaning", "Leave"),
        (["--device", "emulated", "--core", "a76", "--cpus", "big"], "--cpus has no meaning with --core", "Leave"),
        (["--cache-misses"], "--cache-misses is for --device emulated with --core", "Leave it out"),
        (
            ["--device", "emulated", "--core", "a76", "--baseline", "none.json"],
            "Cannot read the baseline",
            "--core CORE",
        ),
    ],
)
def test_options_that_do_not_fit(arguments: list[str], told: str, hint: str, file: Path, cli: Cli) -> None:
    done = cli("bench", file, *arguments)
    assert done.returncode == 2
    assert told in done.stderr and hint in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("net.onnx", b"onnx", "is neither a .tflite file"),
        ("net.tflite", b"rubbish", "is not a TFLite file"),
        ("net.txt", b"", "is neither a .tflite file"),
    ],
)
def test_other_files_are_refused(name: str, content: bytes, said: str, tmp_path: Path, cli: Cli) -> None:
    (tmp_path / name).write_bytes(content)
    done = cli("bench", tmp_path / name, "--device", "emulated", "--core", "a76")
    assert done.returncode == 2
    assert f"{name} {said}" in done.stderr


def test_a_file_for_executorch_is_not_counted(cli: Cli) -> None:
    done = cli("bench", TWO_PARTS, "--device", "emulated", "--core", "a55")
    assert done.returncode == 2
    assert f"{TWO_PARTS} is for ExecuTorch, and only TFLite files are counted" in done.stderr


def test_without_the_set_up_it_says_what_to_run(file: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("bench", file, "--device", "emulated", "--core", "a76", XDG_DATA_HOME=str(tmp_path))
    assert done.returncode == 4
    assert "`mobilekit devices setup-emulated`" in done.stderr


def test_the_json_has_its_schema() -> None:
    content = make_result(make_file(make_model()), make_file(None, why_not="It differs.")).to_json()
    check_closely("instructions", json.loads(json.dumps(content)))
    assert content["unit"] == "instructions" and content["core"]["name"] == "a76"


problem = emulator_setup.find_count_problem()
emulated = pytest.mark.skipif(problem is not None, reason=f"nothing can be counted here: {problem and problem.what}")


@emulated
def test_a_count_is_the_same_again_and_its_own_baseline(file: Path, tmp_path: Path, cli: Cli) -> None:
    ask = ("bench", file, "--device", "emulated", "--core", "a55")
    base, junit = tmp_path / "base.json", tmp_path / "out.xml"
    first = cli(*ask, "--save-baseline", base, "--json")
    again = cli(*ask, "--baseline", base, "--junit", junit, "--json")
    assert first.returncode == again.returncode == 0
    before, now = json.loads(first.stdout), json.loads(again.stdout)
    check_closely("instructions", now)
    assert before["results"] == now["results"]
    assert [(change["verdict"], change["ratio"]) for change in now["baseline"]] == [("same", 1.0)]
    assert "model against the baseline" in junit.read_text()


@emulated
def test_a_damaged_file_among_others_is_refused_by_name(file: Path, tmp_path: Path, cli: Cli) -> None:
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(file.read_bytes()[:-40])
    done = cli("bench", file, cut, "--device", "emulated", "--core", "a76", "--json")
    assert done.returncode == 1
    good, bad = json.loads(done.stdout)["results"]
    assert good["accepted"] and not bad["accepted"]
    assert f"LiteRT cannot open {cut}: it is not a whole TFLite file" in bad["why_not"] and bad["count"] is None
