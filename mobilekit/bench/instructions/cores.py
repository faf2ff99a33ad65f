"""The ARM cores whose instructions are counted, as data.

XNNPACK chooses its kernels by the core's name, which it reads in /proc/cpuinfo, and by what the processor can do, which
qemu tells it. qemu 7.2 has no model of most of these cores: one with the same instructions stands for it.

The lines and ways of the caches are those of the cores' Technical Reference Manuals by Arm, which leave most sizes to
the makers of phones. Of these the A55 and the A76 have what WikiChip tells of Qualcomm's Snapdragon 855, the X1 what
Qualcomm tells of its Snapdragon 888, and the A53 and the X2 one of the sizes that their manuals allow.
"""

from __future__ import annotations

from dataclasses import dataclass

from mobilekit.errors import UsageError, nearest
from mobilekit.store.jsonable import Jsonable

_BASE = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_DOT = f"{_BASE} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Cache(Jsonable):
    """A cache of data with lines of 64 bytes."""

    kib: int
    ways: int
    """Places in the cache that one line can take."""


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
    caches: tuple[Cache, Cache]
    """The first and the second one, in one of the sizes that makers choose from."""

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
    CountedCore("a53", "Cortex-A53", 0xD03, "cortex-a53", _BASE, has_dot=False, caches=(Cache(32, 4), Cache(512, 16))),
    CountedCore("a55", "Cortex-A55", 0xD05, "cortex-a76", _DOT, has_dot=True, caches=(Cache(32, 4), Cache(128, 4))),
    CountedCore("a76", "Cortex-A76", 0xD0B, "cortex-a76", _DOT, has_dot=True, caches=(Cache(64, 4), Cache(256, 8))),
    CountedCore("x1", "Cortex-X1", 0xD44, "cortex-a76", _DOT, has_dot=True, caches=(Cache(64, 4), Cache(1024, 8))),
    CountedCore(
        "x2",
        "Cortex-X2",
        0xD48,
        "max,sve=off,sme=off",
        f"{_DOT} i8mm bf16",
        has_dot=True,
        caches=(Cache(64, 4), Cache(1024, 8)),
    ),
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
