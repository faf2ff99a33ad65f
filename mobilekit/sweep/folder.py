"""The folder of a sweep: bundles, the result of each step, and the rows.

```
sweep.json            what was asked for, and the versions that it was begun with
bundles/NAME/         the bundle of each export
steps/KEY/STEP.json   what a step found, as soon as it ends
rows/KEY.parquet      the rows of a cell, as soon as it ends
```
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mobilekit.errors import UsageError
from mobilekit.store.bundle import refuse_inside_bundle
from mobilekit.store.files import write_atomic, write_json
from mobilekit.store.versions import tool_versions
from mobilekit.sweep.cell import EXPORT, Cell
from mobilekit.sweep.exchange import Exchange

FORMAT = 1
_NOTE = "sweep.json"
_STARTS = "*/*.starts"


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep: one that all its workers see at one path, or of each process that has an exchange."""

    path: Path
    exchange: Exchange | None = None
    """Where those find what others made that do not see one folder."""

    @property
    def rows(self) -> Path:
        """The folder of the rows."""
        return self.path / "rows"

    def rows_of(self, cell: Cell) -> Path:
        """Return the file of a cell's rows."""
        return self.rows / f"{cell.key}.parquet"

    def bundle_of(self, cell: Cell) -> Path:
        """Return the folder of a cell's bundle."""
        return self.path / "bundles" / cell.bundle

    def place_of(self, cell: Cell, step: str) -> StepPlace:
        """Return where a step of a cell notes what it does."""
        return StepPlace(self.path / "steps" / cell.key_of(step), step.replace(":", "-"), self.exchange)

    def bring_bundle(self, cell: Cell) -> None:
        """Have the bundle of a cell here that was exported elsewhere.

        Raises:
            ToolError: It cannot be read.
        """
        done = self.place_of(cell, EXPORT).read() if self.exchange else None
        if self.exchange and done and "bundle" in done and not self.bundle_of(cell).is_dir():
            self.exchange.get_folder(done["bundle"], self.bundle_of(cell))

    def send_bundle(self, cell: Cell) -> dict[str, str]:
        """Let others have the bundle of a cell; return where it is, for the result of its export.

        Raises:
            ToolError: It cannot be written there.
        """
        if self.exchange is None or not self.bundle_of(cell).is_dir():
            return {}
        return {"bundle": self.exchange.put_folder(f"bundles/{cell.bundle}", self.bundle_of(cell))}

    def share_rows(self) -> None:
        """Have the rows of all cells that ended both here and at the exchange.

        Raises:
            ToolError: They cannot be read or written there.
        """
        if self.exchange is None:
            return
        there = set(self.exchange.names("rows"))
        here = {path.name for path in self.rows.glob("*.parquet")}
        for name in there - here:
            self.exchange.get_file(f"rows/{name}", self.rows / name)
        for name in here - there:
            self.exchange.put_bytes(f"rows/{name}", (self.rows / name).read_bytes())

    def send_rows(self, cell: Cell) -> None:
        """Let others have the rows of a cell.

        Raises:
            ToolError: They cannot be written there.
        """
        if self.exchange is not None:
            path = self.rows_of(cell)
            self.exchange.put_bytes(f"rows/{path.name}", path.read_bytes())

    def forget(self, cell: Cell, step: str) -> None:
        """Let a step of a cell and those after it be done anew; with the export, its bundle is made anew."""
        for each in cell.steps[cell.steps.index(step) :]:
            self.place_of(cell, each).forget()
        if step == EXPORT:
            shutil.rmtree(self.bundle_of(cell), ignore_errors=True)

    def forget_lost(self, cell: Cell) -> None:
        """Let a cell's export be done anew where it was done, and somebody has removed its bundle since."""
        done = self.place_of(cell, EXPORT).read()
        if done is None:
            return
        if self.exchange is not None:
            is_there = "bundle" in done and bool(self.exchange.names(done["bundle"]))
        else:
            is_there = self.bundle_of(cell).is_dir()
        if not is_there:
            self.forget(cell, EXPORT)

    def check(self, resume: bool) -> None:
        """See whether a sweep can be begun here, or gone on with.

        Raises:
            UsageError: Something else is there, or a sweep that nobody asked to go on with.
        """
        refuse_inside_bundle(self.path)
        if (self.path / _NOTE).is_file():
            read_sweep_note(self.path)
            if not resume:
                raise UsageError(f"{self.path} holds a sweep.", "Go on with it by --resume, or choose another folder.")
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(f"{self.path} exists and is not a sweep.", "Choose another folder with -o.")

    def begin(self, content: Any, resume: bool) -> list[str]:
        """Make the folder, or take up what is there.

        Args:
            content: What is asked for, as JSON data.
            resume: Whether a sweep that is there goes on.

        Returns:
            What the user must know: versions that are others than when the sweep was begun.

        Raises:
            UsageError: Something else is there, or a sweep that nobody asked to go on with.
        """
        self.check(resume)
        note = self.path / _NOTE
        versions = tool_versions()
        if not note.is_file():
            self.rows.mkdir(parents=True, exist_ok=True)
            write_json(note, {"format": FORMAT, "sweep": content, "tools": versions})
            return []
        kept = read_sweep_note(self.path)
        for file in (self.path / "steps").glob(_STARTS):
            file.unlink()
        write_json(note, {"format": FORMAT, "sweep": content, "tools": kept["tools"]})
        return [
            f"{name} is {versions.get(name)} now and was {version} when the sweep was begun"
            for name, version in kept["tools"].items()
            if versions.get(name) != version
        ]


