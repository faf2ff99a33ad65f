"""What is read from the output of benchmark_model: real runs of 2.14.1, and other versions' formats."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple, fields, is_dataclass, replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.output import Memory, Output, Summary, Timing, parse_output
from mobilekit.bench.output_delegates import Delegate
from tests.conftest import ROOT
from tests.growth import QUADRATIC, growth
from tests.properties import times

DATA = ROOT / "tests/data/benchmark_model"
_RUNS = sorted(DATA.glob("*.txt"))


def read_sample(name: str) -> str:
    return (DATA / name).read_text()


def parse_sample(name: str) -> Output:
    return parse_output(read_sample(name))


def test_a_run_of_2_14() -> None:
    output = parse_sample("local-tf2.14.1-linux-x86_64-basic.txt")
    assert output == Output(
        graph="/data/local/tmp/ghostnetv2_224_ts_sim_float32.tflite",
        graphs=("/data/local/tmp/ghostnetv2_224_ts_sim_float32.tflite",),
        requested_runs=10,
        warmup=Timing(2, 350346, 332690, 332690, 350346, 341518, 8828),
        measured=Timing(10, 335273, 345956, 298216, 446703, 358266, 39214),
        result_lines=2,
        init_us=1012,
        first_inference_us=350346,
        summary=Summary(0, 1012, 350346, 341518, 358266),
        memory=Memory(6.69141, 38.4688, None),
        delegates=(),
        unconsumed=(),
        errors=(),
        failed=False,
        model_mb=24.5832,
    )


def test_the_clock_of_a_profile_is_not_taken_for_the_runs() -> None:
    output = parse_sample("local-tf2.14.1-linux-x86_64-op_profiling_stdout.txt")
    assert output.result_lines == 2
    assert output.measured is not None
    assert (output.measured.mean, output.measured.max) == (355329, 361784)


def test_a_dry_run_has_counts_of_zero_and_no_figures() -> None:
    output = parse_sample("local-tf2.14.1-linux-x86_64-dryrun.txt")
    assert output.warmup == output.measured == Timing(0)
    assert output.requested_runs == 0


def test_flags_that_the_tool_does_not_know() -> None:
    output = parse_sample("local-tf2.14.1-linux-x86_64-err-unknownflag.txt")
    assert output.unconsumed == ("--op_profiling_output_mode=csv", "--foo=1")
    assert output.measured == Timing(1, 474223, 474223, 474223, 474223, 474223)
    assert not output.failed
    assert output.errors == ()


@pytest.mark.parametrize(
    ("name", "errors"),
    [
        ("badflagvalue", ["Failed to parse flag 'num_runs' against argv '--num_runs=abc'", "usage: "]),
        ("invalid", ["The model is not a valid Flatbuffer buffer", "Failed to load model /data/local/tmp/bad.tflite"]),
        ("missing", ["Could not open '/nonexist.tflite'.", "The model allocation", "Failed to load model /nonexist"]),
        ("nograph", ["Please specify the name of your TF Lite input file with --graph"]),
        ("truncated", ["The model is not a valid Flatbuffer buffer", "Failed to load model /data/local/tmp/trunc"]),
    ],
)
def test_failures_give_the_tool_s_words_and_no_figures(name: str, errors: list[str]) -> None:
    text = read_sample(f"local-tf2.14.1-linux-x86_64-err-{name}.txt")
    stdout, stderr = text.split("[stderr]\n")
    for output in (parse_output(stdout, stderr), parse_output(text)):
        assert output.failed
        assert len(output.errors) == len(errors) + 1
        for said, begins in zip(output.errors, [*errors, "Benchmarking failed."], strict=True):
            assert said.startswith(begins)
        assert output.warmup is output.measured is output.summary is output.init_us is None


def test_2018_prints_means_alone_and_no_prefix() -> None:
    output = parse_sample("own-2018-float.txt")
    assert output.graph == "/data/local/tmp/small net.tflite"
    assert output.requested_runs == 20
    assert output.measured == Timing(24, 41930, 42018, 40112, 46655, 42004.5, 1388)
    assert output.summary == Summary(0, 2417, None, 42711.8, 42004.5)
    assert output.first_inference_us == 52301
    assert output.memory == Memory(None, None, None)
    assert output.errors == ()


def test_the_first_wording_of_the_means() -> None:
    output = parse_output("Average inference timings in us: Warmup: 91.5, Init: 38, Inference: 8.25e+01\n")
    assert output.summary == Summary(0, 38, None, 91.5, 82.5)


def test_a_gpu_that_takes_a_part() -> None:
    output = parse_sample("own-2.3-gpu-partly.txt")
    assert output.delegates == (Delegate("GPU", "partially", explicit=True, kernels=2, interface="OpenCL"),)
    assert output.warmup == Timing(1, 2718281, 2718281, 2718281, 2718281, 2718281)
    assert output.measured == Timing(8, 2650112, 2701944, 2610007, 2801553, 2690180, 52113)
    assert output.memory == Memory(201.316, 377.75, None)
    assert output.init_us == 1733050
    assert not output.failed


def test_xnnpack_that_a_build_adds_by_itself() -> None:
    output = parse_sample("own-2.9-xnnpack-inside.txt")
    assert output.delegates == (Delegate("XNNPACK", "partially", partitions=2, replaced=3, total=5),)
    assert output.memory == Memory(5.20312, 9.48047, 14.7305)
    assert output.measured is not None
    assert output.measured.count == 424


def test_percentiles() -> None:
    output = parse_sample("own-2.17-percentiles.txt")
    assert output.warmup is not None
    assert (output.warmup.mean, output.warmup.p5, output.warmup.p95) == (612004, 612004, 612004)
    assert output.measured == Timing(50, 6120, 6033, 5871, 7044, 6098.36, 201, 5899, 6041, 6688)
    assert output.delegates == (Delegate("XNNPACK", "completely", explicit=True, partitions=1, replaced=88, total=88),)


def test_litert_s_tool_rounds_to_hundredths_of_a_millisecond() -> None:
    output = parse_sample("own-litert-tool.txt")
    assert output.graph == "/data/local/tmp/fc.tflite"
    assert output.measured == Timing(1230, 803, 809, 786, 1120, 807.446, 19, 791, 804, 851)
    assert output.summary == Summary(5, 6020, 1830, 810, 810)
    assert (output.init_us, output.first_inference_us) == (6021, 1834)
    assert output.memory == Memory(4.5, 7.25, 11.88)
    assert output.errors == ()


def test_logcat() -> None:
    output = parse_sample("own-logcat-nnapi-idle.txt")
    assert output.graph == "/data/local/tmp/q.tflite"
    assert output.delegates == (Delegate("NNAPI", "not", explicit=True),)
    assert output.errors == ("NN API returned error ANEURALNETWORKS_BAD_DATA at line 77 while adding operation.",)
    assert output.measured == Timing(33, 30901, 31550, 30099, 34820, 31022.7, 880)
    assert output.memory == Memory(2.125, 6.34375, None)


_PREFIXES = [
    "INFO: ",
    "I/tflite  ( 4711): ",
    "03-09 18:40:11.037 I/tflite  ( 4711): ",
    "03-09 18:40:11.037 21401 21437 I tflite  : ",
    "2026-03-09 18:40:11.037  u0_a1 21401 21437 I tflite  : INFO: ",
    "I0309 18:40:11.037000    4711 tool.cc:12] ",
    "INFO: [litert/tool.cc:12] ",
    "> ",
    "device-1  | ",
    "\x1b[32mINFO: ",
    "2026-10-28 14:41:14.151361+0800 TFLiteBenchmark[3921:935759] ",
]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\x1b[0m\n"])
@pytest.mark.parametrize("prefix", _PREFIXES)
def test_prefixes_and_line_ends_change_nothing(prefix: str, end: str) -> None:
    plain = [line.removeprefix("INFO: ") for line in read_sample("own-2.17-percentiles.txt").splitlines()]
    expected = parse_sample("own-2.17-percentiles.txt")
    assert parse_output("".join(prefix + line + end for line in plain)) == expected


@pytest.mark.parametrize("prefix", ["ERROR: ", "E/tflite  ( 4711): ", "03-09 18:40:11.037  1  2 E tflite  : ", ""])
def test_errors_lose_their_prefix(prefix: str) -> None:
    output = parse_output(f"{prefix}Failed to load model /m\n{prefix}Benchmarking failed.\n")
    assert output.errors == ("Failed to load model /m", "Benchmarking failed.")


def test_shells_and_linkers_have_no_prefix_of_the_tool() -> None:
    words = [
        "/system/bin/sh: ./benchmark_model: not executable: 64-bit ELF file",
        'CANNOT LINK EXECUTABLE "./benchmark_model": library "libx.so" not found',
        "Segmentation fault (core dumped)",
    ]
    assert parse_output("INFO: STARTING!\n", "\n".join(words)).errors == tuple(words)


@pytest.mark.parametrize(
    ("line", "timing"),
    [
        ("count=0", Timing(0)),
        ("count=5 curr=7(all same)", Timing(5, 7, 7, 7, 7, 7)),
        ("count=5 curr=7(all same) p5=7 median=7 p95=7", Timing(5, 7, 7, 7, 7, 7, None, 7, 7, 7)),
        ("count=2 first=1 curr=2 min=1 max=2 avg=nan std=-nan", Timing(2, 1, 2, 1, 2)),
        ("count=2 first=1 curr=inf min=1 max=1e999 avg=1.5 std=0", Timing(2, 1, None, 1, None, 1.5, 0)),
        # Cut, and then another line: the last figure may be a part of one.
        ("count=50 first=120 curr=131 min=11", Timing(50, 120, 131)),
        ("count=50 curr=13", Timing(50, None, 13)),
        ("count=50 first=120 curr=131 min=110 max=140 avg=125.5 std=9 p5=11", Timing(50, 120, 131, 110, 140, 125.5, 9)),
    ],
)
def test_lines_of_statistics(line: str, timing: Timing) -> None:
    assert parse_output(f"count=0\n{line}\n").measured == timing


@pytest.mark.parametrize(
    "line",
    [
        "Timings (microseconds): count=5 first=1 curr=1 min=1 max=2 avg=1.5 std=1",
        "Memory (bytes): count=0",
        "INFO: count=3 first=1 curr=2 min=1 max=2 avg=1.5 std=1INFO: Loaded model m",
        "--count=5 curr=1",
        "recount=5 curr=1",
        "count=five curr=1",
        "count=5x curr=1",
        "count=12345678901234567890 curr=1",
    ],
)
def test_what_is_no_line_of_statistics(line: str) -> None:
    assert parse_output(line + "\n").result_lines == 0


def test_a_figure_at_the_very_end_may_be_cut() -> None:
    whole = "count=0\ncount=5 first=21 curr=22 min=20 max=25 avg=2.71985e+06 std=1"
    assert parse_output(whole).measured == Timing(5, 21, 22, 20, 25, 2719850)
    for end in range(whole.index("avg=") + 4, whole.index(" std")):
        assert parse_output(whole[: end + 1]).measured == Timing(5, 21, 22, 20, 25)
    assert parse_output("INFO: The input model file size (MB): 24.58").model_mb is None
    assert parse_output("Benchmarking failed.").failed


@pytest.mark.parametrize(
    "name", ["local-tf2.14.1-linux-x86_64-basic.txt", "own-2.17-percentiles.txt", "own-litert-tool.txt"]
)
def test_a_cut_text_never_tells_another_figure(name: str) -> None:
    text = read_sample(name).partition("benchmark_litert_model.h:120")[0]
    whole = parse_output(text)
    known = {name: set(_figures(getattr(whole, name))) for name in _names(whole)}
    for end in range(len(text)):
        cut = parse_output(text[:end])
        for name in _names(cut):
            assert set(_figures(getattr(cut, name))) <= known[name], (name, text[:end][-60:])


def _names(output: Output) -> list[str]:
    return [field.name for field in fields(output) if field.name not in ("result_lines", "errors", "failed", "graph")]


def test_an_excerpt_without_the_warm_up() -> None:
    line = "count=30 first=120 curr=118 min=110 max=140 avg=121.5 std=9"
    end = "Inference timings in us: Init: 7, First inference: 300, Warmup (avg): 180.25, Inference (avg): 121.5"
    output = parse_output(f"{line}\n{end}\n")
    assert output.warmup is None
    assert output.measured is not None
    assert output.measured.count == 30
    assert output.first_inference_us == 300
    alone = parse_output(f"{line}\n")  # nothing says which of the two it is
    assert alone.measured is None
    assert alone.warmup is not None


@pytest.mark.parametrize(
    ("lines", "delegate"),
    [
        (["Applied GPU delegate."], Delegate("GPU", "applied", True)),
        (
            ["Applied GPU delegate, and the model graph will be completely executed w/ the delegate."],
            Delegate("GPU", "completely", True),
        ),
        (["INFO: Created TensorFlow Lite XNNPACK delegate for CPU."], Delegate("XNNPACK", "created")),
        (
            ["Replacing 4 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 2 partitions."],
            Delegate("GPU", "applied", partitions=2, replaced=4),
        ),
        (
            [
                "Replacing 31 out of 31 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 1 partitions for "
                "the whole graph.",
                "Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.",
            ],
            Delegate("NNAPI", "not", True, partitions=1, replaced=31, total=31),
        ),
        (
            ["Replacing 0 out of 9 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 0 partitions."],
            Delegate("XNNPACK", "not", partitions=0, replaced=0, total=9),
        ),
        (
            [
                "Replacing 3 out of 5 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions for "
                "subgraph 0.",
                "Replacing 4 out of 4 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for "
                "subgraph 1.",
            ],
            Delegate("XNNPACK", "partially", partitions=2, replaced=3, total=5),
        ),
        (["EXTERNAL delegate created.", "Failed to apply EXTERNAL delegate."], Delegate("EXTERNAL", "failed", True)),
        (
            ["Replacing 5 out of 8 node(s) with delegate (DispatchDelegate) node, yielding 2 partitions."],
            Delegate("NPU", "partially", partitions=2, replaced=5, total=8),
        ),
        (
            ["Replacing 8 out of 8 node(s) with delegate (LITERT_CL) node, yielding 1 partitions for subgraph 0."],
            Delegate("GPU", "completely", partitions=1, replaced=8, total=8, interface="OpenCL"),
        ),
    ],
)
def test_delegates(lines: list[str], delegate: Delegate) -> None:
    assert parse_output("\n".join([*lines, ""])).delegates == (delegate,)


@pytest.mark.parametrize(
    ("lines", "interface"),
    [
        (["INFO: Initialized OpenCL-based API."], "OpenCL"),
        (["INFO: Initialized OpenCL-based API from serialized data."], "OpenCL"),
        (["ERROR: Falling back to OpenGL", "INFO: Initialized OpenGL-based API."], "OpenGL"),
        (["VERBOSE: Replacing 9 out of 9 node(s) with delegate (LITERT_CL) node, yielding 1 partitions."], "OpenCL"),
        (
            ["VERBOSE: Replacing 9 out of 9 node(s) with delegate (LITERT_OPENGL) node, yielding 1 partitions."],
            "OpenGL",
        ),
        (
            ["VERBOSE: Replacing 9 out of 9 node(s) with delegate (LITERT_VULKAN) node, yielding 1 partitions."],
            "Vulkan",
        ),
        (
            ["VERBOSE: Replacing 9 out of 9 node(s) with delegate (LITERT_WEBGPU) node, yielding 1 partitions."],
            "WebGPU",
        ),
        (["Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate."], None),
    ],
)
def test_the_interface_of_a_gpu(lines: list[str], interface: str | None) -> None:
    [delegate] = parse_output("\n".join([*lines, ""])).delegates
    assert (delegate.name, delegate.interface) == ("GPU", interface)


def test_several_delegates_keep_their_order() -> None:
    output = parse_output(
        "VERBOSE: Replacing 5 out of 64 node(s) with delegate (TfLiteNnapiDelegate) node, yielding 5 partitions.\n"
        "VERBOSE: Replacing 59 out of 62 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 5 partitions.\n"
    )
    assert [(d.name, d.extent, d.replaced, d.total) for d in output.delegates] == [
        ("NNAPI", "partially", 5, 64),
        ("XNNPACK", "partially", 59, 62),
    ]


def test_several_runs_in_one_text_give_the_first() -> None:
    text = read_sample("own-2.17-percentiles.txt")
    two = parse_output(text + read_sample("local-tf2.14.1-linux-x86_64-basic.txt"))
    assert two.result_lines == 4
    assert len(two.graphs) == 2
    assert replace(two, result_lines=2, graphs=two.graphs[:1]) == parse_output(text)


# What stands in the text, told apart in another way than the parser does.
def _words(text: str) -> set[float]:
    words = re.split(r"[^-+.0-9A-Za-z_]+", text)
    values = set()
    for word in words:
        number = re.sub(r"ms\.?$|\.$", "", word)
        if re.fullmatch(r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", number, re.ASCII) and len(number) < 300:
            values |= {float(number), float(Decimal(number) * 1000)}
    return values


def _figures(value: object) -> Iterator[float]:
    """Yield the figures in a value; those that say something of the parser itself are left out."""
    if is_dataclass(value) and not isinstance(value, type):
        left_out = ("resolution_us", "result_lines")
        value = tuple(getattr(value, field.name) for field in fields(value) if field.name not in left_out)
    if isinstance(value, tuple):
        for part in value:
            yield from _figures(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


_TEXTS = [path.read_text()[:3000] for path in _RUNS]


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """Draw a text of which parts are cut out, doubled, moved or overwritten."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(0, 4))):
        start, end = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
        end = min(end, start + draw(st.integers(0, 60)))
        put = draw(st.sampled_from([text[start:end] * 2, "", "\n", "=", "e+", ".", "nan", "9", "٣", "\0", "%", "\t"]))
        text = text[:start] + put + text[end:]
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@times(4)
@given(mutated(_TEXTS), st.booleans())
def test_no_figure_is_invented(text: str, as_stderr: bool) -> None:
    output = parse_output("", text) if as_stderr else parse_output(text)
    words = _words(text)
    for figure in _figures(output):
        assert figure in words


