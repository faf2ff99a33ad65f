"""Which benchmark_model runs: its ABI, its download, and the choice between those at hand."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench import binary
from mobilekit.bench.binary import abi_of, check_abi, download, is_version
from mobilekit.errors import DeviceError, UsageError


def elf(machine: int, bits: int = 64, order: str = "little") -> bytes:
    """Return the head of an ELF file: e_ident, e_type (a shared object), e_machine."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "little" else 2, 1]) + bytes(9)
    return ident + (3).to_bytes(2, order) + machine.to_bytes(2, order) + bytes(44)


# e_machine as the ABIs' own supplements have it: EM_AARCH64 183, EM_ARM 40, EM_X86_64 62, EM_386 3, EM_RISCV 243.
ARM64, ARM, X86_64, X86, RISCV = elf(183), elf(40, 32), elf(62), elf(3, 32), elf(243)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("head", "abi"),
    [
        (ARM64, "arm64-v8a"),
        (ARM, "armeabi-v7a"),
        (X86_64, "x86_64"),
        (X86, "x86"),
        (RISCV, "ELF machine 0xf3"),
        (elf(62, 32), "ELF machine 0x3e"),  # x32
        (elf(8, 32, "big"), "ELF machine 0x8"),
        (ARM64[:19], None),
        (b"\x7fELF", None),
        (b"#!/bin/sh\n", None),
        (b"", None),
        (b"\xcf\xfa\xed\xfe" + bytes(60), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_abi_of_a_program(tmp_path: Path, head: bytes, abi: str | None) -> None:
    assert abi_of(write(tmp_path / "tool", head)) == abi


def test_this_interpreter_is_for_this_machine() -> None:
    from mobilekit.bench.devices.local import LocalDevice

    assert abi_of(Path("/proc/self/exe")) == LocalDevice().facts.abi


@pytest.mark.parametrize(
    ("head", "abi", "fits"),
    [
        (ARM64, "arm64-v8a", True),
        (ARM, "arm64-v8a", True),
        (ARM, "armeabi-v7a", True),
        (X86, "x86_64", True),
        (X86_64, "x86_64", True),
        (ARM64, "armeabi-v7a", False),
        (X86_64, "x86", False),
        (X86_64, "arm64-v8a", False),
        (ARM64, "x86_64", False),
        (RISCV, "arm64-v8a", False),
        (b"#!/bin/sh\n", "arm64-v8a", True),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_a_device_runs_its_own_abi_and_the_narrower_one(tmp_path: Path, head: bytes, abi: str, fits: bool) -> None:
    path = write(tmp_path / "tool", head)
    if fits:
        check_abi(path, abi)
        return
    with pytest.raises(UsageError) as caught:
        check_abi(path, abi)
    assert caught.value.what == f"{path} is for {abi_of(path)}, and the device is {abi}."
    assert caught.value.hint == f"Give a benchmark_model built for {abi}."


@given(content=st.binary(max_size=64))
def test_any_file_is_a_program_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp() / "anything", content)
    try:
        check_abi(path, "arm64-v8a")
    except UsageError as error:
        assert str(path) in error.what
    else:
        assert content.startswith((b"#!", b"\x7fELF"))


def test_what_cannot_be_read_is_no_program(tmp_path: Path) -> None:
    for path in (tmp_path / "gone", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            check_abi(path, "arm64-v8a")
    with pytest.raises(UsageError) as caught:
        check_abi(tmp_path / "gone", "arm64-v8a", "executor_runner")
    assert caught.value.hint == "Give the path of the executor_runner."


@pytest.mark.parametrize("word", ["2.1.0", "2.1.0rc1", "10.20.30", "nightly"])
def test_versions(word: str) -> None:
    assert is_version(word)


@pytest.mark.parametrize("word", ["", "2.1", "benchmark_model", "2.1.0/x", "../2.1.0", "2.1.0 ", "nightly\n", "v2.1.0"])
def test_other_words_are_no_versions(word: str) -> None:
    assert not is_version(word)


class Store(ThreadingHTTPServer):
    """A server of files that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{{version}}/{{machine}}/benchmark_model"


class Handler(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    yield from serve(monkeypatch)


def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """Let downloads come from a server of this process."""
    server = Store()
    server.files["/2.1.0/android_arm64/benchmark_model"] = ARM64
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(binary, "URL", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def fetch(folder: Path, version: str = "2.1.0", system: str = "android", abi: str = "arm64-v8a") -> binary.Binary:
    return download(version, system, abi, folder)


def test_a_download_is_kept_with_its_digest(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tools"
    found = fetch(folder)
    assert found.path.read_bytes() == ARM64
    assert found.source == store.url.format(version="2.1.0", machine="android_arm64")
    (note,) = folder.glob("*.sha256")
    assert note.read_text() == hashlib.sha256(ARM64).hexdigest() + "\n"
    assert fetch(folder) == found
    assert len(store.asked) == 1, "it is there already"


def test_what_changed_on_the_disk_is_fetched_again(store: Store, tmp_path: Path) -> None:
    fetch(tmp_path).path.write_bytes(b"changed")
    assert fetch(tmp_path).path.read_bytes() == ARM64
    assert len(store.asked) == 2


def test_a_file_that_changed_at_its_source_is_refused(store: Store, tmp_path: Path) -> None:
    fetch(tmp_path).path.unlink()
    store.files["/2.1.0/android_arm64/benchmark_model"] = ARM64 + b"and more"
    with pytest.raises(DeviceError) as caught:
        fetch(tmp_path)
    (note,) = tmp_path.glob("*.sha256")
    assert str(note) in caught.value.what and str(note) in caught.value.hint
    assert not [path for path in tmp_path.iterdir() if path.suffix not in (".sha256", ".lock")]
    note.unlink()
    assert fetch(tmp_path).path.read_bytes().endswith(b"and more")


def test_two_devices_fetch_it_once(store: Store, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fetch(tmp_path), range(4)))
    assert len(set(found)) == 1
    assert len(store.asked) == 1


def test_a_version_that_was_not_published(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        fetch(tmp_path, "9.9.9")
    assert "404" in caught.value.what
    assert "--benchmark-binary" in caught.value.hint
    assert not list(tmp_path.glob("*.sha256"))


def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "URL", "http://127.0.0.1:9/{version}/{machine}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DeviceError, match=r"cannot be downloaded from http://127.0.0.1:9/2.1.0/android_arm64"):
        fetch(tmp_path)


@pytest.mark.parametrize(("system", "abi"), [("android", "armeabi-v7a"), ("android", "x86"), ("darwin", "arm64-v8a")])
def test_nothing_is_published_for_other_machines(tmp_path: Path, system: str, abi: str) -> None:
    with pytest.raises(DeviceError, match=f"No benchmark_model is published for {system} on {abi}"):
        fetch(tmp_path, system=system, abi=abi)


def test_a_cache_that_cannot_be_written(tmp_path: Path) -> None:
    write(tmp_path / "file", b"")
    with pytest.raises(DeviceError, match="cannot be downloaded"):
        fetch(tmp_path / "file" / "tools")
