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
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from mobilekit.errors import UsageError
from mobilekit.store.bundle import refuse_inside_bundle
from mobilekit.store.files import write_json
from mobilekit.store.versions import tool_versions
from mobilekit.sweep.cell import EXPORT, Cell

FORMAT = 1
_STARTS = "*/*.starts"


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep, which all its workers see at one path."""

    path: Path

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
        return StepPlace(self.path / "steps" / cell.key_of(step), step.replace(":", "-"))

    def forget(self, cell: Cell, step: str) -> None:
        """Let a step of a cell and those after it be done anew; with the export, its bundle is made anew."""
        for each in cell.steps[cell.steps.index(step) :]:
            self.place_of(cell, each).result.unlink(missing_ok=True)
        if step == EXPORT:
            shutil.rmtree(self.bundle_of(cell), ignore_errors=True)

    def forget_lost(self, cell: Cell) -> None:
        """Let a cell's export be done anew where it was done, and somebody has removed its bundle since."""
        if self.place_of(cell, EXPORT).result.is_file() and not self.bundle_of(cell).is_dir():
            self.forget(cell, EXPORT)

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
        refuse_inside_bundle(self.path)
        note = self.path / "sweep.json"
        versions = tool_versions()
        if not note.is_file():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UsageError(f"{self.path} exists and is not a sweep.", "Choose another folder with -o.")
            self.rows.mkdir(parents=True, exist_ok=True)
            write_json(note, {"format": FORMAT, "sweep": content, "tools": versions})
            return []
        kept = read_sweep_note(self.path)
        if not resume:
            raise UsageError(f"{self.path} holds a sweep.", "Go on with it by --resume, or choose another folder.")
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

    @property
    def result(self) -> Path:
        """The file of what it found; it is there whole or not at all."""
        return self.folder / f"{self.name}.json"

    def read(self) -> dict[str, Any] | None:
        """Return what it found; None where it did not come to its end."""
        try:
            content: dict[str, Any] = json.loads(self.result.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return content

    def write(self, content: dict[str, Any]) -> None:
        """Keep what it found."""
        write_json(self.result, content)

    @property
    def starts(self) -> int:
        """How often it was started since the sweep was begun or resumed."""
        try:
            return self._starts.stat().st_size
        except FileNotFoundError:
            return 0

    def note_start(self) -> None:
        """Count a start, whole also where two processes do so at once."""
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
    def _starts(self) -> Path:
        return self.folder / f"{self.name}.starts"


def read_sweep_note(path: Path) -> dict[str, Any]:
    """Return a sweep's note of what was asked for.

    Raises:
        UsageError: The folder is no sweep, or one of another version.
    """
    try:
        content = json.loads((path / "sweep.json").read_text())
        version = content["format"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{path} is not a sweep.", "`mobilekit sweep run SWEEP.yaml -o DIR` makes one.") from error
    if version != FORMAT:
        raise UsageError(f"{path} has the format {version!r:.40}; this mobilekit reads {FORMAT}.")
    kept: dict[str, Any] = content
    return kept
