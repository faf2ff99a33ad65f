"""What goldens.json holds, and what came of a replay."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import computed_field

from mobilekit.store.manifest import Tensor
from mobilekit.store.result import Figure, Result

GOLDENS = "goldens.json"
FORMAT = 1
"""Of goldens.json."""

Place = Literal["cpu", "gpu"]
"""`gpu` computes in float16."""


@dataclass(frozen=True)
class Tolerance(Result):
    """How far an output may be from the expected one."""

    metric: Literal["max_abs", "relative_l2", "equal_labels"]
    """Largest absolute difference; L2 norm of the difference over that of the expected output; or, of integers and
    booleans, the share that is equal, at least."""
    limit: Figure
    derivation: str


@dataclass(frozen=True)
class GoldenFile(Result):
    """A file of the bundle."""

    file: str
    """Its name."""
    sha256: str
    """Of a package for Core ML, which is a folder, that of JSON that has each file's by its path in it."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    """A number of a format with a scale stands for `scale * (number - zero_point)`."""
    tolerances: Mapping[Place, Mapping[str, Tolerance]]
    """By where the file runs, and by output. `gpu` is absent where it could not be simulated."""


@dataclass(frozen=True)
class GoldenCase(Result):
    """One input, and what each file gives for it. Paths are relative to goldens.json."""

    name: str
    source: str
    """What the picture is, or where the arrays are from."""
    picture: str | None
    """PNG as an app would get it; null of arrays."""
    scaled: str | None
    """PNG as the model sees it, of the input's size; null of arrays that are no picture."""
    label: str | None
    """Its class, where that is known."""
    inputs: Mapping[str, Mapping[str, str]]
    """By file and input: an .npy with the tensor as the file takes it."""
    expected: Mapping[str, Mapping[str, str]]
    """By file and output: an .npy with the tensor as the file gave it; of a package for Core ML as PyTorch does."""


@dataclass(frozen=True)
class Goldens(Result):
    """Golden cases of a bundle."""

    format: int
    model: str
    request: str
    """The bundle's, as its manifest has it."""
    bundle: str
    """Where it was, relative to the folder of goldens.json."""
    tools: Mapping[str, str]
    """Versions of what the files were run with."""
    files: tuple[GoldenFile, ...]
    cases: tuple[GoldenCase, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class GoldenRow(Result):
    """One output of one case and file, replayed."""

    case: str
    file: str
    output: str
    largest: Figure
    """Largest absolute difference from the expected output."""
    metric: str
    """What is held to the limit."""
    value: Figure
    limit: Figure
    fault: str = ""
    """Why nothing could be compared."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """`fail` where the value is beyond the limit, or is no number."""
        held = self.value >= self.limit if self.metric == "equal_labels" else self.value <= self.limit
        return "pass" if held and math.isfinite(self.value) else "fail"


@dataclass(frozen=True)
class Replayed(Result):
    """All that was replayed."""

    runtime: str
    place: Place
    rows: tuple[GoldenRow, ...]
    skipped: Mapping[str, str]
    """Why a file was not replayed, by its name."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def verdict(self) -> Literal["pass", "fail"]:
        """`pass` where every row is."""
        return "pass" if all(row.verdict == "pass" for row in self.rows) else "fail"
