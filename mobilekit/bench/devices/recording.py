"""A whole conversation with a device, written down line by line, and a connection that repeats it without the device.

A recording is a folder for each device with one file of JSON lines: a header, then one line for each exchange, in
order. A replay gives each recorded answer to the question that it answered, and to no other.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from mobilekit.bench.devices.base import Finished
from mobilekit.bench.devices.connection import Connection, DeviceLost, DeviceTimeout, NotRecorded
from mobilekit.bench.devices.names import Session, unique_safe_name
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.files import sha256_of

FILE = "conversation.jsonl"
FORMAT = 2
_AGAIN = "A recording answers only what was asked then: the same files and settings, by the same version of mobilekit."
_EXCERPT = 60
_REMAKE = "Record it again: `mobilekit bench ... --record DIR`."
_ERRORS = {each.__name__: each for each in (DeviceError, DeviceLost, DeviceTimeout)}

T = TypeVar("T")


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


_AnyLine = TypeVar("_AnyLine", bound=_Line)


class _Header(_Line):
    serial: str
    features: list[str]
    seed: str
    owner: str
    who: str = ""


class _Error(_Line):
    kind: str
    what: str
    hint: str


class _Exchange(_Line):
    question: dict[str, Any]
    answer: Finished | str | None = None
    """Of a shell, of a pull in base64, of a push."""
    error: _Error | None = None


class RecordingConnection(Connection):
    """Passes everything on to another connection, and writes it down.

    Each exchange is on the disk when its answer is given, so what an interruption leaves can be replayed as well.

    Args:
        inner: The connection that reaches the device.
        session: What the session's names are made from; a replay needs it.
        folder: Recordings; that of the device gets a folder of its own there.

    Raises:
        UsageError: There is a recording of this device already, or the folder cannot be written.
    """

    def __init__(self, inner: Connection, session: Session, folder: Path) -> None:
        from mobilekit import __version__

        self._inner = inner
        self.serial = inner.serial
        self.features = inner.features
        self._path = folder / unique_safe_name(inner.serial) / FILE
        header = {
            "format": FORMAT,
            "mobilekit": __version__,
            "serial": inner.serial,
            "features": sorted(inner.features),
            "seed": session.seed,
            "owner": session.owner,
            "who": session.who,
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(header) + "\n")
        except FileExistsError as error:
            raise UsageError(f"There is a recording at {self._path} already.", "Record into another folder.") from error
        except OSError as error:
            raise UsageError(f"{self._path} cannot be written: {error.strerror}.") from error

    def shell(self, command: str, timeout: float) -> Finished:
        """Run a command; see `Connection.shell`."""
        question = {"do": "shell", "command": command}
        return self._record(question, lambda: self._inner.shell(command, timeout), asdict)

    def push(self, source: Path, target: str) -> None:
        """Copy a file to the device; see `Connection.push`. Its digest is written down, not its content."""
        self._record(_push(source, target), lambda: self._inner.push(source, target), lambda _: None)

    def pull(self, path: str) -> bytes:
        """Return the content of a file; see `Connection.pull`."""
        question = {"do": "pull", "path": path}
        return self._record(question, lambda: self._inner.pull(path), lambda data: base64.b64encode(data).decode())

    def wait(self, seconds: float) -> None:
        """Wait for the device; see `Connection.wait`."""
        self._record({"do": "wait", "seconds": seconds}, lambda: self._inner.wait(seconds), lambda _: None)

    def _record(self, question: dict[str, Any], act: Callable[[], T], encode: Callable[[T], Any]) -> T:
        try:
            answer = act()
        except DeviceError as error:
            words = {"kind": type(error).__name__, "what": error.what, "hint": error.hint}
            self._write({"question": question, "error": words})
            raise
        except BaseException:  # Ctrl-C
            words = {"kind": "DeviceError", "what": "The recording was interrupted here.", "hint": "Record it again."}
            self._write({"question": question, "error": words})
            raise
        self._write({"question": question, "answer": encode(answer)})
        return answer

    def _write(self, exchange: dict[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(exchange) + "\n")


class ReplayConnection(Connection):
    """Answers from a recording, without a device.

    Args:
        path: The recording's file.

    Raises:
        DeviceError: It is no recording, or only a part of one.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        first, *others = _load(path)
        if not isinstance(first, dict) or first.get("format") != FORMAT:
            raise DeviceError(f"{path} is no recording that this version of mobilekit reads.", _REMAKE)
        header = self._read(_Header, first, 1)
        self._exchanges = [self._read(_Exchange, line, number) for number, line in enumerate(others, 2)]
        self.serial, self.features = header.serial, frozenset(header.features)
        self.session = Session(header.seed, header.owner, header.who)
        self._place = 0

    def shell(self, command: str, timeout: float) -> Finished:
        """Return the recorded answer; see `Connection.shell`."""
        return self._answer({"do": "shell", "command": command}, Finished)

    def push(self, source: Path, target: str) -> None:
        """See that the same file was sent to the same place; see `Connection.push`."""
        self._answer(_push(source, target), type(None))

    def pull(self, path: str) -> bytes:
        """Return the recorded content; see `Connection.pull`."""
        question = {"do": "pull", "path": path}
        try:
            return base64.b64decode(self._answer(question, str))
        except ValueError as error:
            raise self._damaged(self._place + 1) from error

    def wait(self, seconds: float) -> None:
        """Return at once where the device came back; see `Connection.wait`."""
        self._answer({"do": "wait", "seconds": seconds}, type(None))

    def _answer(self, question: dict[str, Any], kind: type[T]) -> T:
        """Return the recorded answer, which is of this kind."""
        if self._place == len(self._exchanges):
            raise NotRecorded(f"The recording {self._path} ends before this: {_summary(question)}.", _AGAIN)
        exchange = self._exchanges[self._place]
        if exchange.question != question:
            told = difference(exchange.question, question, self._place + 2)
            raise NotRecorded(f"The recording {self._path} has no answer: {told}", _AGAIN)
        self._place += 1
        if exchange.error is not None:
            raise _ERRORS.get(exchange.error.kind, DeviceError)(exchange.error.what, exchange.error.hint)
        if not isinstance(exchange.answer, kind):
            raise self._damaged(self._place + 1)
        return exchange.answer

    def _read(self, kind: type[_AnyLine], line: Any, number: int) -> _AnyLine:
        try:
            return kind.model_validate_json(json.dumps(line))  # strict of JSON's types
        except ValidationError as error:
            raise self._damaged(number) from error

    def _damaged(self, number: int) -> DeviceError:
        return DeviceError(f"The recording {self._path} is damaged in line {number}.", _REMAKE)


