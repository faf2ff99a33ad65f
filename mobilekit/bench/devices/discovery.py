"""Which devices the adb server sees, and why one cannot be used."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass

from mobilekit.bench.devices.adb_address import Address, server_address
from mobilekit.bench.devices.adb_states import (
    MAY_RETURN,
    NO_SERIAL,
    PASSING,
    PROBLEMS,
    READY,
    SAID_OF_REFUSALS,
    UNKNOWN_STATE,
    WITHOUT_SERIAL,
)
from mobilekit.bench.devices.connection import DeviceLost
from mobilekit.bench.devices.wire import Refused, Wire
from mobilekit.errors import DeviceError

_ANSWER_SECONDS = 10.0
_START_SECONDS = 20.0
_SETTLE_SECONDS = 3.0
# A serial number may hold blanks (a name of mDNS: "adb-1A2B-xYz (2)._adb-tls-connect._tcp"), and so may the reason of
# `no permissions`: a line is parted at the first word that is a state. One that is not known follows the first word.
_STATES = "|".join(re.escape(state) for state in (READY, *PROBLEMS))
_LINE = re.compile(rf"(?P<serial>\S.*?)\s+(?P<state>{_STATES})(?P<rest>(?:[\s;].*)?)")
_UNKNOWN_LINE = re.compile(r"(?P<serial>\S+)\s+(?P<state>\S+)(?P<rest>.*)")


@dataclass(frozen=True)
class ListedDevice:
    """A device that the adb server sees."""

    serial: str
    state: str
    """adb's word: `device` (ready), `unauthorized`, `offline`, `no permissions`, ..."""
    description: str
    """Its model as adb has it, empty where adb does not know it."""
    message: str | None
    """Why it cannot be used; None: it is ready."""
    hint: str = ""
    """What to do about it."""

    @property
    def ready(self) -> bool:
        """Whether it can be used."""
        return self.message is None


def list_devices(adb_server: str | None = None) -> list[ListedDevice]:
    """Return the devices that the adb server sees, ready or not; this machine's own server is started if need be.

    Args:
        adb_server: HOST:PORT of the server; None leaves it to adb's environment variables.

    Raises:
        DeviceError: No adb server answers, or it cannot be started.
        UsageError: The server's address is none.
    """
    address = server_address(adb_server)
    started = _ensure_running(address)
    deadline = time.monotonic() + _SETTLE_SECONDS
    while True:
        found = parse_devices(ask_server(address, "host:devices-l"))
        settled = (found or not started) and not any(each.state in PASSING for each in found)
        if settled or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def parse_devices(listing: str) -> list[ListedDevice]:
    """Parse the lines of `adb devices -l`."""
    return [_listed(**match.groupdict()) for line in listing.splitlines() if (match := _match(line))]


def _match(line: str) -> re.Match[str] | None:
    return _LINE.fullmatch(line) or _UNKNOWN_LINE.fullmatch(line)


def _listed(serial: str, state: str, rest: str) -> ListedDevice:
    tags = dict(word.split(":", 1) for word in rest.split() if ":" in word) if state == READY else {}
    message, hint = (None, "") if state == READY else _problem(serial, state, rest)
    if serial == NO_SERIAL:
        port = re.search(r"(?:usb:)?\b(\d+-[\d.]+)(?=\s|$)", rest)
        message, hint = WITHOUT_SERIAL[0].format(place=f" at USB {port[1]}" if port else ""), WITHOUT_SERIAL[1]
    return ListedDevice(serial, state, tags.get("model", "").replace("_", " "), message, hint)


def refusal(serial: str, words: str) -> DeviceError:
    """Return the error for what the adb server said when it refused to reach a device; DeviceLost, if it may return."""
    state = next((state for state in SAID_OF_REFUSALS if state in words), None)
    if state is None:
        return DeviceError(f"{serial} refused: {words.strip()}.", "`mobilekit devices` lists what adb sees.")
    return (DeviceLost if state in MAY_RETURN else DeviceError)(*_problem(serial, state, words))


def ask_server(address: Address, request: str) -> str:
    """Return the adb server's answer to one of its own services.

    Raises:
        Refused: It said no.
        DeviceError: It does not answer.
    """
    try:
        with Wire(address, _ANSWER_SECONDS) as wire:
            wire.request(request)
            return wire.read_block()
    except (OSError, EOFError) as error:
        raise DeviceLost(f"The adb server at {address} does not answer: {_words(error)}.", _hint(address)) from error


def _problem(serial: str, state: str, rest: str) -> tuple[str, str]:
    what, hint = PROBLEMS.get(state, UNKNOWN_STATE)
    reason = re.search(r" \(.*?\)", rest)
    words = {"serial": serial, "quoted": shlex.quote(serial), "state": state, "reason": reason[0] if reason else ""}
    return what.format(**words), hint.format(**words)


def _ensure_running(address: Address) -> bool:
    """Start this machine's own adb server unless it runs; return whether it was started."""
    try:
        with Wire(address, _ANSWER_SECONDS) as wire:
            wire.request("host:version")
            wire.read_block()
        return False
    except ConnectionRefusedError as error:
        if not address.may_be_started:
            raise DeviceError(f"No adb server answers at {address}.", _hint_to_start(address)) from error
    except (OSError, EOFError) as error:
        raise DeviceError(f"No adb server answers at {address}: {_words(error)}.", _hint(address)) from error
    except Refused as error:
        raise DeviceError(f"What listens at {address} is no adb server: {error}.", _hint(address)) from error
    _start(address)
    return True


def _start(address: Address) -> None:
    """Start adb's server with the adb on PATH, or else the one that comes with adbutils."""
    from adbutils import AdbError, adb_path  # type: ignore[import-untyped]

    try:
        command = [adb_path(), "-P", str(address.port), "start-server"]
    except AdbError as error:
        raise DeviceError("There is no adb program.", "Install Android's platform tools, or adbutils.") from error
    # -P says it all; these would contradict it.
    hidden = ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as the server lives
        try:
            done = subprocess.run(  # noqa: S603 - adb, with a checked port
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, timeout=_START_SECONDS
            )
        except OSError as error:
            raise DeviceError(f"{command[0]} cannot be run: {error.strerror}.", "Install Android's tools.") from error
        except subprocess.TimeoutExpired as error:
            raise DeviceError("adb's server cannot be started: it took too long.", _hint(address)) from error
        if done.returncode != 0:
            output.seek(0)
            words = output.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise DeviceError(f"adb's server cannot be started: {words[-1]}.", _hint(address))


def _hint(address: Address) -> str:
    if address.is_here:
        return f"`adb -P {address.port} kill-server` ends one that hangs."
    return "Start it on that machine with `adb -a nodaemon server`, and see that its port may be reached."


def _hint_to_start(address: Address) -> str:
    if address.is_here:
        return f"Open the tunnel that has this port, or start a server by `adb -P {address.port} start-server`."
    return _hint(address)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it took too long"
    return getattr(error, "strerror", None) or "it closed the connection"
