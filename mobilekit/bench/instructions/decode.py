"""What an AArch64 instruction is, and how many bytes it moves, by its encoding alone."""

from __future__ import annotations

from functools import cache

from mobilekit.bench.instructions.instruction_table import TABLE

_ONE_LANE, _VECTOR = 0xDE000000, 0x5E000000
_REGISTERS = {0: 4, 2: 4, 4: 3, 6: 3, 7: 1, 8: 2, 10: 2}  # of ld1 to ld4, by their opcode


@cache
def classify(word: int) -> str:
    """Return the class of an instruction, one of `CLASSES`."""
    if word & _ONE_LANE == _VECTOR:  # one lane: the encodings are those of vectors with two bits more
        word &= ~0x50000000
    return next((name for mask, value, name in TABLE if word & mask == value), "scalar")


@cache
def moved_bytes(word: int) -> int:
    """Return how many bytes a load or a store moves; 0 for all other instructions."""
    if classify(word) not in ("load", "store"):
        return 0
    size, is_vector, opc = word >> 30, word >> 26 & 1, word >> 22 & 3
    if word & 0xBE000000 == 0x0C000000:  # ld1 to ld4
        return _structure_bytes(word)
    if word & 0x3B000000 == 0x18000000:  # a literal
        return 4 << size if is_vector else (8 if size == 1 else 4)
    if word & 0x3A000000 == 0x28000000:  # a pair
        return 2 * (4 << size if is_vector else (8 if size == 2 else 4))
    if is_vector:
        return 1 << (size | (opc & 2) << 1)
    return 1 << size


def _structure_bytes(word: int) -> int:
    whole = 16 if word >> 30 & 1 else 8
    if not word >> 24 & 1:
        return _REGISTERS.get(word >> 12 & 15, 0) * whole
    opcode, size = word >> 13 & 7, word >> 10 & 3
    elements = ((opcode & 1) << 1 | word >> 21 & 1) + 1
    scale = opcode >> 1
    if scale == 3:  # one element to all lanes
        return elements << size
    return elements << (3 if scale == 2 and size & 1 else scale)
