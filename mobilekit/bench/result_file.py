"""The file that benchmark_model writes with `--result_file_path`, since 2025: its results as a protocol buffer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mobilekit.bench.output import Output, agrees
from mobilekit.errors import ToolError

# The messages of tensorflow/lite/tools/benchmark/proto/benchmark_result.proto: fields by number. Figures are float32.
_LATENCY = ("avg_ms", "min_ms", "max_ms", "stddev_ms", "median_ms", "p5_ms", "p95_ms", "init_ms", "first_inference_ms")
_MEMORY = ("init_footprint_kb", "overall_footprint_kb", "peak_mem_mb")
_MISC = ("model_size_mb", "num_runs", "num_warmup_runs", "model_throughput_in_mb_per_sec")
_WHOLE = {"init_footprint_kb": "TYPE_INT64", "overall_footprint_kb": "TYPE_INT64"} | dict.fromkeys(
    ("num_runs", "num_warmup_runs"), "TYPE_INT32"
)
_PARTS = {"LatencyMetrics": (2, _LATENCY), "MemoryMetrics": (3, _MEMORY), "MiscMetrics": (4, _MISC)}
_PACKAGE = "tflite.tools.benchmark"


@dataclass(frozen=True)
class ResultFile:
    """What of the file is used. Times in microseconds, memory in MB of 2**20 bytes; None: it does not say."""

    count: int | None
    mean_us: float | None
    median_us: float | None
    p5_us: float | None
    p95_us: float | None
    peak_mb: float | None


def parse_result_file(data: bytes) -> ResultFile:
    """Read the file.

    Raises:
        ToolError: The bytes are not such a file, or hold figures that no run can have.
    """
    from google.protobuf.message import DecodeError

    message = _message_class()()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ToolError("benchmark_model wrote a file of results that cannot be read.", "Run it again.") from error
    latency, memory, misc = (getattr(message, name) for name in _PARTS)
    times = [_given(latency, f"{name}_ms") for name in ("avg", "median", "p5", "p95")]
    peak = _given(memory, "peak_mem_mb")
    if any(figure is not None and not (math.isfinite(figure) and figure >= 0) for figure in (*times, peak)):
        raise ToolError("benchmark_model wrote a file of results with figures that cannot be.", "Run it again.")
    count = misc.num_runs if misc.HasField("num_runs") else None
    mean, median, p5, p95 = (None if ms is None else ms * 1000 for ms in times)
    return ResultFile(count, mean, median, p5, p95, peak)


def with_result_file(output: Output, file: ResultFile) -> Output:
    """Return the output with the figures that its version of the tool does not print, and the file has.

    Raises:
        ToolError: The file is of another run: its mean or its count is not the one that was printed.
    """
    measured = output.measured
    assert measured is not None  # of an output that was not refused
    same_mean = file.mean_us is None or agrees(measured.mean, file.mean_us, 0)
    if not same_mean or file.count not in (None, measured.count):
        raise ToolError("What benchmark_model printed and the file of results that it wrote contradict each other.")
    if measured.median is None:
        measured = replace(measured, p5=file.p5_us, median=file.median_us, p95=file.p95_us)
    peak = output.memory.peak_mb if output.memory.peak_mb is not None else file.peak_mb
    return replace(output, measured=measured, memory=replace(output.memory, peak_mb=peak))


def _given(message: Any, name: str) -> float | None:
    return float(getattr(message, name)) if message.HasField(name) else None


@cache
def _message_class() -> type[Any]:
    """Return the class of the whole message, made from the tables above."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="benchmark_result.proto", package=_PACKAGE, syntax="proto2")
    whole = file.message_type.add(name="BenchmarkResult")
    for name, (number, fields) in _PARTS.items():
        part = file.message_type.add(name=name)
        for place, field in enumerate(fields, 1):
            part.field.add(name=field, number=place, label="LABEL_OPTIONAL", type=_WHOLE.get(field, "TYPE_FLOAT"))
        type_name = f".{_PACKAGE}.{name}"
        whole.field.add(name=name, number=number, label="LABEL_OPTIONAL", type="TYPE_MESSAGE", type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.BenchmarkResult"))
    return message
