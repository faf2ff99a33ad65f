"""Counts that are made up, for tests of what is done with them."""

from __future__ import annotations

from mobilekit.bench.instructions.cores import core_named
from mobilekit.bench.instructions.count import NOT_TIME
from mobilekit.bench.instructions.result import Count, CountComparison, CountResult, FileCount, StepCount


def make_step(kernel: str, instructions: int, tensor: str, work: str, module: str | None) -> StepCount:
    """Return a step of an XNNPACK operator."""
    classes = {"fmla": instructions - 10, "load": 10}
    return StepCount(
        "operator", kernel, f"xnn_{kernel}", instructions, classes, 160, 0, "CONV_2D", tensor, module, work
    )


def make_count(steps: list[StepCount]) -> Count:
    """Return the count of a file that these steps make up."""
    total = sum(step.instructions for step in steps)
    return Count(
        instructions=total,
        runtime_instructions=1000,
        loaded_bytes=160 * len(steps),
        stored_bytes=0,
        partitions=1,
        by_class={"fmla": total - 10 * len(steps), "load": 10 * len(steps)},
        by_kernel={step.kernel: step.instructions for step in steps},
        by_kind={step.work: step.instructions for step in steps if step.work},
        by_module={step.module: step.instructions for step in steps if step.module},
        steps=tuple(steps),
    )


def make_file(count: Count | None, name: str = "n/model.float32.tflite", why_not: str | None = None) -> FileCount:
    """Return a file with its count."""
    return FileCount(name, f"artifacts/{name}", "a" * 64, "float32", 1.5, count is not None, why_not, count)


def make_result(*files: FileCount, core: str = "a76", litert: str = "2.3.0") -> CountResult:
    """Return the counts of files on a core; each is compared with the first."""
    first = files[0].count
    ratios = [
        CountComparison(each.file, files[0].file, each.count.instructions / first.instructions)
        for each in files[1:]
        if each.count and first
    ]
    return CountResult(
        device="emulated",
        unit="instructions",
        core=core_named(core),
        litert=litert,
        qemu="7.2.22",
        plugin_sha256="b" * 64,
        threads=1,
        results=files,
        comparisons=tuple(ratios),
        notes=(NOT_TIME,),
    )


def make_model(wide: int = 600_000, kernel: str = "f32_gemm_6x8") -> Count:
    """Return a count of two ops, of which the first has as many instructions as asked for."""
    wide_step = make_step(kernel, wide, "wide", "pointwise", "blocks.0")
    return make_count([wide_step, make_step("f32_dwconv_9p8c", 400_000, "deep", "depthwise", "blocks.1")])
