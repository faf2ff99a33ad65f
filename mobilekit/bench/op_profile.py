"""The time of each op, as benchmark_model profiles it: its tables, its CSV, its protocol buffer.

Tables come in sections. The initialization's come first; of each section only the rows in run order are read, as
the others repeat them. Under "Delegate internal:" (2.9 to about 2.14) stand the ops inside a delegate, whose
times are also in the delegate's own row among the ops of the run: adding both counts them twice. Later versions
put such ops, named "Delegate/...", in the place of the delegate's row.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from mobilekit.bench.output_lines import read_count, read_figure, read_milliseconds, split_lines, strip_prefix
from mobilekit.errors import ToolError

Section = Literal["init", "run", "inside"]

_SCHEMA = "ai_edge_litert.profiling_info_pb2"
_MESSAGE = "tflite.profiling.BenchmarkProfilingData"
_NAME = re.compile(r"\[(.*)\](?::([0-9]{1,9}))?")
_SUBGRAPH = re.compile(r"Subgraph \(index: ([0-9]{1,9})\b")


@dataclass(frozen=True)
class ProfileRow:
    """One row of a profile."""

    type: str
    """CONV_2D; inside a delegate its own words, as `Convolution (NHWC, F32) GEMM`."""
    name: str
    """The names of its outputs, without the brackets around them."""
    node: int | None
    """Its place in the graph. None in old versions, and for what is no node of the graph."""
    mean_us: float
    """Of one call; the tool prints three decimals of a millisecond."""
    percent: float | None
    """Of the whole section: all calls of a run."""
    memory_kb: float | None
    times_called: int | None
    """In a run, rounded down: 0 for what is called less than once."""
    section: Section
    """`inside`: inside a delegate, and counted a second time there."""
    subgraph: int = 0
    """Not 0: a subgraph's, whose time is also in the op that calls it."""


@dataclass(frozen=True)
class OpProfile:
    """All rows, in the order in which they ran."""

    ops: tuple[ProfileRow, ...]

    def of(self, section: Section) -> tuple[ProfileRow, ...]:
        """Return the rows of one section."""
        return tuple(op for op in self.ops if op.section == section)

    @property
    def is_possible(self) -> bool:
        """Whether no time is below 0."""
        return all(op.mean_us >= 0 for op in self.ops)

    @property
    def run(self) -> tuple[ProfileRow, ...]:
        """The ops of the graph itself: together the time of a run."""
        return tuple(op for op in self.of("run") if op.subgraph == 0)


@dataclass(frozen=True)
class _Columns:
    """How the rows of a table are to be read."""

    separator: str | None
    """A comma, or None for white space."""
    before_percent: int
    """Figures before the two of percent: perhaps the start, the first call, the mean."""


def parse_op_profile(text: str) -> OpProfile:
    """Read the tables in benchmark_model's output, or its CSV file; never raises.

    A row of which the end is missing is left out.
    """
    return OpProfile(tuple(_read_rows(split_lines(text)[:-1])))


def _read_rows(lines: Sequence[str]) -> Iterator[ProfileRow]:
    section: Section = "run"
    subgraph, in_run_order, columns = 0, True, None
    initial = False
    for line in lines:
        words = strip_prefix(line)[1].strip()
        if "Profiling Info for" in words:
            initial = "Initialization" in words
            section, subgraph, columns = "init" if initial else "run", 0, None
        elif words == "Delegate internal:":
            section, subgraph, columns = "inside", 0, None
        elif words.endswith(") profile:") and (match := _SUBGRAPH.search(words)):
            subgraph, columns = int(match[1]), None
        elif words.startswith("====="):
            in_run_order, columns = "Run Order" in words, None
        elif "node type" in words:
            columns = _columns(words) if in_run_order else None
        elif not words:
            columns = None
        elif columns and not (initial and section == "inside"):
            yield from _read_row(words, columns, section, subgraph)


def _columns(header: str) -> _Columns:
    separator = "," if "," in header else None
    return _Columns(separator, 3 if "start" in header else 2)


