"""The device's paths and the host's: what lies at /x on the device lies at ROOT/x here."""

from __future__ import annotations

import os
import re
from pathlib import Path

_SAFE = re.compile(r"/[\w/.-]*[\w.-]")
# The folders that a command may name: those of a device, and those of this machine that no device has. The device's
# /proc has a few files of its own; the processes there are the host's, but for the shell's program.
_FOLDERS = (
    "data|sdcard|storage|sys|system|vendor|etc|home|opt|root|run|tmp|usr|var|proc/(?:cpuinfo|meminfo|version|self/exe)"
)
_SHELL_PROGRAM = "/proc/$$/exe"
_IN_COMMANDS = re.compile(rf"(?<![\w./*?~)}}-])(?=/(?:{_FOLDERS})(?![\w.-]))")


class Paths:
    """Maps paths, commands and output between the device and the folder `root`.

    Raises:
        ValueError: The name of `root` holds characters that mean something to a shell.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        if not _SAFE.fullmatch(str(self.root)):
            raise ValueError(f"{self.root} cannot stand in a shell command as it is")

    def to_host(self, path: str) -> Path:
        """Return the place of a path of the device; `..` does not lead out of the root."""
        return Path(f"{self.root}{os.path.normpath('/' + path.lstrip('/'))}")

    def command_to_host(self, command: str) -> str:
        """Return a command in which the device's folders are those under the root."""
        return _IN_COMMANDS.sub(str(self.root), command.replace(_SHELL_PROGRAM, "/proc/self/exe"))

    def output_filter(self) -> OutputFilter:
        """Return a filter for one stream of output."""
        return OutputFilter(str(self.root).encode())


class OutputFilter:
    """Takes the root out of output that arrives in pieces: ROOT/x becomes /x, and ROOT alone becomes /."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._pattern = re.compile(re.escape(root) + rb"/?")
        self._held = b""
        self._ended_with_root = False

    def feed(self, data: bytes) -> bytes:
        """Return what is sure of the output so far; an end that could be the root's beginning waits."""
        data = self._held + data
        longest = min(len(self._root) - 1, len(data))
        held = next((size for size in range(longest, 0, -1) if data.endswith(self._root[:size])), 0)
        self._held = data[len(data) - held :]
        return self._replaced(data[: len(data) - held])

    def flush(self) -> bytes:
        """Return what waited."""
        data, self._held = self._held, b""
        return self._replaced(data)

    def _replaced(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._ended_with_root and data.startswith(b"/"):
            data = data[1:]  # the root was shown as a slash already
        self._ended_with_root = data.endswith(self._root)
        return self._pattern.sub(b"/", data)
