"""What is in a .pte file, read without ExecuTorch: its ends, the parts that delegates run, and the steps between."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mobilekit.artifacts.executorch.tables import (
    DTYPES,
    PROGRAM,
    XNN_GRAPH,
    XNN_HEADER,
    XNN_KINDS,
    Delegate,
    DelegateCall,
    KernelCall,
    Plan,
    Program,
    Tensor,
    Text,
    XNNGraph,
)
from mobilekit.artifacts.flat_tables import from_flatbuffer
from mobilekit.artifacts.runtime import TensorInfo
from mobilekit.errors import ToolError
from mobilekit.store.files import shown

READS = "1.5.1"
"""The version of ExecuTorch whose format this is."""
FACTS = "mobilekit"
"""The constant method in which a file of ours says what its inputs and outputs are called, as JSON."""
METHOD = "forward"
_DAMAGED = "If it was cut or changed since it was written, export it again."
_OTHER = "Its beginning is not that of a .pte file: give the .pte file, or this one the suffix of its own format."
_HEADER = b"eh00"  # behind the identifier: sizes of the tables and where the first segment begins
XNNPACK = "XnnpackBackend"
"""ExecuTorch's name of the backend."""


@dataclass(frozen=True)
class Part:
    """A part of the graph that a delegate runs."""

    backend: str
    ops: Mapping[str, int]
    """How many of each kind; nothing where only the backend knows."""


@dataclass(frozen=True)
class PTE:
    """A program's `forward`."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    steps: tuple[Part | str, ...]
    """In the order in which they run: what delegates run, and operators that ExecuTorch's own kernels run."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What a file of ours says of itself; nothing in others."""

    @property
    def parts(self) -> tuple[Part, ...]:
        """What delegates run."""
        return tuple(step for step in self.steps if isinstance(step, Part))

    @property
    def outside(self) -> tuple[str, ...]:
        """The operators that ExecuTorch's own kernels run, such as `cat`."""
        return tuple(step for step in self.steps if isinstance(step, str))

    @property
    def ops(self) -> dict[str, int]:
        """How many of each kind there are, inside and outside, the most frequent first."""
        counts = Counter(self.outside)
        for part in self.parts:
            counts.update(part.ops)
        return dict(counts.most_common())

    @property
    def precision(self) -> Literal["float32", "float16"]:
        """In which floats a file of ours computes; of others it is not read."""
        return "float16" if self.facts.get("precision") == "float16" else "float32"


def read_pte(path: Path) -> PTE:
    """Read a .pte file.

    Raises:
        ToolError: It cannot be read, is not whole, is of another version of ExecuTorch's, or has no `forward`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ToolError(f"{shown(path)} cannot be read: {error.strerror}.") from error
    _check_version(path, content)
    try:
        program, segments = _tables(content)
        plans = {plan.name: plan for plan in program.execution_plan}
        facts = _facts(plans.get(FACTS))
        plan = plans.get(METHOD)
        if plan is not None:
            return PTE(
                _ends(plan, plan.inputs, facts.get("inputs", ()), "input"),
                _ends(plan, plan.outputs, facts.get("outputs", ()), "output"),
                tuple(_steps(path, plan, program, segments)),
                facts,
            )
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise ToolError(f"{shown(path)} is not a whole .pte file.", _DAMAGED) from error
    raise ToolError(f"{shown(path)} has no method {METHOD}: {', '.join(plans) or 'none at all'}.")


def _check_version(path: Path, content: bytes) -> None:
    """Refuse what is no .pte file, and one of another version.

    Raises:
        ToolError: It is such a one.
    """
    identifier = content[4:8]
    if identifier == PROGRAM:
        return
    if re.fullmatch(rb"ET\d\d", identifier):
        raise ToolError(
            f"{shown(path)} is of ExecuTorch's format {identifier.decode()}, and ExecuTorch {READS} reads "
            f"{PROGRAM.decode()}.",
            f"Lower the model again with ExecuTorch {READS}, or run the file with the version that made it.",
        )
    raise ToolError(f"{shown(path)} is not a whole .pte file.", _OTHER if len(content) > 8 else _DAMAGED)


def _tables(content: bytes) -> tuple[Program, memoryview]:
    """Return the tables, and the bytes behind them, in which segments lie.

    Raises:
        ValueError: Something is missing.
    """
    if content[8:12] != _HEADER:
        return from_flatbuffer(Program, content), memoryview(b"")
    tables, base = (int.from_bytes(content[start : start + 8], "little") for start in (16, 24))
    program = from_flatbuffer(Program, content[:tables])
    if any(base + each.offset + each.size > len(content) for each in program.segments):
        raise ValueError("a segment is missing")
    return program, memoryview(content)[base:]


def _facts(plan: Plan | None) -> dict[str, Any]:
    """Return what a constant method says of the file."""
    value = plan.values[plan.outputs[0]].val if plan else None
    facts: dict[str, Any] = json.loads(value.string_val) if isinstance(value, Text) else {}
    return facts


def _ends(plan: Plan, numbers: tuple[int, ...], names: tuple[str, ...], word: str) -> tuple[TensorInfo, ...]:
    """Return inputs or outputs; those without names are numbered, but for the first input."""
    found = []
    for place, number in enumerate(numbers):
        tensor = plan.values[number].val
        if not isinstance(tensor, Tensor):
            raise ValueError("an input or output is no tensor")
        name = names[place] if place < len(names) else word if word == "input" and not place else f"{word}_{place}"
        found.append(TensorInfo(name, tuple(tensor.sizes), DTYPES.get(tensor.scalar_type, "other")))
    return tuple(found)


def _steps(path: Path, plan: Plan, program: Program, segments: memoryview) -> Iterator[Part | str]:
    for chain in plan.chains:
        for step in chain.instructions:
            if isinstance(step.instr_args, DelegateCall):
                delegate = plan.delegates[step.instr_args.delegate_index]
                yield Part(delegate.id, _ops_of(path, delegate, program, segments))
            elif isinstance(step.instr_args, KernelCall):
                yield plan.operators[step.instr_args.op_index].name.rpartition("::")[2]


def _ops_of(path: Path, delegate: Delegate, program: Program, segments: memoryview) -> Mapping[str, int]:
    """Return what XNNPACK runs of a part; nothing for other backends.

    Raises:
        ToolError: It is of another version.
    """
    if delegate.id != XNNPACK or delegate.processed is None:
        return {}
    if delegate.processed.location:
        segment = program.segments[delegate.processed.index]
        data = bytes(segments[segment.offset : segment.offset + segment.size])
    else:
        data = bytes(program.backend_delegate_data[delegate.processed.index].data)
    if data[4:8] == XNN_HEADER:
        start, size = (int.from_bytes(data[place : place + 4], "little") for place in (10, 14))
        data = data[start : start + size]
    if data[4:8] != XNN_GRAPH:
        if re.fullmatch(rb"X[NH]\d\d", data[4:8]):
            raise ToolError(
                f"A part of {shown(path)} is of XNNPACK's format {data[4:8].decode()}, and ExecuTorch {READS} reads "
                f"{XNN_GRAPH.decode()}.",
                f"Lower the model again with ExecuTorch {READS}, or run the file with the version that made it.",
            )
        raise ValueError("a part is damaged")
    kinds = (node.kind - 1 for node in from_flatbuffer(XNNGraph, data).xnodes)
    return dict(Counter(XNN_KINDS[kind] if kind < len(XNN_KINDS) else "other" for kind in kinds).most_common())
