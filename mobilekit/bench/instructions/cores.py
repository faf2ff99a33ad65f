"""The ARM cores whose instructions are counted, as data.

XNNPACK chooses its kernels by the core's name, which it reads in /proc/cpuinfo, and by what the processor can do, which
qemu tells it. qemu 7.2 has no model of most of these cores: one with the same instructions stands for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobilekit.errors import UsageError, nearest
from mobilekit.store.jsonable import Jsonable

_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_DOT = f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class CountedCore(Jsonable):
    """A core of phones."""

    name: str
    """As `--core` takes it."""
    model: str
    part: int
    """Arm's number of it (MIDR_EL1.PartNum, in its Technical Reference Manual)."""
    qemu_cpu: str
    """The processor that qemu imitates."""
    features: str
    """As /proc/cpuinfo has them."""
    has_dot: bool
    """It has dot products of bytes."""

    @property
    def cpu_files(self) -> dict[str, str]:
        """What XNNPACK reads of the processor: text by path."""
        return {
            "proc/cpuinfo": (
                f"processor\t: 0\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
                f"CPU variant\t: 0x3\nCPU part\t: {self.part:#05x}\nCPU revision\t: 1\n\n"
            ),
            "sys/devices/system/cpu/possible": "0\n",
            "sys/devices/system/cpu/present": "0\n",
        }


CORES = (
    CountedCore("a53", "Cortex-A53", 0xD03, "cortex-a53", _BASE, has_dot=False),
    CountedCore("a55", "Cortex-A55", 0xD05, "cortex-a76", _DOT, has_dot=True),
    CountedCore("a76", "Cortex-A76", 0xD0B, "cortex-a76", _DOT, has_dot=True),
    CountedCore("x1", "Cortex-X1", 0xD44, "cortex-a76", _DOT, has_dot=True),
    CountedCore("x2", "Cortex-X2", 0xD48, "max,sve=off,sme=off", f"{_DOT} i8mm bf16", has_dot=True),
)


def core_named(name: str) -> CountedCore:
    """Return the core of this name.

    Raises:
        UsageError: There is none.
    """
    for core in CORES:
        if core.name == name.lower():
            return core
    names = [core.name for core in CORES]
    hint = nearest(name, names)
    raise UsageError(
        f"There is no core {name!r}.", hint if hint.startswith("Known") else f"{hint} Known: {', '.join(names)}."
    )
