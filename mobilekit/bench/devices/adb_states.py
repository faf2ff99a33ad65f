"""The words of adb's lists of devices, and what to do about each: data alone.

The states are those of `to_string(ConnectionState)` in AOSP's packages/modules/adb/adb.cpp.
"""

from __future__ import annotations

READY = "device"
NO_PERMISSIONS = "no permissions"
PASSING = ("authorizing", "connecting")
"""A device passes through these while it is being found."""
NO_SERIAL = "(no serial number)"
"""What stands in the list in place of a serial number that a device does not have."""

_OTHER_SYSTEM = "{serial} is in the state {state!r}, not running Android."
_REBOOT = "Start Android on it, for example with `adb -s {quoted} reboot`."

PROBLEMS: dict[str, tuple[str, str]] = {
    "unauthorized": (
        "{serial} has not allowed this computer to debug it.",
        'Unlock its screen, accept "Allow USB debugging?", and try again.',
    ),
    "offline": (
        "{serial} is offline: it is connected but does not answer.",
        "Plug it in again, or run `adb reconnect offline`.",
    ),
    NO_PERMISSIONS: (
        "This user may not open the USB device {serial}{reason}.",
        "Install udev rules for it (android-sdk-platform-tools-common), run `adb kill-server`, and plug it in again.",
    ),
    "authorizing": ("{serial} is still connecting.", "Unlock its screen, and try again in a few seconds."),
    "connecting": ("{serial} is still connecting.", "Try again in a few seconds."),
    "not found": ("{serial} is not there any more.", "Plug it in again; `mobilekit devices` lists what adb sees."),
    "detached": ("{serial} is detached: adb has let go of it.", "Run `adb attach {quoted}`."),
    "bootloader": (_OTHER_SYSTEM, "Start Android on it, for example with `fastboot reboot`."),
    "recovery": (_OTHER_SYSTEM, _REBOOT),
    "rescue": (_OTHER_SYSTEM, _REBOOT),
    "sideload": (_OTHER_SYSTEM, _REBOOT),
    "host": (_OTHER_SYSTEM, "It is another computer's adb, and no phone: name another device with --device."),
}
"""For each state: what is the matter with {serial}, and what to do. {reason} is adb's own, in brackets."""
SAID_OF_REFUSALS = ("unauthorized", "offline", NO_PERMISSIONS, "authorizing", "connecting", "not found")
"""Those that adb's server names when it does not reach a device."""
MAY_RETURN = ("offline", "authorizing", "connecting", "not found")
"""Those of a device that was there a moment ago, and may be again in another."""
UNKNOWN_STATE = (_OTHER_SYSTEM, _REBOOT)
WITHOUT_SERIAL = (
    "A device{place} has no serial number, so adb cannot address it.",
    "Plug it in again or start it anew; if it stays so, reach it by Wi-Fi with `adb connect HOST:PORT`.",
)
"""{place} is where it is plugged in, as far as adb tells."""
