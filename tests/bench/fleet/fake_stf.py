"""A DeviceFarmer STF without phones of its own: the part of its REST interface that leases one, with its state.

Paths, statuses and words are those of lib/units/api/controllers of DeviceFarmer/stf.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

TOKEN = "0123456789abcdef" * 4
ME = {"email": "me@example.org", "name": "Me"}
_NO_DEVICE = (404, {"success": False, "description": "Device not found"})


@dataclass
class Phone:
    """A phone of the farm."""

    address: str
    """Where adb reaches it once it is connected."""
    present: bool = True
    owner: dict[str, str] | None = None
    connected: bool = False
    timeout: int | None = None
    """What the lease asked for, in ms."""


@dataclass
class FakeStf:
    """A farm that listens on a port of this machine while the block lasts."""

    phones: dict[str, Phone]
    asked: list[str] = field(default_factory=list)
    """Each request: `POST /user/devices`."""
    answers: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    """What is answered to a request in place of what is right; status 0 hangs up."""
    on: dict[str, Callable[[], None]] = field(default_factory=dict)
    """What else happens once a request is done."""
    certificate: Path | None = None
    """PEM file with key and certificate, to speak TLS."""

    def __enter__(self) -> FakeStf:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http{'s' if self.certificate else ''}://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def end_lease(self, serial: str) -> None:
        """Take a phone back from whoever has it, as after too long without use."""
        self.phones[serial].owner, self.phones[serial].connected = None, False

    def answer(self, method: str, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        """Do what a request with the right token asks for."""
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[0] == "devices":
            phone = self.phones.get(parts[1])
            return (200, {"success": True, "device": _seen(phone)}) if phone else _NO_DEVICE
        serial = body["serial"] if body else parts[2]
        phone = self.phones.get(serial)
        if phone is None:
            return _NO_DEVICE
        if method == "POST" and len(parts) == 2:
            if phone.owner or not phone.present:
                return 403, {"success": False, "description": "Device is being used or not available"}
            phone.owner, phone.timeout = ME, body.get("timeout")
            return 200, {"success": True, "description": "Device successfully added"}
        if phone.owner != ME:
            return 403, {"success": False, "description": "Device is not owned by you or is not available"}
        if method == "POST":
            phone.connected = True
            return 200, {"success": True, "remoteConnectUrl": phone.address}
        if len(parts) == 3:
            self.end_lease(serial)
        phone.connected = False
        return 200, {"success": True, "description": "Device successfully removed"}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        farm = self

        class Handler(BaseHTTPRequestHandler):
            def _do(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                path = self.path.removeprefix("/api/v1")
                request = f"{self.command} {path.partition('?')[0]}"
                farm.asked.append(request)
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, said = 401, {"success": False, "description": "Bad Credentials"}
                elif request in farm.answers:
                    status, said = farm.answers[request]
                else:
                    status, said = farm.answer(self.command, path, body)
                farm.on.get(request, lambda: None)()
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(said).encode()
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", said["to"])
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_DELETE = _do  # noqa: N815

            def log_message(self, *_words: object) -> None:
                pass

        return Handler


def _seen(phone: Phone) -> dict[str, Any]:
    return {
        "present": phone.present,
        "ready": phone.present,
        "owner": phone.owner,
        "using": phone.owner == ME,
    }
