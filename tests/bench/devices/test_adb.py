"""The protocol of the adb server, spoken with a scripted server: every refusal, cut and stall has its own words."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mobilekit.bench.devices import adb, discovery
from mobilekit.bench.devices.adb import AdbConnection
from mobilekit.bench.devices.adb_address import Address, server_address
from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.connection import DeviceLost, DeviceTimeout
from mobilekit.bench.devices.discovery import ListedDevice, list_devices, parse_devices
from mobilekit.bench.devices.select import find_devices
from mobilekit.bench.devices.wire import cut_all
from mobilekit.errors import DeviceError, UsageError

Service = Callable[["Peer"], None]


class Peer:
    """The server's side of one connection."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.file = end.makefile("rb")

    def request(self) -> str:
        length = self.file.read(4)
        return self.file.read(int(length, 16)).decode() if length else ""

    def okay(self, text: str | None = None) -> None:
        self.end.sendall(b"OKAY" + (b"" if text is None else _block(text)))

    def fail(self, reason: str) -> None:
        self.end.sendall(b"FAIL" + _block(reason))

    def packet(self, kind: int, data: bytes) -> None:
        self.end.sendall(struct.pack("<BI", kind, len(data)) + data)

    def sync(self) -> tuple[bytes, bytes]:
        kind, size = struct.unpack("<4sI", self.file.read(8))
        return kind, self.file.read(size) if kind != b"DONE" else b""


BLANK = "adb-1A2B3C4D5E-qWerTy (2)._adb-tls-connect._tcp"