def recordings(folder: Path) -> list[Path]:
    """Return the files of the recordings in a folder, or of the one that the folder is.

    Raises:
        UsageError: There is none.
    """
    found = sorted([*folder.glob(FILE), *folder.glob(f"*/{FILE}")])
    if not found:
        raise UsageError(f"There is no recording in {folder}.", "It is a folder that a bench was recorded into.")
    return found


def difference(recorded: dict[str, Any], asked: dict[str, Any], line: int) -> str:
    """Return in words where two questions differ first."""
    for name in [*recorded, *asked]:
        old, new = str(recorded.get(name, "nothing")), str(asked.get(name, "nothing"))
        if old != new:
            start = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
            start = max(0, start - _EXCERPT // 2)
            return f"line {line} has {name} {_excerpt(old, start)}, asked was {_excerpt(new, start)}."
    return f"line {line} differs."


def _excerpt(text: str, start: int) -> str:
    part = text[start : start + _EXCERPT]
    return repr(("…" if start else "") + part + ("…" if start + _EXCERPT < len(text) else ""))


def _summary(question: dict[str, Any]) -> str:
    return " ".join([question["do"], _excerpt(str(question.get("command") or question.get("path") or ""), 0)])


def _push(source: Path, target: str) -> dict[str, Any]:
    return {"do": "push", "target": target, "sha256": sha256_of(source), "bytes": source.stat().st_size}


def _load(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DeviceError(f"The recording {path} cannot be read: {error}.", _REMAKE) from error
    lines = []
    for number, line in enumerate(text.splitlines() or [""], 1):
        try:
            lines.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            raise DeviceError(f"The recording {path} is cut off or damaged in line {number}.", _REMAKE) from error
    return lines
