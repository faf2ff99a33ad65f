"""What benchmark_model says of delegates: which there are, and how much of the graph each runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mobilekit.bench.output_lines import either, read_count, statement
from mobilekit.bench.tool_words import GPU_INTERFACES, NPU_DELEGATE

Extent = Literal["completely", "partially", "not", "failed", "applied", "created"]

_DELEGATE_STATEMENTS = tuple(
    statement(pattern)
    for pattern in (
        r"Created TensorFlow Lite (?:delegate for )?(?P<name>[\w-]+)(?: delegate for CPU)?\.",
        r"(?P<name>[\w-]+) delegate created\.",
        r"Initialized (?P<interface>Open[CG]L|Vulkan)-based API(?: from serialized data)?\.?",
        r"Replacing (?P<replaced=X>) (?:out of (?P<total=X>) )?node\(s\) with delegate \((?P<name>[^()]+)\) node"
        r"(?:, yielding (?P<partitions=X>) partitions\b.*)?",
        r"(?:Explicitly )?[Aa]pplied (?P<name>[\w-]+) delegate(?:, and the model graph will be (?P<extent>completely|"
        r"partially|paritally) executed (?:by|w/) the delegate(?: w/ (?P<kernels=X>) delegate kernels)?)?\.",
        r"Though (?P<name>[\w-]+) delegate is (?:explicitly )?applied, the model graph will (?P<extent>not) be "
        r"executed (?:by|w/) the delegate\.?",
        r"(?P<extent>Failed) to apply (?P<name>[\w-]+) delegate\.?",
    )
)
_LIBRARY_NAME = re.compile(r"TfLite(\w+?)Delegate(?:V\d+)?")
_LITERT_GPU = "LITERT_"


@dataclass(frozen=True)
class Delegate:
    """What became of a delegate."""

    name: str
    """In upper case: XNNPACK, GPU, NNAPI, EXTERNAL."""
    extent: Extent
    """How much of the graph it runs. `applied`, `created`: the tool does not say how much."""
    explicit: bool = False
    """The tool was asked for it; newer builds add XNNPACK by themselves."""
    kernels: int | None = None
    partitions: int | None = None
    replaced: int | None = None
    """How many of the graph's nodes it took, ..."""
    total: int | None = None
    """... and of how many that it was offered."""
    interface: str | None = None
    """Of a GPU: `OpenCL`, `OpenGL`, `Vulkan`, ...; the same GPU may be several times as quick through one as through
    another."""


def read_delegates(lines: Sequence[str]) -> tuple[Delegate, ...]:
    """Return each delegate once, with the last word on how much it runs, and the first on what it replaced."""
    delegates: dict[str, Delegate] = {}
    for line in lines:
        for each in _DELEGATE_STATEMENTS:
            if match := each.search(line):
                new = _delegate(match.groupdict())
                delegates[new.name] = _merge(delegates.get(new.name), new)
                break
    return tuple(delegates.values())


def _delegate(said: dict[str, str | None]) -> Delegate:
    name = said.get("name") or "GPU"  # only GPUs have an interface that is told without a name
    interface = said.get("interface") or GPU_INTERFACES.get(name)
    if library := _LIBRARY_NAME.fullmatch(name):
        name = library[1]
    elif name.startswith(_LITERT_GPU):
        name = "GPU"
    elif name == NPU_DELEGATE:
        name = "NPU"
    figures = {key: read_count(said.get(key)) for key in ("kernels", "partitions", "replaced", "total")}
    extents: dict[str | None, Extent] = {
        "completely": "completely",
        "partially": "partially",
        "paritally": "partially",  # as some versions spell it
        "not": "not",
        "Failed": "failed",
    }
    explicit = "extent" in said
    extent: Extent = extents.get(said.get("extent"), "applied" if explicit else "created")
    if "replaced" in said:
        extent = _extent_of(figures["replaced"], figures["total"], figures["partitions"])
    return Delegate(name.upper(), extent, explicit, **figures, interface=interface)


def _extent_of(replaced: int | None, total: int | None, partitions: int | None) -> Extent:
    if replaced == 0:
        return "not"
    if replaced is None or total is None:
        return "applied"
    return "completely" if replaced == total and partitions in (None, 1) else "partially"


def _merge(old: Delegate | None, new: Delegate) -> Delegate:
    if old is None:
        return new
    vague = ("created", "applied")
    # What was replaced in a second subgraph says nothing of the graph.
    says_less = new.extent == "created" or (
        old.extent not in vague and (new.extent in vague or new.replaced is not None)
    )
    return Delegate(
        name=old.name,
        extent=old.extent if says_less else new.extent,
        explicit=old.explicit or new.explicit,
        kernels=either(old.kernels, new.kernels),
        partitions=either(old.partitions, new.partitions),
        replaced=either(old.replaced, new.replaced),
        total=either(old.total, new.total),
        interface=new.interface or old.interface,  # the last, as OpenGL is where OpenCL failed
    )
