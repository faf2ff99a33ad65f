"""The flags of benchmark_model, against the tool's own list of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mobilekit.bench.flags import Settings, arguments
from mobilekit.errors import UsageError
from tests.conftest import ROOT

_HELP = ROOT / "tests/data/benchmark_model/local-tf2.14.1-linux-x86_64-help.txt"


def test_defaults_are_said_and_the_graph_is_first() -> None:
    assert arguments(Settings(), "/data/local/tmp/m.tflite") == [
        "--graph=/data/local/tmp/m.tflite",
        "--num_threads=1",
        "--num_runs=50",
        "--warmup_runs=1",
        "--min_secs=1",
        "--warmup_min_secs=0.5",
        "--max_secs=150",
    ]


def test_defaults_are_the_tool_s_own() -> None:
    """Only the threads differ: -1 there lets the tool choose."""
    defaults = dict(re.findall(r"--(\w+)=(\S*) *\t", Path(_HELP).read_text()))
    ours = dict(flag.removeprefix("--").split("=") for flag in arguments(Settings(), ""))
    assert ours | {"num_threads": "-1"} == {flag: defaults[flag] for flag in ours}


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        (Settings(xnnpack=True), ["--use_xnnpack=true"]),
        (Settings(xnnpack=False), ["--use_xnnpack=false"]),
        (Settings(gpu=True, nnapi=True), ["--use_gpu=true", "--use_nnapi=true"]),
        (Settings(profile="stdout"), ["--enable_op_profiling=true", "--max_profiling_buffer_entries=16384"]),
    ],
)
def test_what_a_build_may_lack_stands_only_where_it_is_asked_for(settings: Settings, flags: list[str]) -> None:
    assert arguments(settings, "m")[7:] == flags


def test_profiles_go_to_their_file() -> None:
    assert arguments(Settings(profile="csv"), "m", "ops.csv")[-1] == "--profiling_output_csv_file=ops.csv"
    assert arguments(Settings(profile="proto"), "m", "ops.pb")[-2:] == [
        "--op_profiling_output_mode=proto",
        "--op_profiling_output_file=ops.pb",
    ]
    with pytest.raises(UsageError, match="needs a file"):
        arguments(Settings(profile="csv"), "m")


def test_a_tool_without_delegates_knows_every_flag() -> None:
    known = set(re.findall(r"--(\w+)=", _HELP.read_text()))
    for settings in (Settings(), Settings(profile="stdout"), Settings(profile="csv")):
        flags = arguments(settings, "m.tflite", "ops.csv")
        assert {flag.removeprefix("--").partition("=")[0] for flag in flags} <= known


def test_figures_are_written_plainly() -> None:
    flags = arguments(Settings(threads=4, num_runs=1000000, min_secs=0, max_secs=2.25), "m")
    assert flags[1:4] == ["--num_threads=4", "--num_runs=1000000", "--warmup_runs=1"]
    assert flags[4:] == ["--min_secs=0", "--warmup_min_secs=0.5", "--max_secs=2.25"]


def test_the_wanted_delegate_has_the_tool_s_name() -> None:
    assert Settings().wanted_delegate is None
    assert Settings(xnnpack=False).wanted_delegate is None
    assert Settings(xnnpack=True).wanted_delegate == "XNNPACK"
    assert Settings(gpu=True, xnnpack=True).wanted_delegate == "GPU"
    assert Settings(nnapi=True).wanted_delegate == "NNAPI"
