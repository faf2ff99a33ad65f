"""What is read from op profiles: real ones of 2.14.1 as tables and CSV, other versions' tables, protocol buffers."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.op_profile import OpProfile, ProfileRow, parse_op_profile, parse_op_profile_proto
from mobilekit.errors import ToolError
from tests.bench.test_output import mutated
from tests.conftest import ROOT
from tests.growth import QUADRATIC, growth
from tests.properties import times

DATA = ROOT / "tests/data/benchmark_model"
_TABLES = "local-tf2.14.1-linux-x86_64-op_profiling_stdout.txt"
_CSV = "local-tf2.14.1-linux-x86_64-profiling_output.csv"


def parse_sample(name: str) -> OpProfile:
    return parse_op_profile((DATA / name).read_text())


@pytest.mark.parametrize(("name", "us"), [(_TABLES, 351207), (_CSV, 495737)])
def test_the_ops_add_up_to_what_the_tool_observed(name: str, us: float) -> None:
    """Its own totals: "273 nodes observed", and the mean at the end of the profile."""
    profile = parse_sample(name)
    assert len(profile.run) == 273
    assert [op.node for op in profile.run] == list(range(273))
    assert sum(op.mean_us for op in profile.run) == pytest.approx(us, abs=273 * 0.5)
    assert sum(op.percent or 0 for op in profile.run) == pytest.approx(100, abs=0.05)
    assert profile.of("inside") == ()
    assert [(op.type, op.memory_kb, op.node) for op in profile.of("init")] == [("AllocateTensors", 384, None)]


@pytest.mark.parametrize("name", [_TABLES, _CSV])
def test_types_add_up_to_the_tool_s_summary(name: str) -> None:
    text = (DATA / name).read_text().rpartition("Summary by node type")[2]
    summary = {line.split()[0].strip(","): int(re.split(r"[,\s]+", line.strip())[1]) for line in _summary_rows(text)}
    ops = sorted(op.type for op in parse_sample(name).run)
    assert {kind: len(list(group)) for kind, group in groupby(ops)} == summary


def _summary_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r"\s*[A-Z0-9_]+,?\s+[0-9]+[,\s]", line)]


def test_rows_that_cannot_be() -> None:
    text = (DATA / _TABLES).read_text()
    row = next(line for line in text.splitlines() if "CONV_2D" in line)
    kind, first, mean, *rest = row.strip().split("\t")
    below = text.replace(row, "\t".join(["\t", kind, first, f"-{mean.strip()}", *rest]))
    assert parse_op_profile(text).is_possible and not parse_op_profile(below).is_possible
    nameless = text.replace(row, row.replace("CONV_2D", "       ", 1))
    assert len(parse_op_profile(nameless).ops) == len(parse_op_profile(text).ops) - 1, "a row without a type is none"


def test_a_row_of_each_form() -> None:
    tables, csv = parse_sample(_TABLES).run, parse_sample(_CSV).run
    parts = ["tf.nn.relu/Relu", "tf.math.add/Add", "tf.nn.convolution/convolution", "tf.math.add/Add/y"]
    name = ";".join(f"model_1/{part}" for part in parts)
    assert tables[1] == ProfileRow("CONV_2D", name, 1, 9587, 2.73, 0, 1, "run")
    assert csv[1] == ProfileRow("CONV_2D", name, 1, 16488.4, 3.32604, 0, 1, "run")
    assert [(op.type, op.name, op.node) for op in tables] == [(op.type, op.name, op.node) for op in csv]


def test_2018_has_starts_and_no_numbers() -> None:
    assert parse_sample("own-2018-float.txt").ops == (
        ProfileRow("CONV_2D", "net/stem/Relu6", None, 20118, 47.901, 0, 1, "run"),
        ProfileRow("SPLIT", "net/split, net/split:1, net/split:2", None, 29, 0.069, 0, 1, "run"),
        ProfileRow("FULLY_CONNECTED", "net/logits/BiasAdd", None, 21851, 52.03, 0, 1, "run"),
    )


def test_starts_beside_numbers() -> None:
    profile = parse_sample("own-2.3-gpu-partly.txt")
    assert profile.of("init") == (
        ProfileRow("ModifyGraphWithDelegate", "ModifyGraphWithDelegate/0", None, 1731204, 99.998, 61440, 1, "init"),
        ProfileRow("AllocateTensors", "AllocateTensors/0", None, 17, 0.002, 0, 2, "init"),
    )
    assert profile.run == (
        ProfileRow("TfLiteGpuDelegateV2", "body/add_3", 9, 1541907, 57.316, 0, 1, "run"),
        ProfileRow("RESIZE_NEAREST_NEIGHBOR", "body/up", 4, 10950, 0.407, 0, 1, "run"),
        ProfileRow("TfLiteGpuDelegateV2", "Identity, Identity_1", 10, 1137311, 42.277, 0, 1, "run"),
    )


def test_what_is_counted_twice_is_kept_apart() -> None:
    profile = parse_sample("own-2.9-xnnpack-inside.txt")
    assert [(op.type, op.mean_us) for op in profile.run] == [
        ("TfLiteXNNPackDelegate", 1411),
        ("WHILE", 871),
        ("SOFTMAX", 50),
    ]
    assert profile.of("inside") == (
        ProfileRow(
            "Convolution (NHWC, F32) IGEMM",
            "Delegate/Convolution (NHWC, F32) IGEMM:0",
            None,
            1187,
            84.185,
            0,
            1,
            "inside",
        ),
        ProfileRow("HardSwish (NC)", "Delegate/HardSwish (NC):1", None, 223, 15.815, 0, 1, "inside"),
    )
    assert [(op.type, op.node, op.times_called) for op in profile.ops if op.subgraph == 1] == [
        ("ADD", 0, 4),
        ("MUL", 1, 4),
    ]
    assert [op.type for op in profile.of("init")] == ["ModifyGraphWithDelegate", "AllocateTensors"]


def test_litert_s_tool_has_no_initialization() -> None:
    assert [(op.type, op.mean_us, op.times_called, op.section) for op in parse_sample("own-litert-tool.txt").ops] == [
        ("LiteRT::Run[buffer registration]", 21, 1, "run"),
        ("AllocateTensors", 300, 0, "run"),
        ("Fully Connected (NC, F32) GEMM", 786, 1, "run"),
    ]


def test_csv_is_not_quoted() -> None:
    profile = parse_sample("own-delegate-ops.csv")
    assert profile.of("init") == (ProfileRow("AllocateTensors", "AllocateTensors/0", None, 410, 100, 96, 1, "init"),)
    assert profile.run == (
        ProfileRow("QUANTIZE", "tfl.quantize", 0, 198.5, 21.1, 0, 1, "run"),
        ProfileRow(
            "Convolution (NHWC, QC8) IGEMM",
            "Delegate/Convolution (NHWC, QC8) IGEMM:0",
            None,
            31.2,
            43.2,
            0,
            13,
            "run",
        ),
        ProfileRow("TFLite_Detection_PostProcess", "out:3, out:2, out", 66, 335, 35.7, 0, 1, "run"),
    )


def test_csv_without_sections_or_blanks() -> None:
    text = (
        "node type,first,avg_ms,%,cdf%,mem KB,times called,name\nSum (ND) Reduce,0.1,0.2,100%,100%,0,1,Delegate/S:3\n"
    )
    assert parse_op_profile(text).ops == (ProfileRow("Sum (ND) Reduce", "Delegate/S:3", None, 200, 100, 0, 1, "run"),)


@pytest.mark.parametrize("prefix", ["", "I/tflite  ( 4711): ", "03-09 18:40:11.037 21401 21437 I tflite  : "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_prefixes_and_expanded_tabs_change_nothing(prefix: str, end: str) -> None:
    for name in ("own-2.3-gpu-partly.txt", "own-2.9-xnnpack-inside.txt"):
        expected = parse_sample(name)
        text = (DATA / name).read_text()
        for lines in (text.split("\n"), text.expandtabs(12).split("\n")):
            assert parse_op_profile(end.join(prefix + line for line in lines)) == expected


@pytest.mark.parametrize("name", [_CSV, "own-2.9-xnnpack-inside.txt", "own-2018-float.txt"])
def test_a_cut_profile_has_fewer_rows_and_no_others(name: str) -> None:
    text = (DATA / name).read_text()[:4000]
    whole = parse_op_profile(text + "\n").ops
    for end in range(0, len(text), 3):
        ops = parse_op_profile(text[:end]).ops
        assert ops == whole[: len(ops)]


@pytest.mark.parametrize(
    "row",
    [
        "\tCONV_2D\t0.1\tnan\t1.0%\t1.0%\t0.0\t1\t[a]:0",
        "\tCONV_2D\t0.1\t1e999\t1.0%\t1.0%\t0.0\t1\t[a]:0",
        "\tCONV_2D\t0.1\t1e308\t1.0%\t1.0%\t0.0\t1\t[a]:0",
        "\tCONV_2D\t0.1\t0.2\t1.0%\t1.0%\t0.0",
        "\tCONV_2D\t0.1\t0.2\t1.0%\t1.0%\t0.0\tfew\t[a]:0",
        "\t0.1\t0.2\t1.0%\t1.0%\t0.0\t1\t[a]:0",
        "INFO: Loaded model x",
    ],
)
def test_what_is_no_row_is_left_out(row: str) -> None:
    header = "\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]"
    good = "\tADD\t0.1\t0.25\t-nan%\t-nan%\t0.0\t1\t[a]:7"
    assert parse_op_profile(f"{header}\n{row}\n{good}\n").ops == (ProfileRow("ADD", "a", 7, 250, None, 0, 1, "run"),)


def _words(text: str) -> set[float]:
    """Return the numbers that stand in a text, told apart in another way than the parser does; also as µs."""
    numbers = re.findall(r"[-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?", text)
    short = [number for number in numbers if len(number) < 300 and abs(Decimal(number).adjusted()) < 400]
    return {float(number) for number in short} | {float(Decimal(number) * 1000) for number in short}


_TEXTS = [(DATA / name).read_text()[-6000:] for name in (_TABLES, _CSV)] + [
    path.read_text() for path in sorted(DATA.glob("own-*"))
]


@times(4)
@given(mutated(_TEXTS))
def test_no_figure_is_invented(text: str) -> None:
    words = _words(text)
    for op in parse_op_profile(text).ops:
        for figure in (op.node, op.mean_us, op.percent, op.memory_kb, op.times_called):
            assert figure is None or figure in words


@given(st.text(), st.sampled_from(["[node type] [times called]\n", "node type,times called\n"]))
def test_any_text_is_read(text: str, header: str) -> None:
    parse_op_profile(header + text)


@pytest.mark.parametrize(
    ("piece", "count"),
    [(" ", 50_000), ("1% ", 12_500), ("[", 50_000), ("Subgraph (index: 1 ", 1_250), ("1,%,", 12_500)],
)
def test_the_time_grows_with_the_length_alone(piece: str, count: int) -> None:
    def read(filling: str) -> None:
        parse_op_profile(f"[node type]\n{filling}\nnode type,\n{filling}\n\n")

    assert growth(read, piece, count) < QUADRATIC


# The wire format of protocol buffers, written out: https://protobuf.dev/programming-guides/encoding
def _varint(value: int) -> bytes:
    low, rest = value & 127, value >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _op(kind: str, name: str, order: int, avg_us: int, called: int = 1) -> bytes:
    stat = _field(1, avg_us + 5) + _field(3, avg_us) + _field(9, 50)
    memory = _field(3, 12)
    figures = _field(2, stat) + _field(3, memory) + _field(4, called)
    return _field(1, kind) + figures + _field(5, name) + _field(6, order)


def test_protocol_buffers() -> None:
    primary = _field(1, "main") + _field(3, _op("SOFTMAX", "[out]:2", 2, 40)) + _field(3, _op("PAD", "[a, b]:0", 1, 7))
    body = _field(1, "body") + _field(2, 1) + _field(3, _op("ADD", "[x]:0", 1, 3, called=4))
    delegate = _field(1, "XNNPACK") + _field(2, _op("HardSwish (NC)", "Delegate/HardSwish (NC):0", 1, 6))
    init = _field(1, _field(3, _op("AllocateTensors", "AllocateTensors/0", 1, 99)))
    run = _field(1, primary) + _field(1, body) + _field(2, delegate)
    profile = parse_op_profile_proto(_field(1, "m") + _field(2, init) + _field(3, run))
    assert profile.ops == (
        ProfileRow("AllocateTensors", "AllocateTensors/0", None, 99, None, 12, 1, "init"),
        ProfileRow("PAD", "a, b", 0, 7, None, 12, 1, "run"),
        ProfileRow("SOFTMAX", "out", 2, 40, None, 12, 1, "run"),
        replace(ProfileRow("ADD", "x", 0, 3, None, 12, 4, "run"), subgraph=1),
        ProfileRow("HardSwish (NC)", "Delegate/HardSwish (NC):0", None, 6, None, 12, 1, "inside"),
    )
    assert [op.type for op in profile.run] == ["PAD", "SOFTMAX"]


def test_other_bytes_are_no_profile() -> None:
    for data in (b"\x0a\xff", b"INFO: STARTING!\n", b"\x1a\x05abc"):
        with pytest.raises(ToolError, match="not an op profile"):
            parse_op_profile_proto(data)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ToolError):
        assert isinstance(parse_op_profile_proto(data), OpProfile)
