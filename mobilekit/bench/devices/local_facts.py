"""What this machine says of itself. What a system does not say is None; Linux says the most."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from mobilekit.bench.devices.abis import BY_MACHINE
from mobilekit.bench.devices.android_facts import parse_cpu_list
from mobilekit.bench.devices.base import Core, DeviceFacts, DeviceState

_SYSTEM = Path("/sys")
_PROCESSES = Path("/proc")
# The low byte of e_machine (System V gABI 4.1).
_MACHINES = {0x3E: "x86", 0x03: "x86", 0x28: "arm", 0xB7: "arm"}


def read_facts() -> DeviceFacts:
    """Read what does not change."""
    machine = platform.machine()
    abi = BY_MACHINE.get(machine.lower(), machine or "unknown")
    information = _read(_PROCESSES / "cpuinfo") or ""
    processor = re.search(r"^(?:model name|Hardware|Model)\s*:\s*(.+)$", information, re.MULTILINE)
    name = processor[1].strip() if processor else platform.processor() or machine
    board = _read(_PROCESSES / "device-tree" / "model") or _read(_SYSTEM / "class/dmi/id/product_name")
    return DeviceFacts(
        name="local",
        model=board or name or "unknown",
        abi=abi,
        soc=name or None,
        os=f"{platform.system()} {platform.release()}".strip(),
        fingerprint=None,
        cores=_read_cores(),
        governor=_read_governor(),
        emulated=_is_emulated(abi, information),
    )


def read_state(cores: tuple[Core, ...]) -> DeviceState:
    """Read what changes."""
    batteries = sorted(_SYSTEM.glob("class/power_supply/BAT*"))
    level = _read_number(batteries[0] / "capacity") if batteries else None
    tenths = _read_number(batteries[0] / "temp") if batteries else None
    return DeviceState(
        thermal_status=None,
        battery_percent=level,
        battery_celsius=None if tenths is None else tenths / 10,
        frequencies_khz=tuple(_read_number(_frequencies(core.index) / "scaling_cur_freq") for core in cores),
    )


def _read_cores() -> tuple[Core, ...]:
    present = parse_cpu_list(_read(_SYSTEM / "devices/system/cpu/present") or "")
    indices = present or tuple(range(os.cpu_count() or 0))
    return tuple(Core(index, _read_number(_frequencies(index) / "cpuinfo_max_freq")) for index in indices)


def _read_governor() -> str | None:
    """Return the governor; clusters may have different ones."""
    files = _SYSTEM.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    return ", ".join(sorted({text for file in files if (text := _read(file))})) or None


def _frequencies(index: int) -> Path:
    return _SYSTEM / f"devices/system/cpu/cpu{index}/cpufreq"


def _is_emulated(abi: str, information: str) -> bool:
    """Return whether another machine translates our instructions; see `android_facts` for how it shows.

    The file that the kernel runs for us is looked at by another program: qemu-user would show us ours. QEMU without
    the processor's help names its processor TCG.
    """
    if "QEMU TCG" in information:
        return True
    family = "arm" if abi.startswith("arm") else "x86" if abi.startswith("x86") else None
    try:
        head = subprocess.run(  # noqa: S603 - a fixed program and our own process's file
            ["head", "-c", "20", f"{_PROCESSES}/{os.getpid()}/exe"],  # noqa: S607 - any head will do
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=10,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = _MACHINES.get(head[18]) if len(head) == 20 and head.startswith(b"\x7fELF") else None
    return family is not None and found is not None and found != family


def _read(path: Path) -> str | None:
    """Return a small file's text, None where there is none or it is empty."""
    try:
        return path.read_text(errors="replace").strip(" \t\r\n\0") or None
    except OSError:
        return None


def _read_number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None
