"""The plugin's lines as steps, and the refusal of inferences that differ."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mobilekit.bench.instructions.library import Library
from mobilekit.bench.instructions.record import CacheMisses, parse_record
from mobilekit.bench.instructions.steps import Step, agreed, read_steps
from mobilekit.errors import ToolError

FMLA, LOAD, STORE, ADD = "4e24cc43", "3dc00280", "3d800280", "91008000"
GEMM = "xnn_f32_gemm_minmax_ukernel_6x8__asm"
VMUL = "xnn_f32_vmul_ukernel__neon_u8"
TRANSPOSE = "_ZN6tflite3ops7builtin9transpose4EvalEP13TfLiteContextP10TfLiteNode"
FUNCTIONS = {0x100: "xnn_run_operator_with_index", 0x200: GEMM, 0x300: VMUL, 0x400: TRANSPOSE, 0x500: "python3.11"}
LIBRARY = Library([], [], [], 0x100, (0x900,), (0xA00,))
RUN = """
begin
segment -1 4 9
segment 0 0 1 1 100
segment 1 4 1
segment 0 0 1 2 5
segment 1 4 2
segment 2 3 7
segment 2 0 1 4 1
segment 0 0 1
end
"""
PIECES = f"""
piece 0 100 {ADD} {ADD}
piece 1 200 {LOAD} {FMLA} {FMLA}
piece 2 300 {STORE}
piece 3 400 {ADD}
piece 4 500 {ADD}
done
"""


def steps_of(text: str) -> list[list[Step]]:
    record = parse_record(text.split("\n")[1:-1])
    return [read_steps(segments, record.pieces, LIBRARY, FUNCTIONS.__getitem__) for segments in record.inferences]


def test_steps() -> None:
    [steps] = steps_of(RUN.rstrip("\n") + PIECES)
    shown = [(step.kind, step.kernel, step.partition, step.work.instructions) for step in steps]
    assert shown == [
        ("operator", "f32_gemm_6x8", 0, 302),
        ("operator", "f32_vmul", 0, 7),
        ("builtin", "transpose", None, 7),
        ("operator", "no kernel", 1, 2),
        ("runtime", "runtime", None, 15),
    ]
    gemm = steps[0].work
    assert gemm.classes == {"scalar": 2, "load": 100, "fmla": 200}
    assert (gemm.loaded_bytes, gemm.stored_bytes) == (1600, 0)
    assert steps[1].work.stored_bytes == 80
    assert steps[0].function == GEMM and steps[2].function == TRANSPOSE


def test_inferences_that_agree_are_one_count() -> None:
    both = steps_of(RUN.rstrip("\n") + RUN.replace("segment -1 4 9", "segment -1 4 12").rstrip("\n") + PIECES)
    steps = agreed(both)
    assert steps == both[1], "what the runtime does around the steps may differ"


def with_misses(run: str, misses: list[tuple[int, int]]) -> str:
    """Return the lines of a run with the misses of each segment."""
    pairs = iter(misses)
    lines = [
        (line, *(["misses {} {}".format(*next(pairs))] if line.startswith("segment") else []))
        for line in run.split("\n")
    ]
    return "\n".join(each for pair in lines for each in pair)


def test_misses_of_caches_are_summed_by_step_and_may_differ() -> None:
    """The first inference fills the caches: what the last one misses counts."""
    first = with_misses(RUN, [(9, 9)] * 8)
    last = with_misses(RUN, [(1, 0), (5, 3), (2, 2), (8, 6), (0, 0), (4, 2), (1, 1), (7, 0)])
    steps = agreed(steps_of(first.rstrip("\n") + last.rstrip("\n") + PIECES))
    assert [(step.kernel, step.work.misses) for step in steps] == [
        ("f32_gemm_6x8", CacheMisses(5, 3)),
        ("f32_vmul", CacheMisses(8, 6)),
        ("transpose", CacheMisses(4, 2)),
        ("no kernel", CacheMisses(7, 0)),
        ("runtime", CacheMisses(4, 3)),
    ]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("segment 0 0 1 2 5", "segment 0 0 1 2 6", "step 1, f32_vmul: 7 instructions, then 8"),
        ("segment 2 3 7", "segment 2 3 8", "step 2, transpose: 7 instructions, then 8"),
        ("segment 0 0 1 1 100", "segment 0 0 1 2 300", "step 0, f32_gemm_6x8: 302 instructions, then 302 of f32_vmul"),
        ("segment 0 0 1 2 5\n", "", "4 steps, then 3"),
    ],
)
def test_inferences_that_differ_are_refused(before: str, after: str, told: str) -> None:
    other = RUN.replace(before, after)
    assert other != RUN
    with pytest.raises(ToolError, match=f"did not run the same instructions: {told}"):
        agreed(steps_of(RUN.rstrip("\n") + other.rstrip("\n") + PIECES))


def test_three_differences_are_named_and_the_rest_counted() -> None:
    [steps] = steps_of(RUN.rstrip("\n") + PIECES)
    worse = [replace(step, work=replace(step.work, loaded_bytes=1)) for step in steps]
    with pytest.raises(ToolError, match="and 1 more"):
        agreed([steps, worse])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "begin\nend",
        "begin\nmisses 1 2\nend\ndone",
        "begin\nsegment x\nend\ndone",
        "piece 1 zz\ndone",
        "segment 1 2\ndone",
    ],
)
def test_what_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="What was counted cannot be read"):
        parse_record(text.splitlines())
