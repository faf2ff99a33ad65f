"""Which benchmark_model runs on a device: one that is named, one that is there, or one that is downloaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from mobilekit.bench.devices.abis import UNKNOWN
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.files import sha256_of, write_atomic

# Where LiteRT's own builds are, by version and machine; the package litert-cli fetches them from there.
URL = "https://storage.googleapis.com/litert/binaries/{version}/{machine}/benchmark_model"
_LATEST = "nightly"
_MACHINES = {
    ("android", "arm64-v8a"): "android_arm64",
    ("linux", "x86_64"): "linux_x86_64",
    ("linux", "arm64-v8a"): "linux_arm64",
}
# e_machine of the ELF header (System V ABI, gABI 4.1), and its class (1: 32 bits, 2: 64 bits).
_ELF = {(0xB7, 2): "arm64-v8a", (0x28, 1): "armeabi-v7a", (0x3E, 2): "x86_64", (0x03, 1): "x86"}
_RUNS_ALSO = {"arm64-v8a": ("armeabi-v7a",), "x86_64": ("x86",)}


@dataclass(frozen=True)
class Binary:
    """A benchmark_model on this machine, and where it is from."""

    path: Path
    source: str
    version: str | None = None
    """Of LiteRT, where it is known."""


def is_version(word: str) -> bool:
    """Tell whether a word names a version of LiteRT, and not a file."""
    return re.fullmatch(rf"\d+\.\d+\.\d+\w*|{_LATEST}", word) is not None


def abi_of(path: Path, what: str = "benchmark_model") -> str | None:
    """Return the ABI of an ELF program, None for another kind of file (a script has none).

    Args:
        path: The file.
        what: It is to be.

    Raises:
        UsageError: There is no such file.
    """
    try:
        with path.open("rb") as file:
            head = file.read(20)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", f"Give the path of the {what}.") from error
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _ELF.get((machine, head[4]), f"ELF machine {machine:#x}")


def check_abi(path: Path, abi: str, what: str = "benchmark_model") -> None:
    """Refuse a program that the device cannot run, before it is pushed; one that does not tell its ABI may try any.

    Raises:
        UsageError: It is for another ABI, or no program.
    """
    found = abi_of(path, what)
    if found is None:
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                return
        raise UsageError(f"{path} is not a program.", f"Give a {what} built for the device.")
    if abi != UNKNOWN and found != abi and found not in _RUNS_ALSO.get(abi, ()):
        raise UsageError(f"{path} is for {found}, and the device is {abi}.", f"Give a {what} built for {abi}.")


def download(version: str, system: str, abi: str, folder: Path) -> Binary:
    """Fetch a published benchmark_model into the cache, once.

    No digest is published with it. The digest of the first download is kept beside the file, and what is found or
    fetched later must have it.

    Args:
        version: Of LiteRT, as `2.1.0`.
        system: `android` or `linux`.
        abi: As Android names it.
        folder: Where it is kept.

    Raises:
        DeviceError: None is published for the device, or the download failed, or the digest is another one.
    """
    import pooch

    instead = "Give a file with --benchmark-binary, or put one at /data/local/tmp/benchmark_model on the device."
    machine = _MACHINES.get((system, abi))
    if abi == UNKNOWN:
        raise DeviceError("The device does not say which ABI it has, so no benchmark_model can be chosen.", instead)
    if machine is None:
        raise DeviceError(f"No benchmark_model is published for {system} on {abi}.", instead)
    url = URL.format(version=version, machine=machine)
    name = f"benchmark_model-{version}-{machine}"
    note = folder / f"{name}.sha256"
    pooch.get_logger().setLevel("ERROR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{name}.lock"):  # several devices may want it at once
            known = f"sha256:{note.read_text().strip()}" if note.exists() else None
            path = Path(pooch.retrieve(url, known_hash=known, fname=name, path=folder))
            if known is None:
                write_atomic(note, f"{sha256_of(path)}\n")
    except ValueError as error:
        raise DeviceError(
            f"{url} has not the SHA-256 in {note}.", f"Remove {note} and {name} beside it to take what is there now."
        ) from error
    except OSError as error:
        raise DeviceError(f"benchmark_model cannot be downloaded from {url}: {error}.", instead) from error
    return Binary(path, url, None if version == _LATEST else version)