class Server:
    """An adb server with one device, R5X; what the device does with a service is scripted."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.address = Address("127.0.0.1", self.socket.getsockname()[1])
        self.features = "shell_v2,cmd"
        self.listing = "R5X                    device usb:1-2 product:fig model:Ficus_9 device:fig transport_id:1\n"
        self.refusal: str | None = None
        self.service: Service = lambda peer: peer.okay()
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                end, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(end,), daemon=True).start()

    def _answer(self, end: socket.socket) -> None:
        with end:
            peer = Peer(end)
            request = peer.request()
            if request == "host:version":
                peer.okay("0029")
            elif request == "host:devices-l":
                peer.okay(self.listing)
            elif self.refusal is not None:
                peer.fail(self.refusal)
            elif request in ("host-serial:R5X:features", f"host-serial:{BLANK}:features"):
                peer.okay(self.features)
            elif request in ("host:transport:R5X", f"host:transport:{BLANK}"):
                peer.okay()
                self.asked.append(peer.request())
                self.service(peer)


def _block(text: str) -> bytes:
    return f"{len(text.encode()):04x}{text}".encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    yield server
    server.socket.close()


@pytest.fixture
def connection(server: Server) -> AdbConnection:
    return AdbConnection(server.address, "R5X")


def test_a_shell_command(server: Server, connection: AdbConnection) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        peer.packet(1, b"a\r\n")
        peer.packet(2, b"oops \xff\n")
        peer.packet(9, b"a packet of a later version")
        peer.packet(1, "é".encode())
        peer.packet(3, b"\x07")

    server.service = service
    assert connection.shell("cmd 'a b'", 5) == Finished(7, "a\r\né", "oops \ufffd\n")
    assert server.asked == ["shell,v2,raw:cmd 'a b'"]


def test_a_device_whose_serial_number_has_a_blank(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.listing = f"{BLANK} device product:lynx model:Pixel_7a device:lynx transport_id:3\n"

    def service(peer: Peer) -> None:
        peer.okay()
        peer.packet(3, b"\x00")

    server.service = service
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    for word in ("adb", f"adb:{BLANK}"):
        assert len(find_devices(word, str(server.address)).devices) == 1
    assert AdbConnection(server.address, BLANK).shell("true", 5).exit_code == 0


def test_a_device_that_returns_is_found(server: Server, connection: AdbConnection) -> None:
    ready, server.listing = server.listing, ""
    threading.Timer(0.3, lambda: setattr(server, "listing", ready)).start()
    connection.wait(10)
    server.listing = ready.replace(" device ", " unauthorized ")
    with pytest.raises(DeviceLost, match="R5X has not allowed this computer"):
        connection.wait(0.1)
    server.listing = ""
    with pytest.raises(DeviceLost, match=r"R5X did not come back within 0\.1 s"):
        connection.wait(0.1)


def test_ctrl_c_ends_a_wait_in_another_thread(server: Server, connection: AdbConnection) -> None:
    server.listing = ""
    threading.Timer(0.3, cut_all).start()
    begin = time.monotonic()
    with pytest.raises(DeviceLost):
        connection.wait(60)
    assert time.monotonic() - begin < 30


def test_an_old_device_has_a_terminal(server: Server) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        peer.end.sendall(b"out\r\nerr\r\r\nlone \r stays\n")

    server.features, server.service = "cmd", service
    assert AdbConnection(server.address, "R5X").shell("cmd", 5) == Finished(0, "out\nerr\nlone \r stays\n", "")
    assert server.asked == ["shell:cmd"]


def test_a_device_that_goes_in_the_middle(server: Server, connection: AdbConnection) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        peer.packet(1, b"count=50 avg=1\n")
        peer.end.sendall(b"\x01\x99\x00")

    server.service = service
    with pytest.raises(DeviceError, match="R5X was lost in the middle of a command"):
        connection.shell("cmd", 5)


def test_a_silent_device(server: Server, connection: AdbConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        while peer.file.read(1):  # until the client goes
            pass

    server.service = service
    with pytest.raises(DeviceTimeout, match=r"did not answer for 0.3 s"):
        connection.shell("cmd", 0.3)
    monkeypatch.setattr(adb, "_STALL_SECONDS", 0.3)
    with pytest.raises(DeviceTimeout, match=r"did not answer for 0.3 s"):
        connection.push(Path(__file__), "/data/x")
    with pytest.raises(DeviceTimeout, match=r"did not answer for 0.3 s"):
        connection.pull("/data/x")


def test_a_slow_trickle_is_no_excuse(server: Server, connection: AdbConnection) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        with suppress(OSError):  # until the client goes
            while True:
                peer.packet(1, b".")
                time.sleep(0.05)

    server.service = service
    with pytest.raises(DeviceTimeout):
        connection.shell("cmd", 0.3)


def test_a_push_arrives_whole(server: Server, connection: AdbConnection, tmp_path: Path) -> None:
    source = tmp_path / "model.tflite"
    source.write_bytes(bytes(range(251)) * 1000)
    received: list[tuple[bytes, bytes]] = []

    def service(peer: Peer) -> None:
        peer.okay()
        while not received or received[-1][0] != b"DONE":
            received.append(peer.sync())
        peer.end.sendall(struct.pack("<4sI", b"OKAY", 0))

    server.service = service
    connection.push(source, "/data/local/tmp/x")
    assert received[0] == (b"SEND", b"/data/local/tmp/x,33188")  # 0100644
    assert all(len(data) <= 65536 for kind, data in received if kind == b"DATA")
    assert b"".join(data for kind, data in received if kind == b"DATA") == source.read_bytes()


def test_a_push_that_is_refused(server: Server, connection: AdbConnection) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        while peer.sync()[0] != b"DONE":
            pass
        reason = b"couldn't write: No space left on device"
        peer.end.sendall(struct.pack("<4sI", b"FAIL", len(reason)) + reason)

    server.service = service
    with pytest.raises(DeviceError, match=r"R5X cannot take test_adb.py: .*No space left on device"):
        connection.push(Path(__file__), "/data/x")


def test_a_pull(server: Server, connection: AdbConnection) -> None:
    def service(peer: Peer) -> None:
        peer.okay()
        kind, path = peer.sync()
        assert kind == b"RECV"
        if path == b"/none":
            reason = b"open failed: No such file or directory"
            peer.end.sendall(struct.pack("<4sI", b"FAIL", len(reason)) + reason)
            return
        for part in (b"abc", b"\0def"):
            peer.end.sendall(struct.pack("<4sI", b"DATA", len(part)) + part)
        if path == b"/whole":
            peer.end.sendall(struct.pack("<4sI", b"DONE", 0))

    server.service = service
    assert connection.pull("/whole") == b"abc\0def"
    with pytest.raises(DeviceError, match="R5X cannot give /none: open failed: No such file or directory"):
        connection.pull("/none")
    with pytest.raises(DeviceError, match="was lost in the middle of the transfer of /cut"):
        connection.pull("/cut")


@pytest.mark.parametrize(
    ("reason", "what"),
    [
        ("device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "has not allowed this computer"),
        ("device offline", "R5X is offline"),
        ("device 'R5X' not found", "R5X is not there any more"),
        ("device still authorizing", "R5X is still connecting"),
        ("something new", "R5X refused: something new"),
    ],
)
def test_a_device_that_is_refused(server: Server, connection: AdbConnection, reason: str, what: str) -> None:
    server.refusal = reason
    with pytest.raises(DeviceError, match=what) as caught:
        connection.shell("true", 5)
    assert caught.value.hint
    with pytest.raises(DeviceError, match=what):
        AdbConnection(server.address, "R5X")


def test_a_command_that_is_too_long(connection: AdbConnection) -> None:
    with pytest.raises(DeviceError, match="a command of 70013 bytes is too long for adb"):
        connection.shell("x" * 70000, 5)


def test_the_listing(server: Server) -> None:
    assert list_devices(str(server.address)) == [ListedDevice("R5X", "device", "Ficus 9", None)]
    server.listing = ""
    assert list_devices(str(server.address)) == []


def test_a_device_that_is_just_connecting_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, server.listing = server.listing, "R5X authorizing transport_id:1\n"
    threading.Timer(0.3, lambda: setattr(server, "listing", ready)).start()
    assert [each.ready for each in list_devices(str(server.address))] == [True]
    monkeypatch.setattr(discovery, "_SETTLE_SECONDS", 0.1)
    server.listing = "R5X connecting transport_id:1\n"
    assert [each.state for each in list_devices(str(server.address))] == ["connecting"]


def test_states_of_devices() -> None:
    listing = (
        "A device\n"
        "10.0.0.7:5555          offline product:fig transport_id:3\n"
        "B                      unauthorized usb:1-3 transport_id:4\n"
        "????????????           no permissions (user in plugdev group; are your udev rules wrong?); see [http://x.y/z.html]"
        " usb:1-4 transport_id:5\n"
        "C                      recovery usb:1-5\n"
        "\n"
    )
    found = parse_devices(listing)
    assert [(each.serial, each.state) for each in found] == [
        ("A", "device"),
        ("10.0.0.7:5555", "offline"),
        ("B", "unauthorized"),
        ("????????????", "no permissions"),
        ("C", "recovery"),
    ]
    assert [each.ready for each in found] == [True, False, False, False, False]
    assert all(each.hint for each in found[1:])
    assert found[3].message == (
        "This user may not open the USB device ???????????? (user in plugdev group; are your udev rules wrong?)."
    )
    assert found[4].message == "C is in the state 'recovery', not running Android."


def test_serial_numbers_with_blanks() -> None:
    """Names of mDNS have them, where two phones or two starts of one have the same name."""
    name = BLANK
    [ready] = parse_devices(f"{name} device product:lynx model:Pixel_7a device:lynx transport_id:3\n")
    assert ready == ListedDevice(name, "device", "Pixel 7a", None)
    [offline] = parse_devices(f"{name} offline transport_id:3\n")
    assert (offline.serial, offline.state) == (name, "offline")
    [other] = parse_devices("R5X                    hibernating usb:1-5\n")
    assert (other.serial, other.state) == ("R5X", "hibernating"), "a state that nobody knows yet"


def test_a_device_without_a_serial_number() -> None:
    listing = "(no serial number)     device usb:1-1.2 product:fig model:Fig_2 transport_id:1\n"
    for one in (listing, listing.replace("usb:", "")):  # as libusb has it
        [found] = parse_devices(one)
        assert found.message == "A device at USB 1-1.2 has no serial number, so adb cannot address it."
        assert not found.ready and "adb connect" in found.hint


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("detached", "`adb attach 'A B'`"),
        ("bootloader", "`fastboot reboot`"),
        ("recovery", "`adb -s 'A B' reboot`"),
        ("sideload", "`adb -s 'A B' reboot`"),
        ("rescue", "`adb -s 'A B' reboot`"),
        ("host", "no phone"),
    ],
)
def test_each_state_has_a_way_out(state: str, hint: str) -> None:
    [found] = parse_devices(f"A B                    {state} usb:1-1 transport_id:2\n")
    assert found.serial == "A B" and hint in found.hint


def test_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert server_address(None) == Address("127.0.0.1", 5037)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "15037")
    assert server_address(None) == Address("127.0.0.1", 15037)
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", "lab.example")
    assert server_address(None) == Address("lab.example", 15037)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:10.1.2.3:99")
    assert server_address(None) == Address("10.1.2.3", 99)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:99")
    assert server_address(None) == Address("127.0.0.1", 99)
    assert server_address("[::1]:7") == Address("::1", 7)
    assert server_address("[::1]") == Address("::1", 5037)
    assert server_address("host") == Address("host", 5037)
    assert str(Address("::1", 7)) == "[::1]:7"
    assert [Address(host).is_here for host in ("localhost", "::1", "10.1.2.3")] == [True, True, False]
    for wrong in ("host:", "host:x", "host:0", "host:99999"):
        with pytest.raises(UsageError, match="has no TCP port"):
            server_address(wrong)
    monkeypatch.setenv("ADB_SERVER_SOCKET", "localfilesystem:/run/adb")
    with pytest.raises(UsageError, match="localfilesystem"):
        server_address(None)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("127.0.0.1", "Open the tunnel that has this port, or start a server by `adb -P "),
        ("127.0.0.2", "Start it on that machine with `adb -a nodaemon server`"),
    ],
)
def test_a_server_elsewhere_is_never_started(address: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another port of this machine may be a tunnel's, and another address is another machine's."""
    monkeypatch.setattr(discovery, "_start", lambda address: pytest.fail("started"))
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT", raising=False)
    place = f"{address}:{_free_port()}"
    with pytest.raises(DeviceError, match=f"No adb server answers at {place}\\.\n") as caught:
        list_devices(place)
    assert hint in caught.value.hint


def test_only_this_machines_own_server_may_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANDROID_ADB_SERVER_PORT", raising=False)
    asked = [Address(), Address("localhost"), Address(port=5997), Address("10.1.2.3")]
    assert [each.may_be_started for each in asked] == [True, True, False, False]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5997")
    assert [each.may_be_started for each in asked] == [False, False, True, False]


def test_what_listens_may_be_something_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            end, _ = listener.accept()
            with end:
                end.recv(100)
                end.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(DeviceError, match="is no adb server: it does not speak adb's protocol, but said b'HTTP'"):
            list_devices(f"127.0.0.1:{listener.getsockname()[1]}")


def test_a_server_that_cannot_be_started_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "adb"
    program.write_text(
        '#!/bin/sh\n[ "$1" = version ] && exit 0\necho "* daemon not running"\necho "no luck: $*" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("ADBUTILS_ADB_PATH", str(program))
    port = _free_port()
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    with pytest.raises(DeviceError, match=f"adb's server cannot be started: no luck: -P {port} start-server"):
        list_devices(f"127.0.0.1:{port}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
