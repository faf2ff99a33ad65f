"""ABIs as Android names them: data alone."""

from __future__ import annotations

BY_MACHINE = {
    "aarch64": "arm64-v8a",
    "arm64": "arm64-v8a",
    "armv7l": "armeabi-v7a",
    "armv8l": "armeabi-v7a",
    "x86_64": "x86_64",
    "amd64": "x86_64",
    "i686": "x86",
    "i386": "x86",
}
"""By what `uname -m` says, in lower case."""
UNKNOWN = "unknown"
"""Of a device that does not say."""
