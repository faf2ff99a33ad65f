"""What an Android device says of itself: one shell command for what stays, one for what changes.

The commands print lines `NAME=VALUE`, NAME a property or a file; what the device does not have is not printed, or
empty. An answer is None then, never an error.
"""

from __future__ import annotations

import re
from typing import Literal

from mobilekit.bench.devices.abis import BY_MACHINE, UNKNOWN
from mobilekit.bench.devices.base import Core, DeviceFacts, DeviceState
from mobilekit.bench.devices.identity import READ_IDENTITY

_CPU = "/sys/devices/system/cpu"
_PROPERTIES = (
    "ro.product.cpu.abi",
    "ro.product.model",
    "ro.soc.manufacturer",
    "ro.soc.model",
    "ro.board.platform",
    "ro.build.version.release",
    "ro.build.fingerprint",
    "ro.hardware",
    "ro.kernel.qemu",
    "ro.boot.qemu",
)
_SECTION = re.compile(r"^section=(\w+)\n", re.MULTILINE)
_COLDEST, _HOTTEST = -40.0, 100.0  # degrees Celsius; what lies beyond is a driver's word for "unknown"
# By the wakefulness that `dumpsys power` has (AOSP, PowerManagerInternal); one that dozes shows a dim clock at most.
_SCREENS: dict[str, Literal["on", "off"]] = {"Awake": "on", "Dreaming": "on", "Asleep": "off", "Dozing": "off"}
_EMULATORS = ("goldfish", "ranchu")
# By the 19th byte of a program, the low one of e_machine (System V gABI 4.1), as text: 0x3E x86-64, 0x03 x86, 0x28 ARM;
# 0xB7, AArch64, is not UTF-8.
_MACHINES = {">": "x86", "\x03": "x86", "(": "arm", "\ufffd": "arm"}

_BOARD = "/proc/device-tree/model"

READ_FACTS = f"""for name in {" ".join(_PROPERTIES)}; do echo "$name=$(getprop $name 2>/dev/null)"; done
{READ_IDENTITY}echo "machine-name=$(uname -m 2>/dev/null)"; echo "kernel=$(uname -r 2>/dev/null)"
[ -r {_BOARD} ] && echo "board=$(tr -d '\\000' <{_BOARD})"
for name in {_CPU}/present {_CPU}/online {_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq \\
  {_CPU}/cpu[0-9]*/cpufreq/scaling_governor; do
  [ -r "$name" ] && read -r value <"$name" && echo "$name=$value"
done 2>/dev/null
while read -r line; do case $line in vendor_id*) echo "vendor=$line"; break;; esac; done 2>/dev/null </proc/cpuinfo
echo -n machine=; head -c 19 /proc/$$/exe 2>/dev/null; echo
"""

READ_STATE = f"""echo "section=thermal"; dumpsys thermalservice 2>/dev/null
echo "section=battery"; dumpsys battery 2>/dev/null
echo "section=power"
dumpsys power 2>/dev/null | while read -r line; do case $line in mWakefulness=*) echo "$line"; break;; esac; done
echo "section=frequencies"
for name in {_CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq; do
  [ -r "$name" ] && read -r value <"$name" && echo "$name=$value"
done 2>/dev/null
"""


def parse_facts(answer: str, serial: str) -> DeviceFacts:
    """Parse what `READ_FACTS` printed."""
    said = parse_values(answer)
    maker, chip = said.get("ro.soc.manufacturer"), said.get("ro.soc.model")
    abi = _abi(said)
    return DeviceFacts(
        name=f"adb:{serial}",
        model=said.get("ro.product.model") or said.get("board") or serial,
        abi=abi,
        soc=" ".join(filter(None, (maker, chip))) if chip else said.get("ro.board.platform"),
        os=_system(said),
        fingerprint=said.get("ro.build.fingerprint"),
        cores=_cores(said),
        governor=_governor(said),
        emulated=_is_emulated(said, abi),
    )


def _abi(said: dict[str, str]) -> str:
    """Return the ABI that Android names, or else that of the kernel, and of the shell where that is narrower."""
    abi = said.get("ro.product.cpu.abi") or BY_MACHINE.get(said.get("machine-name", "").lower(), UNKNOWN)
    narrow = abi == "arm64-v8a" and "ro.product.cpu.abi" not in said and said.get("machine", "")[-1:] == "("
    return "armeabi-v7a" if narrow else abi


