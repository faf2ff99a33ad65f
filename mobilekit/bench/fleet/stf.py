"""DeviceFarmer STF's REST interface, as far as a phone is leased and given back.

Its paths and answers are those of doc/API.md and lib/units/api/controllers of DeviceFarmer/stf.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import urllib.request
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote

from mobilekit.bench.devices.lock import DeviceBusyError
from mobilekit.bench.fleet.schema import Farm
from mobilekit.errors import DeviceError, UsageError, first_line

_ANSWER_SECONDS = 8.0
"""STF itself waits 5 s for a phone, and then says that it does not respond."""
_MOST_BYTES = 1 << 20
_MOST_LETTERS = 200
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_ERROR = 200, 401, 403, 404, 500
_TOKEN = re.compile(r"[!-~]+")


class FarmError(DeviceError):
    """A farm said no, or did not answer.

    Args:
        what: What happened.
        hint: What to do next.
        status: Of HTTP; None where there was no answer.
    """

    def __init__(self, what: str, hint: str = "", status: int | None = None) -> None:
        super().__init__(what, hint)
        self.status = status

    @property
    def is_open(self) -> bool:
        """Whether what was asked for may be done all the same: there was no answer, or none in time."""
        return self.status is None or self.status >= _SERVER_ERROR


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The token would go along to wherever an answer leads."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        return None


class Stf:
    """A farm, with the token that is in an environment variable.

    Args:
        farm: Which.
        base: The folder that its `ca_file` goes from.

    Raises:
        UsageError: The variable has no token, or the file no certificate.
    """

    def __init__(self, farm: Farm, base: Path) -> None:
        self.url = farm.url.rstrip("/")
        self._variable = farm.token
        self._token = os.environ.get(farm.token, "").strip()
        if not self._token:
            raise UsageError(
                f"The environment variable {farm.token} is not set, which is to have the token of {self.url}.",
                "Make one in STF's Settings, Keys, Access Tokens.",
            )
        if _TOKEN.fullmatch(self._token) is None:  # http.client would show it in its error
            raise UsageError(f"The environment variable {farm.token} has no token: it has blanks or other characters.")
        try:
            context = ssl.create_default_context(cafile=str(base / farm.ca_file) if farm.ca_file else None)
        except OSError as error:  # and ssl.SSLError
            raise UsageError(f"{farm.ca_file} has no certificate: {first_line(error)}.", "It is a PEM file.") from error
        self._opener = urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))

    def look(self, serial: str) -> None:
        """See whether a phone can be leased.

        Raises:
            DeviceBusyError: Somebody uses it.
            DeviceError: It is not connected.
            FarmError: The farm has no such phone, refused, or did not answer.
        """
        path = f"/devices/{quote(serial, safe='')}?fields=present,ready,using,owner"
        found = self._ask("GET", path).get("device")
        phone: dict[str, Any] = found if isinstance(found, dict) else {}
        if owner := phone.get("owner"):
            name = owner.get("name") if isinstance(owner, dict) else None
            raise self._busy(serial, f" by {self._quoted(name)}" if name else "")
        if not (phone.get("present") and phone.get("ready")):
            raise DeviceError(f"{serial} is not connected to {self.url}, or not ready.", "Look at it on that page.")

    def take(self, serial: str, idle_seconds: float) -> None:
        """Lease a phone.

        Raises:
            DeviceBusyError: Somebody uses it.
            FarmError: The farm refused; or it did not answer (see `FarmError.is_open`).
        """
        try:
            self._ask("POST", "/user/devices", {"serial": serial, "timeout": round(1000 * idle_seconds)})
        except FarmError as error:
            if error.status == _FORBIDDEN:  # somebody was quicker
                raise self._busy(serial) from error
            raise

    def connect(self, serial: str) -> str:
        """Return where adb reaches a phone that is leased: HOST:PORT.

        Raises:
            FarmError: The farm refused, or did not answer.
        """
        address = self._ask("POST", f"{self._of(serial)}/remoteConnect").get("remoteConnectUrl")
        if not isinstance(address, str) or re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}", address) is None:
            raise FarmError(
                f"{self.url} gives no address at which adb reaches {serial}.", "Look at its version and log."
            )
        return address

    def disconnect(self, serial: str) -> None:
        """Let adb no longer reach a phone.

        Raises:
            FarmError: The farm refused, or did not answer.
        """
        self._ask("DELETE", f"{self._of(serial)}/remoteConnect")

    def give_back(self, serial: str) -> bool:
        """End a lease; return whether there was one.

        Raises:
            FarmError: The farm refused, or did not answer.
        """
        try:
            self._ask("DELETE", self._of(serial))
        except FarmError as error:
            if error.status in (_FORBIDDEN, _NOT_FOUND):
                return False
            raise
        return True

    def _busy(self, serial: str, by: str = "") -> DeviceBusyError:
        return DeviceBusyError(f"{serial} is in use at {self.url}{by}.", "Wait until that ends.")

    def _of(self, serial: str) -> str:
        return f"/user/devices/{quote(serial, safe='')}"

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - http or https, as the fleet's file was checked for
            f"{self.url}/api/v1{path}", data, headers, method=method
        )
        try:
            status, content = self._send(request)
        except (OSError, HTTPException) as error:
            why = error.reason if isinstance(error, URLError) else error
            raise FarmError(f"{self.url} does not answer: {self._quoted(why)}.", _when_silent(why)) from None
        return self._checked(status, content)

    def _send(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                return answer.status, answer.read(_MOST_BYTES)
        except HTTPError as error:
            with error:
                return error.code, error.read(_MOST_BYTES)

    def _checked(self, status: int, content: bytes) -> dict[str, Any]:
        """Return the JSON object of an answer that says yes."""
        try:
            said = json.loads(content)
        except ValueError:
            said = None
        reply: dict[str, Any] = said if isinstance(said, dict) else {}
        if status == _OK and reply and reply.get("success", True):
            return reply
        words = self._quoted(reply.get("description") or f"HTTP status {status}")
        if status == _UNAUTHORIZED:
            raise FarmError(
                f"{self.url} does not take the token in {self._variable}: {words}.",
                "Make a new one in STF's Settings, Keys, Access Tokens.",
                status,
            )
        hint = "" if reply else "Does its url lead to a DeviceFarmer STF?"
        raise FarmError(f"{self.url} refused: {words}.", hint, status)

    def _quoted(self, told: object) -> str:
        """Return what was said in one line, without the token, whoever says that."""
        words = told if isinstance(told, BaseException) else str(told)
        line = first_line(words).replace(self._token, "***")
        return "".join(letter if letter.isprintable() else " " for letter in line)[:_MOST_LETTERS]


def _when_silent(why: object) -> str:
    if isinstance(why, ssl.SSLCertVerificationError):
        return "`ca_file` of the fleet's file names who signed its certificate."
    return "See that it runs, and may be reached from here."
