"""What each AArch64 instruction is, as data.

Source: Arm Architecture Reference Manual for A-profile (DDI 0487), C4.1, "A64 instruction set encoding". The first line
whose bits fit decides; an instruction that fits none is `scalar`.
"""

from __future__ import annotations

CLASSES = (
    "fmla", "dot", "mmla", "smlal", "float", "integer", "convert", "permute", "load", "store", "prefetch", "branch",
    "scalar",
)  # fmt: skip
"""fmla: fused multiply-adds of float vectors; dot, mmla: dot and matrix products of bytes; smlal: other products and
multiply-adds of integer vectors; float, integer: other arithmetic of floats and of integer vectors; convert: between
number formats, widths among them; permute: moves within and between vectors; scalar: the rest, addresses above all."""

TABLE: tuple[tuple[int, int, str], ...] = (
    # Loads and stores. Which of both it is, the bit L or opc tells.
    (0xBFC00000, 0x0C000000, "store"),  # st1 to st4, several registers
    (0xBFC00000, 0x0C400000, "load"),
    (0xBFC00000, 0x0C800000, "store"),  # with post-index
    (0xBFC00000, 0x0CC00000, "load"),
    (0xBFC00000, 0x0D000000, "store"),  # one lane
    (0xBFC00000, 0x0D400000, "load"),
    (0xBFC00000, 0x0D800000, "store"),
    (0xBFC00000, 0x0DC00000, "load"),
    (0xFF000000, 0xD8000000, "prefetch"),  # prfm of a literal
    (0x3B000000, 0x18000000, "load"),  # a literal
    (0x3FA07C00, 0x08A07C00, "load"),  # compare and swap
    (0x3F400000, 0x08000000, "store"),  # exclusive and ordered
    (0x3F400000, 0x08400000, "load"),
    (0x3A400000, 0x28000000, "store"),  # a pair
    (0x3A400000, 0x28400000, "load"),
    (0xFFC00000, 0xF9800000, "prefetch"),  # prfm
    (0xFFE00C00, 0xF8A00800, "prefetch"),
    (0xFFE00C00, 0xF8800000, "prefetch"),  # prfum
    (0x3F200C00, 0x38200000, "load"),  # atomics read, and write as well
    (0x3FC00000, 0x39000000, "store"),  # integer register, unsigned offset
    (0x3F000000, 0x39000000, "load"),
    (0x3F400000, 0x3D000000, "store"),  # vector register, unsigned offset
    (0x3F400000, 0x3D400000, "load"),
    (0x3FC00000, 0x38000000, "store"),  # other addresses
    (0x3F000000, 0x38000000, "load"),
    (0x3F400000, 0x3C000000, "store"),
    (0x3F400000, 0x3C400000, "load"),
    # Vectors, and what is the same of one lane (see `decode.classify`).
    (0x9F20FC00, 0x0E20CC00, "fmla"),  # fmla, fmls
    (0xBF60FC00, 0x0E400C00, "fmla"),  # of half floats
    (0xBF00B400, 0x0F001000, "fmla"),  # by a lane
    (0x9F20F400, 0x0E009400, "dot"),  # sdot, udot, usdot
    (0x9F00F400, 0x0F00E000, "dot"),  # by a lane
    (0xBF40F400, 0x0F00F000, "dot"),  # sudot, bfdot by a lane
    (0xBFC0F400, 0x0F80F000, "dot"),  # usdot by a lane
    (0xBFE0FC00, 0x2E40FC00, "dot"),  # bfdot
    (0x9F20F400, 0x0E00A400, "mmla"),  # smmla, ummla, usmmla
    (0xBFE0FC00, 0x2E40EC00, "mmla"),  # bfmmla
    (0x9F20FC00, 0x0E209400, "smlal"),  # mla, mls
    (0x9F20FC00, 0x0E209C00, "smlal"),  # mul
    (0x9F20FC00, 0x0E20B400, "smlal"),  # sqdmulh, sqrdmulh
    (0x9F20F400, 0x0E008400, "smlal"),  # sqrdmlah, sqrdmlsh
    (0x9F208C00, 0x0E208000, "smlal"),  # smlal, smlsl, smull and those that saturate
    (0xBF00F400, 0x0F009000, "float"),  # fmul by a lane
    (0xBF00F400, 0x2F009000, "float"),  # fmulx by a lane
    (0xBF009400, 0x2F001000, "float"),  # fcmla by a lane
    (0x9F000400, 0x0F000000, "smlal"),  # all others by a lane
    (0x9F20C400, 0x0E20C400, "float"),  # three registers, opcodes from 11000 on
    (0x9F60C400, 0x0E400400, "float"),  # of half floats
    (0x9F20C400, 0x0E00C400, "float"),  # fcmla, fcadd
    (0x9FE08400, 0x0E000400, "permute"),  # dup, ins, umov
    (0xBF208C00, 0x0E000800, "permute"),  # uzp, trn, zip
    (0xBFE08400, 0x2E000000, "permute"),  # ext
    (0xBFE08C00, 0x0E000000, "permute"),  # tbl, tbx
    (0xBFE0FC00, 0x0EA01C00, "permute"),  # orr: mov of a vector
    (0x9FF89400, 0x0F001400, "integer"),  # orr, bic with a constant
    (0x9FF8D400, 0x0F009400, "integer"),
    (0x9FF80400, 0x0F000400, "permute"),  # movi, fmov of a constant
    (0xBF3FFC00, 0x0E200800, "permute"),  # rev64
    (0xBF3FFC00, 0x2E200800, "permute"),  # rev32
    (0xBF3FFC00, 0x0E201800, "permute"),  # rev16
    (0x9F3FFC00, 0x0E212800, "convert"),  # xtn, sqxtun
    (0xBF3FFC00, 0x2E213800, "convert"),  # shll
    (0x9F3FFC00, 0x0E214800, "convert"),  # sqxtn, uqxtn
    (0x9F3FEC00, 0x0E216800, "convert"),  # fcvtn, fcvtl
    (0x9FBFEC00, 0x0E21A800, "convert"),  # fcvt to integers
    (0x9FBFEC00, 0x0EA1A800, "convert"),
    (0x9FBFFC00, 0x0E21C800, "convert"),  # fcvtas
    (0x9FBFFC00, 0x0E21D800, "convert"),  # scvtf, ucvtf
    (0x9F7FEC00, 0x0E79A800, "convert"),  # the same of half floats
    (0x9FFFFC00, 0x0E79C800, "convert"),
    (0x9FFFFC00, 0x0E79D800, "convert"),
    (0x9F3F8C00, 0x0E218800, "float"),  # frint, fsqrt, estimates
    (0x9FBFCC00, 0x0EA0C800, "float"),  # fabs, fneg, and compares with 0.0
    (0x9F7F0C00, 0x0E780800, "float"),  # half floats
    (0x9F7F0C00, 0x0E790800, "float"),
    (0x9F3F4C00, 0x0E304800, "float"),  # fmaxv, fmaxnmv and their like
    (0x9F80FC00, 0x0F00A400, "convert"),  # sshll, ushll
    (0x9F80E400, 0x0F008400, "convert"),  # narrowing shifts
    (0x9F80FC00, 0x0F00E400, "convert"),  # scvtf of fixed point
    (0x9F80FC00, 0x0F00FC00, "convert"),
    (0x9E000000, 0x0E000000, "integer"),
    # Floats in scalar registers.
    (0x7F26FC00, 0x1E260000, "permute"),  # fmov, from and to integer registers
    (0xFF3FFC00, 0x1E204000, "permute"),  # fmov
    (0xFF201FE0, 0x1E201000, "permute"),  # fmov of a constant
    (0x7F20FC00, 0x1E200000, "convert"),  # to and from integers
    (0x7F200000, 0x1E000000, "convert"),  # fixed point
    (0xFF3E7C00, 0x1E224000, "convert"),  # fcvt
    (0x5E000000, 0x1E000000, "float"),
    (0x1C000000, 0x14000000, "branch"),  # calls, exceptions and system registers as well
)  # fmt: skip
