"""Which phone it is that answers: adb lists one phone twice or three times, by USB, by HOST:PORT and by mDNS.

A phone is told by its serial number, by the number that its kernel made up when it started, and by where its folder
for programs lies, as containers on one machine share a kernel. All are the same whichever way it is reached.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from mobilekit.bench.devices.discovery import ListedDevice

BOOT = "/proc/sys/kernel/random/boot_id"
READ_IDENTITY = f"""echo "ro.serialno=$(getprop ro.serialno 2>/dev/null)"
read -r boot 2>/dev/null <{BOOT} && echo "boot=$boot"
echo "place=$(stat -c %d:%i /data/local/tmp 2>/dev/null)"
"""
"""Prints `NAME=VALUE` lines, empty where the device does not say."""


def identity_of(said: Mapping[str, str]) -> str | None:
    """Return what no other phone has, 16 hexadecimal digits; None where the device says neither number.

    Args:
        said: What `READ_IDENTITY` printed, by name.
    """
    if not (said.get("boot") or said.get("ro.serialno")):
        return None
    parts = " ".join(said.get(name, "") for name in ("ro.serialno", "boot", "place"))
    return hashlib.sha256(parts.encode()).hexdigest()[:16]


def one_name_each(
    found: Sequence[ListedDevice], identify: Callable[[ListedDevice], str | None]
) -> tuple[list[ListedDevice], list[str]]:
    """Leave out the further names of phones that have several.

    Of a phone's names the one of its USB cable stays, as transfers are quicker there, or else the first.

    Args:
        found: What the adb server sees.
        identify: Asks a ready device who it is.

    Returns:
        The devices with one name each, and a sentence for each phone that has more.
    """
    ready = [each for each in found if each.ready]
    if len(ready) < 2:
        return list(found), []
    names: dict[str, list[ListedDevice]] = {}
    for each in sorted(ready, key=_is_wireless):
        names.setdefault(identify(each) or f"serial {each.serial}", []).append(each)
    further = [each for first, *others in names.values() for each in others]
    notes = [
        f"{' and '.join(each.serial for each in group)} are one phone: {group[0].serial} is used."
        for group in names.values()
        if len(group) > 1
    ]
    return [each for each in found if each not in further], notes


def _is_wireless(device: ListedDevice) -> bool:
    return ":" in device.serial or "._adb" in device.serial
