"""Names of kernels, as LiteRT 2.3.0's library has them."""

from __future__ import annotations

import pytest

from mobilekit.bench.instructions.kernels import ops_run_by, prepares, short_name


@pytest.mark.parametrize(
    ("function", "name", "op"),
    [
        ("xnn_f32_gemm_minmax_ukernel_6x8__asm_aarch64_neonfma_cortex_a75_prfm", "f32_gemm_6x8", "CONV_2D"),
        ("xnn_f32_igemm_minmax_ukernel_4x2__neon", "f32_igemm_4x2", "CONV_2D"),
        (
            "xnn_qs8_qc8w_dwconv_minmax_fp32_ukernel_9p16c__neonv8_mla8_ld64",
            "qs8_qc8w_dwconv_9p16c",
            "DEPTHWISE_CONV_2D",
        ),
        ("xnn_f32_vmul_ukernel__neon_u8", "f32_vmul", "MUL"),
        ("xnn_qs8_vadd_minmax_ukernel__neon_ld64_u32", "qs8_vadd", "ADD"),
        ("xnn_f32_rdsum_ukernel_7p7x__neon_u16", "f32_rdsum_7p7x", "MEAN"),
        ("xnn_xx_copy_ukernel__scalar_memcpy", "xx_copy", "CONCATENATION"),
        ("xnn_x8_lut_ukernel__aarch64_neon_tbx128x4_u64", "x8_lut", "LOGISTIC"),
        (
            "kai_run_matmul_clamp_f32_qai8dxp4x4_qsi8cxp4x4_16x4_neon_dotprod",
            "kai_matmul_clamp_f32_qai8dxp4x4_qsi8cxp4x4_16x4",
            "FULLY_CONNECTED",
        ),
        (
            "_ZN12_GLOBAL__N_123unary_ukernel_quantizedIN7xnnpack9quantizedIavEES3_NS_11HardSwishOpIfEEEEvmPKT_",
            "reference_HardSwish",
            "HARD_SWISH",
        ),
    ],
)
def test_a_kernel(function: str, name: str, op: str) -> None:
    assert short_name(function) == name
    assert op in ops_run_by(name)


@pytest.mark.parametrize(
    "function", ["xnn_run_operator_with_index", "libc.so.6", "setup_gemm_ukernels", "kai_get_m_step"]
)
def test_other_functions_are_no_kernels(function: str) -> None:
    assert short_name(function) is None


def test_what_rounds_a_layers_input_belongs_to_the_layer() -> None:
    assert prepares("f32_qs8_vcvt", "qd8_f32_qc8w_igemm_4x16c4")
    assert not prepares("f32_qs8_vcvt", "qs8_qc8w_gemm_4x16c4")  # a QUANTIZE of the file's own
    assert ops_run_by("kai_lhs_quant_pack_qai8dxp_f32") == frozenset()