def _read_row(line: str, columns: _Columns, section: Section, subgraph: int) -> Iterator[ProfileRow]:
    """Yield the op of a row, unless it is none.

    Types hold commas and blanks, so the columns are counted from the two that are percentages.
    """
    words = [word.strip() for word in line.split(columns.separator)]
    pairs = pairwise(words)
    percent = next((i for i, pair in enumerate(pairs) if all(word.endswith("%") for word in pair)), 0)
    kind = percent - columns.before_percent
    if kind < 1 or len(words) < percent + 4:
        return
    mean = read_milliseconds(words[percent - 1])
    called = read_count(words[percent + 3])
    if mean is None or called is None or not any(words[:kind]):
        return
    # Split again, so that the name, which comes last, keeps its own separators.
    rest = line.split(columns.separator, percent + 4)[percent + 4 :]
    name, node = _read_name(rest[0] if rest else "")
    yield ProfileRow(
        type=(", " if columns.separator else " ").join(words[:kind]),
        name=name,
        node=node,
        mean_us=mean,
        percent=read_figure(words[percent].removesuffix("%")),
        memory_kb=read_figure(words[percent + 2]),
        times_called=called,
        section=section,
        subgraph=subgraph,
    )


def _read_name(text: str) -> tuple[str, int | None]:
    """Return the names in brackets and the node's number; CSV has tabs where the names have commas."""
    text = text.strip().replace("\t", ",")
    match = _NAME.fullmatch(text)
    return (match[1], read_count(match[2])) if match else (text, None)


def parse_op_profile_proto(data: bytes) -> OpProfile:
    """Read the file that benchmark_model writes with `--op_profiling_output_mode=proto`.

    It has no percentages.

    Raises:
        ToolError: The bytes are not such a file.
    """
    from google.protobuf.message import DecodeError

    profile = _message_class()()
    try:
        profile.ParseFromString(data)
    except DecodeError as error:
        raise ToolError("This is not an op profile of benchmark_model.", "Run the profile again.") from error
    return OpProfile(tuple(_read_messages(profile)))


def _read_messages(profile: Any) -> Iterator[ProfileRow]:
    sections: list[tuple[Section, Any]] = [("init", profile.init_profile), ("run", profile.runtime_profile)]
    for section, part in sections:
        for graph in part.subgraph_profiles:
            for op in _in_order(graph):
                yield _read_message(op, section, graph.subgraph_index)
    for delegate in profile.runtime_profile.delegate_profiles:
        for op in _in_order(delegate):
            yield _read_message(op, "inside", 0)


def _in_order(part: Any) -> list[Any]:
    return sorted(part.per_op_profiles, key=lambda op: int(op.run_order))


def _read_message(op: Any, section: Section, subgraph: int) -> ProfileRow:
    name, node = _read_name(op.name)
    return ProfileRow(
        type=op.node_type,
        name=name,
        node=node,
        mean_us=float(op.inference_microseconds.avg),
        percent=None,
        memory_kb=float(op.mem_kb.avg) if op.HasField("mem_kb") else None,
        times_called=op.times_called,
        section=section,
        subgraph=subgraph,
    )


def _message_class() -> type[Any]:
    """Return the message's class, made from the schema that ai-edge-litert carries.

    Its module cannot be imported: it demands a newer protobuf than onnx2tf allows. The schema in it, a string of
    bytes, goes with either.
    """
    from google.protobuf import descriptor_pool, message_factory

    spec = find_spec(_SCHEMA)
    if spec is None or spec.origin is None:
        raise ToolError("This ai-edge-litert has no schema of op profiles.", "Take the profile as CSV or from stdout.")
    schema = next(
        node.args[0].value
        for node in ast.walk(ast.parse(Path(spec.origin).read_bytes()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "AddSerializedFile"
        if isinstance(node.args[0], ast.Constant)
    )
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(schema)
    message: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(_MESSAGE))
    return message
