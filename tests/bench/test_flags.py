"""The flags of benchmark_model, against the tool's own list of them."""

from __future__ import annotations

import re

import pytest

from mobilekit.bench.engine import RunSettings
from mobilekit.bench.flags import arguments
from mobilekit.errors import UsageError
from tests.conftest import ROOT

_HELP = ROOT / "tests/data/benchmark_model/local-tf2.14.1-linux-x86_64-help.txt"
_OPS = ["--enable_op_profiling=true", "--max_profiling_buffer_entries=16384"]


def test_a_run_is_said_whole_and_the_graph_is_first() -> None:
    assert arguments(RunSettings(), "/data/local/tmp/m.tflite") == [
        "--graph=/data/local/tmp/m.tflite",
        "--num_threads=1",
        "--num_runs=20",
        "--warmup_runs=3",
        "--min_secs=0",
        "--warmup_min_secs=0",
        "--max_secs=5",
    ]


def test_what_a_build_may_lack_stands_only_where_it_is_asked_for() -> None:
    for delegate in ("xnnpack", "gpu", "nnapi"):
        assert arguments(RunSettings(delegate=delegate), "m")[7:] == [f"--use_{delegate}=true"]
    assert arguments(RunSettings(), "m", "stdout")[7:] == _OPS


def test_profiles_go_to_their_file() -> None:
    assert arguments(RunSettings(), "m", "csv", "ops.csv")[7:] == [*_OPS, "--profiling_output_csv_file=ops.csv"]
    assert arguments(RunSettings(), "m", "proto", "ops.pb")[-2:] == [
        "--op_profiling_output_mode=proto",
        "--op_profiling_output_file=ops.pb",
    ]
    with pytest.raises(UsageError, match="needs a file"):
        arguments(RunSettings(), "m", "csv")


def test_a_tool_without_delegates_knows_every_flag() -> None:
    known = set(re.findall(r"--(\w+)=", _HELP.read_text()))
    for flags in (arguments(RunSettings(), "m"), arguments(RunSettings(), "m", "csv", "ops.csv")):
        assert {flag.removeprefix("--").partition("=")[0] for flag in flags} <= known


def test_figures_are_written_plainly() -> None:
    flags = arguments(RunSettings(threads=4, runs=1000000, warmup_runs=1, max_seconds=2.25), "m")
    assert flags[1:4] == ["--num_threads=4", "--num_runs=1000000", "--warmup_runs=1"]
    assert flags[4:] == ["--min_secs=0", "--warmup_min_secs=0", "--max_secs=2.25"]