@dataclass(frozen=True)
class StepPlace:
    """Where one step notes that it starts, and what it found."""

    folder: Path
    name: str
    exchange: Exchange | None = None

    @property
    def result(self) -> Path:
        """The file of what it found; it is there whole or not at all."""
        return self.folder / f"{self.name}.json"

    def read(self) -> dict[str, Any] | None:
        """Return what it found, here or elsewhere; None where it did not come to its end."""
        if self.exchange is not None and not self.result.is_file():
            found = self.exchange.get_bytes(self._result_there)
            if found is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_atomic(self.result, found)
        try:
            content: dict[str, Any] = json.loads(self.result.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Keep what it found; at an exchange what was found before stays."""
        write_json(self.result, content)
        if self.exchange is not None and self.exchange.get_bytes(self._result_there) is None:
            self.exchange.put_bytes(self._result_there, self.result.read_bytes())

    def forget(self) -> None:
        """Let it be done anew."""
        self.result.unlink(missing_ok=True)
        if self.exchange is not None:
            self.exchange.remove(self._result_there)

    @property
    def starts(self) -> int:
        """How often it was started since the sweep was begun or resumed."""
        if self.exchange is not None:
            return len(self.exchange.names(self._starts_there))
        try:
            return self._starts.stat().st_size
        except FileNotFoundError:
            return 0

    def note_start(self) -> None:
        """Count a start, whole also where two processes do so at once."""
        if self.exchange is not None:
            self.exchange.put_bytes(f"{self._starts_there}/{secrets.token_hex(8)}", b"")
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, b".")
        finally:
            os.close(descriptor)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let one process at a time do the step: what holds this goes with the process, however that ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{self.name}.lock"):
            yield

    @property
    def _result_there(self) -> str:
        return f"steps/{self.folder.name}/{self.result.name}"

    @property
    def _starts_there(self) -> str:
        return f"starts/{self.folder.name}/{self.name}"

    @property
    def _starts(self) -> Path:
        return self.folder / f"{self.name}.starts"


def read_sweep_note(path: Path) -> dict[str, Any]:
    """Return a sweep's note of what was asked for.

    Raises:
        UsageError: The folder is no sweep, or one of another version.
    """
    try:
        content = json.loads((path / _NOTE).read_text())
        version = content["format"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path} is not a sweep.", "`mobilekit sweep run SWEEP.yaml -o DIR` makes one.") from error
    if version != FORMAT:
        raise UsageError(f"{path} has the format {version!r:.40}; this mobilekit reads {FORMAT}.")
    kept: dict[str, Any] = content
    return kept
