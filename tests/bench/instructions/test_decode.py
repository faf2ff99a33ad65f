"""Classes and sizes of instructions, held against what GNU binutils 2.40 says of the same words in LiteRT's library."""

from __future__ import annotations

import pytest

from mobilekit.bench.instructions.decode import classify, moved_bytes
from mobilekit.bench.instructions.instruction_table import CLASSES, TABLE

WORDS = """
fmla      0   0x4E24CC43  fmla v3.4s, v2.4s, v4.4s
fmla      0   0x4F9D13C4  fmla v4.4s, v30.4s, v29.s[0]
fmla      0   0x4EBCCF9B  fmls v27.4s, v28.4s, v28.4s
dot       0   0x4E819510  sdot v16.4s, v8.16b, v1.16b
dot       0   0x4FABE1D6  sdot v22.4s, v14.16b, v11.4b[1]
mmla      0   0x4E9DA733  smmla v19.4s, v25.16b, v29.16b
smlal     0   0x4EA494D0  mla v16.4s, v6.4s, v4.4s
smlal     0   0x4F83D0C6  sqrdmulh v6.4s, v6.4s, v3.s[0]
smlal     0   0x6E6BB699  sqrdmulh v25.8h, v20.8h, v11.8h
smlal     0   0x0EA68165  smlal v5.2d, v11.2s, v6.2s
smlal     0   0x4F522A77  smlal2 v23.4s, v19.8h, v2.h[5]
smlal     0   0x0EB6C267  smull v7.2d, v19.2s, v22.2s
float     0   0x1E630821  fmul d1, d1, d3
float     0   0x6E20DC18  fmul v24.4s, v0.4s, v0.4s
float     0   0x4F809042  fmul v2.4s, v2.4s, v0.s[0]
float     0   0x1E252825  fadd s5, s1, s5
float     0   0x4E20F421  fmax v1.4s, v1.4s, v0.4s
float     0   0x6EA1FB18  fsqrt v24.4s, v24.4s
float     0   0x4EA0F959  fabs v25.4s, v10.4s
float     0   0x6EA2E424  fcmgt v4.4s, v1.4s, v2.4s
float     0   0x4E218AD6  frintn v22.4s, v22.4s
float     0   0x7E30D8E7  faddp s7, v7.2s
float     0   0x6E30F800  fmaxv s0, v0.4s
float     0   0x1F412000  fmadd d0, d0, d1, d8
float     0   0x1E682000  fcmp d0, d8
integer   0   0x4EE28400  add v0.2d, v0.2d, v2.2d
integer   0   0x0F185442  shl v2.4h, v2.4h, #8
integer   0   0x4F2804E7  sshr v7.4s, v7.4s, #24
integer   0   0x0EA06420  smax v0.2s, v1.2s, v0.2s
integer   0   0x4EB1B800  addv s0, v0.4s
integer   0   0x5EF1B800  addp d0, v0.2d
integer   0   0x0E20A800  cmlt v0.8b, v0.8b, #0
integer   0   0x6E661F43  bsl v3.16b, v26.16b, v6.16b
integer   0   0x4EA0B821  abs v1.4s, v1.4s
integer   0   0x2E661026  uaddw v6.4s, v1.4s, v6.4h
integer   0   0x6F001423  bic v3.4s, #0x1
convert   0   0x9E780028  fcvtzs x8, d1
convert   0   0x4E21A884  fcvtns v4.4s, v4.4s
convert   0   0x1E220004  scvtf s4, w0
convert   0   0x4E21D842  scvtf v2.4s, v2.4s
convert   0   0x1E22C04E  fcvt d14, s2
convert   0   0x0E216B18  fcvtn v24.4h, v24.4s
convert   0   0x4E614A12  sqxtn2 v18.8h, v16.4s
convert   0   0x0F08A6F7  sxtl v23.8h, v23.8b
convert   0   0x0F3F8463  shrn v3.2s, v3.2d, #1
permute   0   0x4E1C04F4  dup v20.4s, v7.s[3]
permute   0   0x0E003821  zip1 v1.8b, v1.8b, v0.8b
permute   0   0x6E0F41D3  ext v19.16b, v14.16b, v15.16b, #8
permute   0   0x4E0400C7  tbl v7.16b, {v6.16b}, v4.16b
permute   0   0x6F00E400  movi v0.2d, #0x0
permute   0   0x4EA31C65  mov v5.16b, v3.16b
permute   0   0x9E660212  fmov x18, d16
load      4   0x0D409204  ld1 {v4.s}[1], [x16]
load      16  0x4CDF708C  ld1 {v12.16b}, [x4], #16
load      32  0x4C408D83  ld2 {v3.2d, v4.2d}, [x12]
load      8   0x4DFF6390  ld4 {v16.h-v19.h}[4], [x28], #8
load      64  0x4C400D70  ld4 {v16.2d-v19.2d}, [x11]
load      8   0x4D40CC04  ld1r {v4.2d}, [x0]
load      16  0xA8C27BFD  ldp x29, x30, [sp], #32
load      8   0x2979C7AA  ldp w10, w17, [x29, #-52]
load      8   0x69402808  ldpsw x8, x10, [x0]
load      8   0xF947B800  ldr x0, [x0, #3952]
load      4   0xBC737AE1  ldr s1, [x23, x19, lsl #2]
load      16  0x3DC00280  ldr q0, [x20]
load      1   0x384015A8  ldrb w8, [x13], #1
load      4   0xB9809A88  ldrsw x8, [x20, #152]
load      4   0xB85F83AB  ldur w11, [x29, #-8]
load      4   0x885F7C40  ldxr w0, [x2]
load      8   0xF8200020  ldadd x0, x0, [x1]
load      4   0x88A07C41  cas w0, w1, [x2]
store     64  0x4C002D20  st1 {v0.2d-v3.2d}, [x9]
store     4   0x0D9F931E  st1 {v30.s}[1], [x24], #4
store     32  0xAC820963  stp q3, q2, [x11], #64
store     16  0xA9BE7BFD  stp x29, x30, [sp, #-32]!
store     16  0x3D800280  str q0, [x20]
store     1   0x38286A75  strb w21, [x19, x8]
store     8   0xF81F83A8  stur x8, [x29, #-8]
store     4   0x88117C41  stxr w17, w1, [x2]
prefetch  0   0xF9800000  prfm pldl1keep, [x0]
branch    0   0xD63F0100  blr x8
branch    0   0x54001DE1  b.ne 0x40c
branch    0   0xD65F03C0  ret
scalar    0   0x91008000  add x0, x0, #0x20
scalar    0   0x9B085B48  madd x8, x26, x8, x22
scalar    0   0xF1000508  subs x8, x8, #0x1
scalar    0   0x8A280128  bic x8, x9, x8
"""


@pytest.mark.parametrize("line", WORDS.strip().splitlines())
def test_an_instruction(line: str) -> None:
    name, size, word, _ = line.split(maxsplit=3)
    assert (classify(int(word, 16)), moved_bytes(int(word, 16))) == (name, int(size))


def test_the_table_is_sound() -> None:
    assert all(value & ~mask == 0 for mask, value, _ in TABLE), "a value has bits outside its mask: it never fits"
    assert {name for _, _, name in TABLE} | {"scalar"} == set(CLASSES)
