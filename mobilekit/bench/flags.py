"""What is asked of benchmark_model, as its command line flags."""

from __future__ import annotations

from mobilekit.bench.engine import RunSettings
from mobilekit.bench.tool import Tool

# Builds may lack these. An unknown flag makes a run worthless, so they stand only where they are asked for. Of several
# ways to ask, each tool gets the one that it knows.
_PROFILES = (
    ("--enable_op_profiling=true", "--max_profiling_buffer_entries=16384"),  # 1024, its default, drops ops
    ("--use_profiler=true",),  # LiteRT's
)
_DELEGATES = {"xnnpack": (("--use_xnnpack=true",), ("--use_cpu=true",))}  # LiteRT's runs XNNPACK on its CPU


def arguments(
    settings: RunSettings, graph: str, tool: Tool, *, profile: bool = False, result_file: str | None = None
) -> list[str]:
    """Return the flags of one run, the graph first.

    A phase ends after its number of inferences or at `max_seconds`, whichever comes first. Every version since 2019
    knows the flags that always stand, and LiteRT's tool as well.

    Args:
        settings: How to run.
        graph: The model's path on the device.
        tool: What it knows.
        profile: Print the ops' times.
        result_file: Where on the device the results go as a protocol buffer, if the tool writes one.
    """
    delegate = settings.delegate
    return [
        f"--graph={graph}",
        f"--num_threads={settings.threads}",
        f"--num_runs={settings.runs}",
        f"--warmup_runs={settings.warmup_runs}",
        "--min_secs=0",
        "--warmup_min_secs=0",
        f"--max_secs={settings.max_seconds:.10g}",
        *(tool.choose(*_DELEGATES.get(delegate, ((f"--use_{delegate}=true",),))) if delegate else []),
        *(tool.choose(*_PROFILES) if profile else []),
        *([f"--result_file_path={result_file}"] if result_file and tool.knows("result_file_path") else []),
    ]
