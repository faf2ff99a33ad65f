"""Functions and stops of a library, on one that is written here word by word."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from mobilekit.bench.instructions.library import builtin_op, read_library
from mobilekit.errors import ToolError

BASE, OFFSET = 0x2000, 0x100
RET, NOP, BLR = 0xD65F03C0, 0xD503201F, 0xD63F0100
OPERATOR, INVOKE, NODES = 0x2000, 0x2010, 0x2020


def bl(place: int, target: int) -> int:
    return 0x94000000 | ((target - place) // 4 & 0x03FFFFFF)


CODE = [NOP, NOP, RET, NOP, NOP, bl(0x2014, OPERATOR), RET, NOP, NOP, BLR, NOP, BLR, RET, bl(0x2034, NODES)]
SYMBOLS = {
    "xnn_run_operator_with_index": (OPERATOR, 12),
    "xnn_invoke_runtime": (INVOKE, 12),
    "_ZN6tflite8Subgraph10InvokeImplEv": (NODES, 20),
}


def make_elf(symbols: dict[str, tuple[int, int]]) -> bytes:
    """Return a library for aarch64 of one code segment, a table of symbols and their names."""
    code = struct.pack(f"<{len(CODE)}I", *CODE)
    names, table = b"\0", bytes(24)
    for name, (value, size) in symbols.items():
        table += struct.pack("<IBBHQQ", len(names), 2, 0, 1, value, size)
        names += name.encode() + b"\0"
    at_table = OFFSET + len(code)
    at_names = at_table + len(table)
    at_sections = at_names + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, 183, 1, 0, 64, at_sections, 0, 64, 56, 1, 64, 3, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, OFFSET, BASE, BASE, len(code), len(code), 0x1000)
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 0, 2, 0, 0, at_table, len(table), 2, 1, 8, 24)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    return (header + segment).ljust(OFFSET, b"\0") + code + table + names + sections


def test_functions_and_stops(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(make_elf(SYMBOLS))
    library = read_library(tmp_path / "lib.so")
    assert library.function_at(0x2008) == "xnn_run_operator_with_index"
    assert library.function_at(0x200C) is None and library.function_at(0x1FFF) is None
    assert library.function_at(0x2014) == "xnn_invoke_runtime"
    assert library.stops == (OPERATOR, 0x2018, 0x2028, 0x2030)
    kinds = [library.kind_of_stop(number) for number in range(-1, 4)]
    assert kinds == ["node", "operator", "after operator", "node", "node"]


def test_a_library_without_names_is_told(tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(make_elf({}))
    with pytest.raises(ToolError, match=r"lib\.so does not name its functions"):
        read_library(tmp_path / "lib.so")


@pytest.mark.parametrize(
    ("function", "op"),
    [
        ("_ZN6tflite3ops7builtin9transpose4EvalEP13TfLiteContextP10TfLiteNode", "transpose"),
        ("_ZN6tflite3ops7builtin4conv4EvalILNS2_10KernelTypeE1EEE12TfLiteStatusP13TfLiteContextP10TfLiteNode", "conv"),
        ("_ZN6tflite3ops7builtin12_GLOBAL__N_13abs4EvalEP13TfLiteContext", "abs"),
        ("_ZN6tflite8Subgraph10InvokeImplEv", None),
        ("xnn_invoke_runtime", None),
    ],
)
def test_an_op_of_tflites_own(function: str, op: str | None) -> None:
    assert builtin_op(function) == op
