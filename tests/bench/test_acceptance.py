"""Which runs of benchmark_model are valid, and what is said of the others."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.acceptance import rejection_reason
from mobilekit.bench.output import parse_output
from tests.bench.test_output import mutated
from tests.conftest import ROOT
from tests.properties import times

DATA = ROOT / "tests/data/benchmark_model"
_BASIC = "local-tf2.14.1-linux-x86_64-basic.txt"
_GRAPH = "/data/local/tmp/ghostnetv2_224_ts_sim_float32.tflite"
_NEW = "own-2.17-percentiles.txt"
_NEW_GRAPH = "/data/local/tmp/mobilekit/m.tflite"


def _judge(text: str, graph: str, stderr: str = "", exit_code: int = 0, wanted: str | None = None) -> str | None:
    output = parse_output(text, stderr)
    return rejection_reason(output, exit_code=exit_code, graph=graph, wanted_delegate=wanted)


def _sample(name: str) -> str:
    return (DATA / name).read_text()


@pytest.mark.parametrize(
    ("name", "graph", "wanted"),
    [
        (_BASIC, _GRAPH, None),
        ("local-tf2.14.1-linux-x86_64-op_profiling_stdout.txt", _GRAPH, None),
        ("own-2018-float.txt", "/data/local/tmp/small net.tflite", None),
        ("own-2.3-gpu-partly.txt", "/data/local/tmp/big.tflite", "GPU"),
        ("own-2.9-xnnpack-inside.txt", "loop.tflite", "xnnpack"),
        (_NEW, _NEW_GRAPH, "XNNPACK"),
        ("own-litert-tool.txt", "/data/local/tmp/fc.tflite", "XNNPACK"),
    ],
)
def test_whole_runs_count(name: str, graph: str, wanted: str | None) -> None:
    assert _judge(_sample(name), graph, wanted=wanted) is None
    assert "instead of" in str(_judge(_sample(name), graph + "x", wanted=wanted))


def _real(name: str) -> tuple[str, str, int, str]:
    """Return what a real run left: its output, its errors, its status, and the graph it was given."""
    text = _sample(f"local-tf2.14.1-linux-x86_64-err-{name}.txt")
    stdout, _, stderr = text.partition("[stderr]\n")
    status = re.search(r"\[exit status (\d+)\]", stdout)
    graph = re.search(r"--graph=(\S+)", stdout)
    assert status
    return stdout, stderr, int(status[1]), graph[1] if graph else ""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing", "status 1, saying \"Could not open '/nonexist.tflite'.\"; check that the file is on the device"),
        ("invalid", 'saying "The model is not a valid Flatbuffer buffer"; check that the file is a whole TFLite model'),
        ("truncated", 'saying "The model is not a valid Flatbuffer buffer"; check that'),
        ("nograph", 'saying "Please specify the name of your TF Lite input file with --graph"; run it by hand'),
        ("badflagvalue", "saying \"Failed to parse flag 'num_runs' against argv '--num_runs=abc'\"; correct the flag"),
        ("unknownflag", "does not know --op_profiling_output_mode=csv --foo=1, and ran without; leave it out"),
    ],
)
def test_real_failures_are_refused_with_their_words(name: str, words: str) -> None:
    stdout, stderr, status, graph = _real(name)
    reason = _judge(stdout, graph, stderr, exit_code=status)
    assert reason is not None
    assert words in reason
    if status:  # also where the status was lost
        assert "failed, saying" in str(_judge(stdout, graph, stderr))


@pytest.mark.parametrize(
    ("code", "stderr", "words"),
    [
        (139, "Segmentation fault\n", 'ended by SIGSEGV (exit status 139), saying "Segmentation fault"; take another'),
        (137, "", "ended by SIGKILL (exit status 137); the device may be out of memory"),
        (132, "", "ended by SIGILL (exit status 132); the binary has instructions"),
        (134, "", "ended by SIGABRT (exit status 134); take another version"),
        (-11, "", "ended by SIGSEGV (exit status -11)"),
        (126, "sh: 1: ./b: Exec format error\n", 'Exec format error"; the binary is for another ABI'),
        (126, "sh: ./b: not executable: 64-bit ELF file\n", '64-bit ELF file"; the binary is for another ABI'),
        (126, "sh: ./b: Permission denied\n", 'Permission denied"; keep the binary where programs may run'),
        (126, "", "cannot be run (exit status 126); check that the binary is for this device's ABI"),
        (127, "sh: ./b: inaccessible or not found\n", 'was not found (exit status 127), saying "sh: ./b: inaccessible'),
        (127, "", "was not found (exit status 127); check its path"),
        (
            1,
            'CANNOT LINK EXECUTABLE "./b": library "l.so" not found\n',
            "; bring the library that is missing with --push-lib",
        ),
        (255, "", "ended with exit status 255; run it by hand"),
    ],
)
def test_exit_statuses_have_names(code: int, stderr: str, words: str) -> None:
    reason = _judge(_sample(_BASIC), _GRAPH, stderr, exit_code=code)
    assert reason is not None
    assert words in reason


def test_a_dry_run_measures_nothing() -> None:
    assert "measured no run" in str(_judge(_sample("local-tf2.14.1-linux-x86_64-dryrun.txt"), _GRAPH))


def test_a_delegate_that_took_nothing() -> None:
    text = _sample("own-logcat-nnapi-idle.txt")
    for wanted in (None, "NNAPI"):
        reason = _judge(text, "/data/local/tmp/q.tflite", wanted=wanted)
        assert reason is not None
        assert '"will not be executed by the delegate" NNAPI' in reason


def test_a_delegate_that_failed() -> None:
    text = _sample("own-2.8-gpu-failed.txt")
    for code in (0, 1):
        reason = _judge(text, "/data/local/tmp/mobilekit/odd.tflite", exit_code=code, wanted="GPU")
        assert reason is not None
        assert 'says "Failed to apply GPU delegate" after "TfLiteGpuDelegate Init: MUL: Expected' in reason


def test_a_delegate_that_is_not_spoken_of() -> None:
    assert "does not say that GPU ran" in str(_judge(_sample(_BASIC), _GRAPH, wanted="GPU"))
    created = _sample(_NEW).replace("Replacing", "Looking at").replace("Explicitly applied", "Thought of")
    assert "does not say that XNNPACK ran" in str(_judge(created, _NEW_GRAPH, wanted="XNNPACK"))
    assert _judge(created, _NEW_GRAPH) is None


def test_xnnpack_that_came_unasked_may_be_idle() -> None:
    idle = "VERBOSE: Replacing 0 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 0 partitions.\n"
    assert _judge(idle + _sample(_BASIC), _GRAPH) is None
    assert "will not be executed" in str(_judge(idle + _sample(_BASIC), _GRAPH, wanted="XNNPACK"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Graph: [", "Graph [", "does not say which model"),
        ("avg=6098.36", "avg=6198.36", "contradict"),
        ("Warmup (avg): 612004", "Warmup (avg): 512004", "contradict"),
        ("max=7044", "max=6044", "contradict"),
        ("median=6041", "median=9041", "contradict"),
        ("curr=6033", "curr=33", "contradict"),
        ("avg=6098.36", "avg=nan", "contradict"),
        ("Inference (avg): 6098.36", "Inference (avg): nan", "contradict"),
        ("Inference timings in us", "Timings", 'no "Inference timings"'),
        ("count=50 ", "count:50 ", "printed no result"),
        ("count=1 curr", "count:1 curr", "result lines is 1, where"),
        ("count=", "count:", "printed no result"),
        ("count=50 first=6120 curr=6033", "count=50 first=6120", "contradict"),
    ],
)
def test_results_that_are_not_whole(old: str, new: str, words: str) -> None:
    assert words in str(_judge(_sample(_NEW).replace(old, new), _NEW_GRAPH))


def test_inferences_below_a_microsecond_do_not_contradict_themselves() -> None:
    text = _sample(_BASIC).replace("Inference (avg): 358266", "Inference (avg): 0.25")
    line = "count=10 first=1 curr=0 min=0 max=1 avg=0.25 std=0"
    assert _judge(re.sub(r"count=10 .*", line, text), _GRAPH) is None


def test_two_runs_are_not_one() -> None:
    two = _sample(_NEW) * 2
    assert "the text of 2 runs, not of one" in str(_judge(two, _NEW_GRAPH))
    assert "result lines is 4, where" in str(_judge(_sample(_NEW) + _sample(_NEW).replace("Graph: [", ""), _NEW_GRAPH))
    cut = _sample(_NEW)[: _sample(_NEW).index("count=50 ")]  # one that died before its result, and another
    whole = re.sub(r"INFO: count=.*\n", "", _sample(_NEW), count=1)
    assert "the text of 2 runs" in str(_judge(cut + whole, _NEW_GRAPH)), "they add up to two lines of results"


@pytest.mark.parametrize(
    ("code", "stderr", "words"),
    [
        (
            1,
            'error: "/data/local/tmp/benchmark_model": program alignment (4096) cannot be smaller than system page size'
            " (16384)\n",
            'page size (16384)"; the device has pages of 16 KB: take a newer build',
        ),
        (1, "error: only position independent executables (PIE) are supported.\n", "older than this Android"),
        (
            1,
            "taskset: failed to set pid 7's affinity: Invalid argument\n",
            "taskset could not pin benchmark_model to these cores (exit status 1), saying "
            '"taskset: failed to set pid 7\'s affinity: Invalid argument"; cores of this mask are off',
        ),
        (
            1,
            "taskset: can't set pid 0's affinity: Operation not permitted\n",
            "lets adb's shell choose no cores",
        ),
        (1, "/system/bin/sh: taskset: Operation not permitted\n", "lets adb's shell choose no cores"),
        (
            1,
            "WARNING: linker: benchmark_model: unused DT entry: type 0x6ffffffe (not found)\nerror: no such lib\n",
            'saying "error: no such lib"',
        ),
    ],
)
def test_the_words_of_linkers_and_taskset_are_given(code: int, stderr: str, words: str) -> None:
    reason = _judge("", "m.tflite", stderr, exit_code=code)
    assert reason is not None and words in reason, reason


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Init: ", "Init: -", "a time of -"),
        ("First inference: ", "First inference: -", "for the first inference"),
        ("overall=", "overall=-", "MB of memory (overall)"),
        ("init=", "init=-", "MB of memory (init)"),
        ("overall=", "overall=9999999", "MB of memory (overall)"),
        ("Replacing 88 out of 88", "Replacing 3 out of 2", "XNNPACK took 3 of 2 ops"),
        ("p5=5899 median=6041", "p5=6041 median=5899", "contradict each other"),
        (
            "count=1 curr=612004 ",
            "count=1 first=612004 curr=612004 min=612004 max=612005 avg=612004 std=0 ",
            "the warm-up that",
        ),
    ],
)
def test_figures_that_cannot_be_are_refused(old: str, new: str, words: str) -> None:
    text = _sample(_NEW)
    assert old in text, "the sample has it"
    assert words in str(_judge(text.replace(old, new), _NEW_GRAPH))


def test_a_deviation_below_zero_is_not_known() -> None:
    """The tool prints the least whole number for the root of what rounding has put below 0."""
    text = re.sub(r"std=\d+", "std=-9223372036854775808", _sample(_NEW))
    output = parse_output(text)
    assert output.measured is not None and output.measured.std is None
    assert _judge(text, _NEW_GRAPH) is None


@pytest.mark.parametrize(("name", "graph"), [(_BASIC, _GRAPH), (_NEW, _NEW_GRAPH)])
def test_a_run_that_breaks_off_never_counts(name: str, graph: str) -> None:
    """Even with status 0."""
    text = _sample(name)
    end = text.index("\n", text.index("Inference timings")) + 1
    for cut in range(end):
        assert _judge(text[:cut], graph) is not None, text[:cut][-60:]
    assert _judge(text[:end], graph) is None


@times(4)
@given(mutated([_sample(_BASIC), _sample(_NEW)]), st.integers(0, 255), st.sampled_from([None, "GPU"]))
def test_what_counts_has_figures_that_agree(text: str, code: int, wanted: str | None) -> None:
    output = parse_output(text)
    graph = output.graph or ""
    reason = rejection_reason(output, exit_code=code, graph=graph, wanted_delegate=wanted)
    if reason is not None:
        assert reason[0].isupper() or reason.startswith("benchmark_model")
        assert reason.endswith(".")
        assert "\n" not in reason
        return
    assert (code, wanted, output.failed, output.unconsumed) == (0, None, False, ())
    measured = output.measured
    assert measured is not None
    assert measured.count > 0
    assert output.summary is not None
    assert measured.mean == pytest.approx(output.summary.inference_us, rel=1.1e-5)


def test_a_tool_older_than_the_file_is_named_as_the_cause() -> None:
    errors = "ERROR: Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'. Are you using an old binary?\n"
    said = _judge("INFO: Graph: [/m.tflite]\n", "/m.tflite", errors, exit_code=1)
    assert said is not None
    assert "'FULLY_CONNECTED' version '12'" in said
    assert said.endswith("the tool is older than the file: take a newer benchmark_model.")


def test_a_gpu_that_takes_a_part_and_leaves_the_rest_to_xnnpack() -> None:
    lines = [
        "INFO: Replacing 294 out of 305 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 5 partitions.",
        "ERROR: Following operations are not supported by GPU delegate:\nUNPACK: Operation is not supported.",
        "INFO: Initialized OpenCL-based API.",
        "INFO: Replacing 11 out of 14 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 3 partitions.",
    ]
    text = "\n".join([*lines, _sample(_BASIC)])
    assert _judge(text, _GRAPH, wanted="GPU") is None
    gpu, xnnpack = parse_output(text).delegates
    assert (gpu.extent, gpu.replaced, gpu.total, gpu.partitions, gpu.interface) == ("partially", 294, 305, 5, "OpenCL")
    assert (xnnpack.replaced, xnnpack.total) == (11, 14)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("avg=6098.36", "avg=6098,36"),
        ("count=50 first=6120", "count=50 WARNING: something\nfirst=6120"),
        ("Inference (avg): 6098.36", "Inference (avg): 6098,36"),
    ],
)
def test_figures_that_are_torn_or_spelled_otherwise_are_refused(old: str, new: str) -> None:
    assert old in _sample(_NEW)
    assert _judge(_sample(_NEW).replace(old, new), _NEW_GRAPH) is not None