@given(st.text(), st.text())
def test_any_text_is_read(stdout: str, stderr: str) -> None:
    words = _words(f"{stdout}\n{stderr}")
    assert all(figure in words for figure in _figures(parse_output(stdout, stderr)))


@given(st.lists(st.integers(1, 10**8), min_size=2, max_size=30))
def test_what_the_tool_would_print_is_read_back(times: list[int]) -> None:
    """The line is written here as the tool's source has it: six digits for the mean, none for the deviation."""
    mean = sum(times) / len(times)
    body = f"first={times[0]} curr={times[-1]} min={min(times)} max={max(times)} avg={mean:g} std=3"
    timing = parse_output(f"INFO: count=0\n\nINFO: count={len(times)} {body}\n\n").measured
    assert timing is not None
    assert astuple(timing)[:5] == (len(times), times[0], times[-1], min(times), max(times))
    assert timing.mean == pytest.approx(mean, rel=5.1e-6)


@pytest.mark.parametrize(
    ("piece", "count"),
    [(" ", 50_000), ("count=1 ", 5_000), ("Explicitly applied ", 1_250), ("I ", 12_500), ("0", 50_000)],
)
def test_the_time_grows_with_the_length_alone(piece: str, count: int) -> None:
    assert growth(lambda filling: parse_output(f"{filling}\n{filling}"), piece, count) < QUADRATIC
