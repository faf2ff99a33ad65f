"""The flags of benchmark_model, against the tool's own list of them."""

from __future__ import annotations

import re

from mobilekit.bench.engine import RunSettings
from mobilekit.bench.flags import arguments
from mobilekit.bench.tool import Tool
from tests.conftest import ROOT

_HELP = ROOT / "tests/data/benchmark_model/local-tf2.14.1-linux-x86_64-help.txt"
_OPS = ["--enable_op_profiling=true", "--max_profiling_buffer_entries=16384"]
_OF_2_14 = Tool(frozenset(re.findall(r"--(\w+)=", _HELP.read_text())))
_MUTE = Tool()
# litert/tools/benchmark_litert_model.h and the base that it shares with TensorFlow Lite's.
_LITERT = Tool(
    _OF_2_14.flags
    & {"num_runs", "min_secs", "max_secs", "num_threads", "warmup_runs", "warmup_min_secs", "graph", "allow_fp16"}
    | {"use_cpu", "use_gpu", "use_npu", "use_profiler", "dispatch_library_path", "gpu_backend", "result_file_path"}
)


def test_a_run_is_said_whole_and_the_graph_is_first() -> None:
    for tool in (_MUTE, _OF_2_14, _LITERT):
        assert arguments(RunSettings(), "/data/local/tmp/m.tflite", tool) == [
            "--graph=/data/local/tmp/m.tflite",
            "--num_threads=1",
            "--num_runs=20",
            "--warmup_runs=3",
            "--min_secs=0",
            "--warmup_min_secs=0",
            "--max_secs=5",
        ]


def test_what_a_build_may_lack_stands_only_where_it_is_asked_for() -> None:
    for delegate in ("xnnpack", "gpu", "nnapi", "npu"):
        for tool in (_MUTE, _OF_2_14):
            assert arguments(RunSettings(delegate=delegate), "m", tool)[7:] == [f"--use_{delegate}=true"]
    assert arguments(RunSettings(), "m", _MUTE, profile=True)[7:] == _OPS


def test_litert_s_tool_is_asked_in_its_own_words() -> None:
    assert arguments(RunSettings(), "m", _LITERT, profile=True)[7:] == ["--use_profiler=true"]
    assert arguments(RunSettings(delegate="xnnpack"), "m", _LITERT)[7:] == ["--use_cpu=true"]
    assert arguments(RunSettings(delegate="gpu"), "m", _LITERT)[7:] == ["--use_gpu=true"]


def test_only_a_tool_that_writes_results_is_given_a_file() -> None:
    assert arguments(RunSettings(), "m", _LITERT, result_file="r.pb")[7:] == ["--result_file_path=r.pb"]
    for tool in (_MUTE, _OF_2_14):
        assert arguments(RunSettings(), "m", tool, result_file="r.pb") == arguments(RunSettings(), "m", tool)


def test_a_tool_knows_every_flag_that_it_is_given() -> None:
    for tool in (_OF_2_14, _LITERT):
        flags = arguments(RunSettings(), "m", tool, profile=True, result_file="r.pb")
        assert {flag.removeprefix("--").partition("=")[0] for flag in flags} <= tool.flags


def test_figures_are_written_plainly() -> None:
    flags = arguments(RunSettings(threads=4, runs=1000000, warmup_runs=1, max_seconds=2.25), "m", _MUTE)
    assert flags[1:4] == ["--num_threads=4", "--num_runs=1000000", "--warmup_runs=1"]
    assert flags[4:] == ["--min_secs=0", "--warmup_min_secs=0", "--max_secs=2.25"]
