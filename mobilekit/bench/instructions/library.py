"""LiteRT's library for ARM: which function an address belongs to, and where the plugin is to stop."""

from __future__ import annotations

import re
import struct
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mobilekit.errors import ToolError

_OPERATOR = "xnn_run_operator_with_index"  # XNNPACK runs one operator of a partition
_NODES = "_ZN6tflite8Subgraph10InvokeImplEv"  # runs one op of the graph, or a partition, after another
_FUNCTION, _EXECUTABLE, _LOADED, _SYMBOLS = 2, 1, 1, 2  # STT_FUNC, PF_X, PT_LOAD, SHT_SYMTAB
StopKind = Literal["operator", "after operator", "node"]


@dataclass(frozen=True)
class Library:
    """The functions of an ELF file for aarch64, and the addresses at which a segment ends."""

    starts: list[int]
    ends: list[int]
    names: list[str]
    operator: int
    """Where XNNPACK's function for one operator begins."""
    operator_ends: tuple[int, ...]
    """Where control comes back from it."""
    node_ends: tuple[int, ...]
    """Where control comes back from an op of the graph or a partition."""

    @property
    def stops(self) -> tuple[int, ...]:
        """Where a segment is to end and the next to begin."""
        return (self.operator, *self.operator_ends, *self.node_ends)

    def kind_of_stop(self, number: int) -> StopKind:
        """Return what begins at a stop; -1 is the beginning of an inference."""
        if number == 0:
            return "operator"
        return "after operator" if 1 <= number <= len(self.operator_ends) else "node"

    def function_at(self, offset: int) -> str | None:
        """Return the function's name at an offset from where the library was loaded, None where there is none."""
        place = bisect_right(self.starts, offset) - 1
        return self.names[place] if place >= 0 and offset < self.ends[place] else None


def read_library(path: Path) -> Library:
    """Read the functions of LiteRT's library.

    Source of the layout: Tool Interface Standard, Executable and Linking Format.

    Raises:
        ToolError: The library has no names of its functions, so that nothing can be counted by operator.
    """
    data = path.read_bytes()
    functions = sorted(_functions(data))
    known = {name: (start, end) for start, end, name in functions}
    if _OPERATOR not in known or _NODES not in known:
        raise ToolError(
            f"LiteRT's library {path.name} does not name its functions: its instructions cannot be told apart.",
            "Run `mobilekit devices setup-emulated` again.",
        )
    starts, ends, names = (list(column) for column in zip(*functions, strict=True))
    operator = known[_OPERATOR][0]
    words, address = _code(data)
    back = _after_calls_of(operator, words, address)
    return Library(starts, ends, names, operator, back, _after_indirect_calls(known[_NODES], words, address))


def _functions(data: bytes) -> list[tuple[int, int, str]]:
    """Return start, end and name of each function in the table of symbols."""
    place, count = struct.unpack_from("<Q", data, 0x28)[0], struct.unpack_from("<H", data, 0x3C)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, place + 64 * index) for index in range(count)]
    found = []
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind != _SYMBOLS:
            continue
        strings = sections[link][4]
        for name, info, _, _, value, length in struct.iter_unpack("<IBBHQQ", data[offset : offset + size]):
            if info & 15 == _FUNCTION and length:
                start = strings + name
                found.append((value, value + length, data[start : data.index(b"\0", start)].decode()))
    return found


def _code(data: bytes) -> tuple[NDArray[np.int64], int]:
    """Return the words of the segment that holds the code, and its address."""
    place, count = struct.unpack_from("<Q", data, 0x20)[0], struct.unpack_from("<H", data, 0x38)[0]
    for index in range(count):
        kind, flags, offset, address, _, size, *_ = struct.unpack_from("<IIQQQQQQ", data, place + 56 * index)
        if kind == _LOADED and flags & _EXECUTABLE:
            return np.frombuffer(data, "<u4", size // 4, offset).astype(np.int64), address
    raise ToolError("LiteRT's library holds no code.", "Run `mobilekit devices setup-emulated` again.")


def _after_calls_of(function: int, words: NDArray[np.int64], address: int) -> tuple[int, ...]:
    """Return where control comes back from calls of a function (`bl`)."""
    distance = ((words & 0x03FFFFFF) ^ 0x02000000) - 0x02000000  # in words, with its sign
    places = address + 4 * np.arange(len(words), dtype=np.int64)
    calls = ((words & 0xFC000000) == 0x94000000) & (places + 4 * distance == function)
    return tuple(int(place) + 4 for place in places[calls])


def _after_indirect_calls(span: tuple[int, int], words: NDArray[np.int64], address: int) -> tuple[int, ...]:
    """Return where control comes back from calls by pointer (`blr`) inside a function."""
    first, last = ((end - address) // 4 for end in span)
    return tuple(address + 4 * (at + 1) for at in range(first, last) if words[at] & 0xFFFFFC1F == 0xD63F0000)


def builtin_op(function: str) -> str | None:
    """Return the op of TFLite whose own kernel a function is part of, such as `transpose`; None for all others."""
    parts = _parts(function)
    if parts[:2] != ["tflite", "ops"] or len(parts) < 4 or parts[2] not in ("builtin", "custom"):
        return None
    return next((part for part in parts[3:] if not part.startswith("_GLOBAL")), None)


def _parts(mangled: str) -> list[str]:
    """Return the names of a C++ function's scopes and its own, up to the first with arguments of a template.

    Source: Itanium C++ ABI, "Mangling": each name has its length before it.
    """
    match = re.match(r"_ZNK?", mangled)
    parts, place = [], match.end() if match else len(mangled)
    while number := re.match(r"\d+", mangled[place:]):
        start = place + number.end()
        place = start + int(number[0])
        parts.append(mangled[start:place])
    return parts
