"""The file of results that newer benchmark_models write, encoded here by hand."""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.connection import DeviceLost
from mobilekit.bench.engine import RunSettings
from mobilekit.bench.output import parse_output
from mobilekit.bench.result_file import ResultFile, parse_result_file, with_result_file
from mobilekit.bench.tool_engine import ToolEngine
from mobilekit.errors import DeviceError, ToolError
from tests.conftest import ROOT

DATA = ROOT / "tests/data/benchmark_model"
WITHOUT_MEDIAN = (DATA / "local-tf2.14.1-linux-x86_64-basic.txt").read_text()
GRAPH = "/data/local/tmp/ghostnetv2_224_ts_sim_float32.tflite"


def part(number: int, content: bytes) -> bytes:
    """Encode an embedded message (https://protobuf.dev/programming-guides/encoding)."""
    return bytes([number << 3 | 2, len(content)]) + content


def floats(**fields: float) -> bytes:
    """Encode floats by their numbers, `f1=2.5`."""
    return b"".join(bytes([int(name[1:]) << 3 | 5]) + struct.pack("<f", value) for name, value in fields.items())


def whole(*pairs: tuple[int, int]) -> bytes:
    return b"".join(bytes([number << 3, value]) for number, value in pairs)


# avg, min, max, stddev, median, p5, p95, init, first inference, average warm-up; in ms.
LATENCY = floats(
    f1=358.266, f2=298.216, f3=446.703, f4=39.2, f5=350.5, f6=298.216, f7=446.703, f8=1.0, f9=350.3, f10=341.5
)
FILE = part(2, LATENCY) + part(3, whole((1, 100), (2, 120)) + floats(f3=41.5)) + part(4, whole((2, 10), (3, 2)))


def test_what_it_has() -> None:
    result = parse_result_file(FILE)
    assert result.count == 10
    figures = (result.mean_us, result.median_us, result.p5_us, result.p95_us, result.peak_mb)
    assert figures == pytest.approx((358266, 350500, 298216, 446703, 41.5), rel=1e-6)
    assert parse_result_file(b"") == ResultFile(None, None, None, None, None, None)


@pytest.mark.parametrize(
    "data",
    [
        FILE[:-3],
        b"no protocol buffer",
        part(2, floats(f1=-1.0)),
        part(2, floats(f5=float("nan"))),
        part(3, floats(f3=float("inf"))),
    ],
)
def test_what_cannot_be(data: bytes) -> None:
    with pytest.raises(ToolError, match="benchmark_model wrote a file of results"):
        parse_result_file(data)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_result_file(data)
    except ToolError as error:
        assert error.hint


def test_it_adds_what_the_text_lacks() -> None:
    output = parse_output(WITHOUT_MEDIAN)
    assert output.measured is not None and output.measured.median is None
    more = with_result_file(output, parse_result_file(FILE))
    assert more.measured is not None
    assert (more.measured.median, more.memory.peak_mb) == pytest.approx((350500, 41.5))
    assert replace(more, measured=output.measured, memory=output.memory) == output
    said = parse_output((DATA / "own-2.17-percentiles.txt").read_text())
    assert said.measured is not None and said.measured.mean is not None
    own = ResultFile(said.measured.count, said.measured.mean, 1.0, 1.0, 1.0, None)
    assert with_result_file(said, own) == said, "what was printed stays"


@pytest.mark.parametrize("other", [part(4, whole((2, 11))), part(2, floats(f1=358.3))])
def test_the_file_of_another_run_is_refused(other: bytes) -> None:
    with pytest.raises(ToolError, match="contradict each other"):
        with_result_file(parse_output(WITHOUT_MEDIAN), parse_result_file(FILE + other))


class Phone(Workspace):
    """A device with a tool that writes a file of results where it is told to."""

    def __init__(self, content: bytes | DeviceError, knows: bool = True) -> None:
        self.content = content
        self.usage = f"Flags:\n\t--graph=\tstring\n{'	--result_file_path=	string' if knows else ''}\n"
        self.files: list[str] = []

    def install(self, file: Path, executable: bool = False) -> str:
        return GRAPH

    def run(self, arguments: object, *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        words = " ".join(map(str, arguments))  # type: ignore[call-overload]
        if "--help" in words:
            return Finished(1, "", self.usage)
        self.files += re.findall(r"--result_file_path=(\S+)", words)
        return Finished(0, WITHOUT_MEDIAN, "")

    def read(self, path: str) -> bytes:
        assert path == self.files[-1]
        if isinstance(self.content, DeviceError):
            raise self.content
        return self.content


def test_a_tool_that_writes_one_gives_the_median() -> None:
    phone = Phone(FILE)
    engine = ToolEngine(phone, "tool", "here", None)
    runs = [engine.run(Path("m.tflite"), RunSettings()) for _ in range(2)]
    assert [run.statistic for run in runs] == ["median", "median"]
    assert runs[0].latency_ms == pytest.approx(350.5)
    assert len(set(phone.files)) == 2, "each run has a file of its own, so that none is read twice"
    other = ToolEngine(Phone(FILE, knows=False), "tool", "here", None).run(Path("m.tflite"), RunSettings())
    assert (other.statistic, other.latency_ms) == ("mean", pytest.approx(358.266))


def test_a_tool_that_did_not_write_it() -> None:
    run = ToolEngine(Phone(DeviceError("no such file")), "tool", "here", None).run(Path("m.tflite"), RunSettings())
    assert (run.statistic, run.why_not) == ("mean", None)
    refused = ToolEngine(Phone(b"\xff"), "tool", "here", None).run(Path("m.tflite"), RunSettings())
    assert refused.latency_ms is None and "cannot be read" in str(refused.why_not)
    with pytest.raises(DeviceLost):
        ToolEngine(Phone(DeviceLost("gone")), "tool", "here", None).run(Path("m.tflite"), RunSettings())
