"""Counts kept from an earlier run, and which files, kinds of work and modules have become dearer since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from mobilekit.bench.baseline import checked, read_kept
from mobilekit.bench.verdicts import InstructionChange
from mobilekit.errors import UsageError

Format = Literal[1]
FORMAT: Format = get_args(Format)[0]
TOLERANCE = 0.005
"""Relative change of a model's instructions up to which it counts as the same.

Counts of one file are equal on every run; between machines the copying of small tensors differs by some instructions,
as it depends on where they lie in memory. A kind's or a module's change is held against the whole model, so that a part
of a few instructions fails nobody."""

_AGAIN = "Make it anew with `mobilekit bench --device emulated --core CORE --save-baseline FILE`."
_Counts = Mapping[str, Annotated[int, Field(ge=0)]]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class CountEntry(_Part):
    """The counts of one file."""

    file: str = Field(min_length=1, description="The same on every machine: `ghostnetv2/model.int8.tflite`.")
    precision: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    instructions: Annotated[int, Field(gt=0)]
    kinds: _Counts = Field(description="By the kind of work.")
    modules: _Counts = Field(description="By module of the PyTorch model.")
    kernels: Mapping[str, str] = Field(description="The microkernel of each op, by the name of the tensor it makes.")


class CountBaseline(_Part):
    """The counts of one core. `--baseline` compares two of these: the one read and the one just made."""

    format: Format = FORMAT
    unit: Literal["instructions"]
    date: AwareDatetime
    core: str
    litert: str
    qemu: str
    plugin_sha256: str
    entries: tuple[CountEntry, ...]


def load_count_baseline(path: Path) -> CountBaseline:
    """Read a baseline of counts.

    Raises:
        UsageError: There is none, it is damaged, or it is one of latencies.
    """
    text, data = read_kept(path, _AGAIN, _AGAIN)
    if not isinstance(data, dict) or data.get("unit") != "instructions":
        raise UsageError(f"{path} is no baseline of instructions.", _AGAIN)
    return checked(CountBaseline, text, path, _AGAIN)


def compare_counts(now: CountBaseline, then: CountBaseline) -> list[InstructionChange]:
    """Compare each file with itself in an earlier count.

    A model has regressed where now / then is above 1 + `TOLERANCE`, and improved where it is below 1 / (1 + tolerance).
    A kind or a module has regressed where it grew by more than that part of the whole model. Counts of another core,
    LiteRT, qemu or plugin are never compared.

    Returns:
        A change for each file of `now`, and for each part of it that changed; then one for each that only `then` has.
    """
    refusal = _difference(now, then)
    known = {(entry.file, entry.precision): entry for entry in then.entries}
    changes: list[InstructionChange] = []
    for entry in now.entries:
        earlier = known.pop((entry.file, entry.precision), None)
        if earlier is None:
            changes.append(_told(entry, "new", "the baseline does not have it"))
        elif refusal:
            changes.append(_told(entry, "not-comparable", refusal))
        else:
            changes += _changes(entry, earlier)
    return changes + [_told(entry, "missing", "it is in the baseline alone") for entry in known.values()]


def _difference(now: CountBaseline, then: CountBaseline) -> str | None:
    names = {"core": "core", "litert": "LiteRT", "qemu": "qemu", "plugin_sha256": "plugin"}
    for key, name in names.items():
        before, after = getattr(then, key), getattr(now, key)
        if before != after:
            return f"{name} was {before:.12} and is {after:.12}"
    return None


def _told(entry: CountEntry, verdict: Literal["new", "missing", "not-comparable"], why: str) -> InstructionChange:
    return InstructionChange(entry.file, entry.precision, "model", verdict, why)


def _changes(now: CountEntry, then: CountEntry) -> Iterator[InstructionChange]:
    ratio = now.instructions / then.instructions
    verdict, why = _verdict(now.instructions - then.instructions, then.instructions, ratio)
    same_file = now.sha256 == then.sha256
    if same_file and verdict != "same":
        why += "; the file is the same"
    counts = (then.instructions, now.instructions, ratio)
    yield InstructionChange(now.file, now.precision, "model", verdict, why, *counts, _kernels(now, then), same_file)
    for name, before, after in (("kind", then.kinds, now.kinds), ("module", then.modules, now.modules)):
        for key in [*after, *(key for key in before if key not in after)]:
            was, is_now = before.get(key, 0), after.get(key, 0)
            verdict, why = _verdict(is_now - was, then.instructions, None)
            if verdict != "same":
                part_ratio = is_now / was if was else None
                yield InstructionChange(now.file, now.precision, f"{name} {key}", verdict, why, was, is_now, part_ratio)


def _verdict(grown: int, whole: int, ratio: float | None) -> tuple[Literal["regressed", "improved", "same"], str]:
    share = grown / whole
    what = "" if ratio is not None else " of the model"
    if share > TOLERANCE:
        return "regressed", f"{100 * share:.2f} %{what} more"
    if (ratio < 1 / (1 + TOLERANCE)) if ratio is not None else share < -TOLERANCE:
        return "improved", f"{-100 * share:.2f} %{what} less"
    return "same", f"within {100 * TOLERANCE:g} %{what}"


def _kernels(now: CountEntry, then: CountEntry) -> dict[str, int]:
    """Return which kernels took others' places, and for how many ops; ops are known by the names of their tensors."""
    pairs = ((then.kernels[name], kernel) for name, kernel in now.kernels.items() if name in then.kernels)
    return dict(Counter(f"{before} -> {after}" for before, after in pairs if before != after).most_common())