def _system(said: dict[str, str]) -> str:
    """Return `Android 14`, or of a board that has adb and no Android `Linux 6.1.0`."""
    if not any(name.startswith("ro.") for name in said):
        return f"Linux {said['kernel']}" if "kernel" in said else "unknown"
    return f"Android {said['ro.build.version.release']}" if "ro.build.version.release" in said else "Android"


def parse_state(answer: str, cores: tuple[Core, ...]) -> DeviceState:
    """Parse what `READ_STATE` printed."""
    parts = _SECTION.split(answer)[1:]
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    thermal, battery, power, frequencies = (
        sections.get(name, "") for name in ("thermal", "battery", "power", "frequencies")
    )
    level, scale = _number(r"level", battery), _number(r"scale", battery)
    celsius = _celsius(battery)
    if re.search(r"^\s*present: false", battery, re.MULTILINE):
        level = celsius = None
    said = parse_values(frequencies)
    return DeviceState(
        thermal_status=_thermal_status(thermal),
        battery_percent=None if level is None else round(100 * level / (scale or 100)),
        battery_celsius=celsius,
        frequencies_khz=tuple(_kilohertz(said, core.index, "scaling_cur_freq") for core in cores),
        screen=_SCREENS.get(parse_values(power).get("mWakefulness", "")),
    )


def _thermal_status(answer: str) -> int | None:
    """Return the status that somebody measures: without a driver ("HAL") it is 0 for ever, unless set by hand."""
    idle = re.search(r"^\s*HAL Ready: false", answer, re.MULTILINE)
    set_by_hand = re.search(r"^\s*IsStatusOverride: true", answer, re.MULTILINE)
    return None if idle and not set_by_hand else _number(r"Thermal Status", answer)


def _celsius(battery: str) -> float | None:
    """Return the temperature of a battery, which says it in tenths; None for one that no battery has."""
    tenths = _number(r"temperature", battery)
    return None if tenths is None or not _COLDEST <= tenths / 10 <= _HOTTEST else tenths / 10


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Parse the kernel's lists of processors, as `0-3,6`."""
    indices: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            indices.extend(range(int(first), int(last or first) + 1))
    return tuple(indices)


def parse_values(answer: str) -> dict[str, str]:
    """Parse lines `NAME=VALUE`; empty values are left out."""
    pairs = (line.partition("=") for line in answer.splitlines())
    return {name.strip(): value.strip(" \t\r\n") for name, equals, value in pairs if equals and value.strip(" \t\r\n")}


def _cores(said: dict[str, str]) -> tuple[Core, ...]:
    present = parse_cpu_list(said.get(f"{_CPU}/present", ""))
    online = parse_cpu_list(said.get(f"{_CPU}/online", ""))
    if not present:
        matches = (re.match(rf"{_CPU}/cpu(\d+)/", name) for name in said)
        present = tuple(sorted({int(match[1]) for match in matches if match}))
    return tuple(
        Core(index, _kilohertz(said, index, "cpuinfo_max_freq"), index in online if online else None)
        for index in present
    )


def _kilohertz(said: dict[str, str], index: int, name: str) -> int | None:
    value = said.get(f"{_CPU}/cpu{index}/cpufreq/{name}", "")
    return int(value) if value.isdecimal() else None


def _governor(said: dict[str, str]) -> str | None:
    """Return the governor; clusters may have different ones."""
    return ", ".join(sorted({value for name, value in said.items() if name.endswith("/scaling_governor")})) or None


def _is_emulated(said: dict[str, str], abi: str) -> bool:
    """Return whether another machine translates the device's instructions.

    Android's emulator says so in its properties. Translation of single programs, as by qemu-user, shows in the file
    that the kernel runs for the shell: a program for another processor than the device's ABI names. An ARM device whose
    /proc/cpuinfo has `vendor_id`, a line of x86 only, is translated as well.
    """
    if "1" in (said.get("ro.kernel.qemu"), said.get("ro.boot.qemu")) or said.get("ro.hardware") in _EMULATORS:
        return True
    family = "arm" if abi.startswith("arm") else "x86" if abi.startswith("x86") else None
    machine = _MACHINES.get(said.get("machine", "")[-1:])
    if family and machine and machine != family:
        return True
    return family == "arm" and "vendor" in said


def _number(name: str, text: str) -> int | None:
    match = re.search(rf"^\s*{name}:\s*(-?\d+)", text, re.MULTILINE)
    return int(match[1]) if match else None
