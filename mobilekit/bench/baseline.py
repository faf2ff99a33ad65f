"""Figures kept from an earlier bench, and whether artifacts have become slower since."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobilekit.bench.devices.base import DeviceFacts
from mobilekit.bench.statistics import CONFIDENCE, Interval, unpaired_ratio
from mobilekit.bench.verdicts import Change
from mobilekit.errors import UsageError
from mobilekit.store.files import write_json

Format = Literal[1]
FORMAT: Format = get_args(Format)[0]
MARGIN = 0.03
"""Relative change of a latency up to which it counts as the same.

Two benches of one file differ by more than their rounds tell: another temperature, another layout in memory, another
neighbor. If a bench's level has a standard deviation s, the log-ratio of two has sqrt(2) s and stays within
1.96 sqrt(2) s in 95 % of cases: 3 % is that of s = 1.07 %. Then at most 2.5 % of benches show a false regression; fewer
when rounds are noisy, as the whole interval must lie beyond the margin. A device that varies more from day to day needs
a wider margin."""

# What figures must have been measured alike in, where both baselines have it; and its name in a sentence.
_WHERE_KNOWN = {
    "tool": "the tool's SHA-256",
    "gpu_interface": "the GPU's interface",
    "fixed_performance": "fixed-performance mode",
}
_DIGITS = 12  # of a digest, enough to tell two
_AGAIN = "Make it anew with `mobilekit bench --save-baseline FILE`."


_Kept = TypeVar("_Kept", bound=BaseModel)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Entry(_Part):
    """The figures of one artifact, and what they were measured with."""

    file: str = Field(min_length=1, description="The same on every machine: `ghostnetv2/model.int8.tflite`.")
    precision: str
    threads: Annotated[int, Field(ge=1)]
    engine: str = Field(min_length=1, description="Name of the tool that ran it, without its version.")
    statistic: Literal["median", "mean"] = Field(description="What of a run's inferences a figure is.")
    cpu_mask: str | None = Field(None, description="Cores it was pinned to, hexadecimal.")
    delegate: str | None = Field(None, description="The delegate that was demanded.")
    tool: str | None = Field(None, description="SHA-256 of the tool, and of the libraries beside it if there were any.")
    gpu_interface: str | None = Field(None, description="What the GPU was reached through, where the tool tells.")
    fixed_performance: bool | None = Field(None, description="Whether the device held a speed that it can keep up.")
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    raw_ms: Annotated[tuple[Annotated[float, Field(ge=1e-9, le=1e9)], ...], Field(min_length=1)] = Field(
        description="One latency for each round that counts, in ms."
    )


class Baseline(_Part):
    """One bench of one device. `--baseline` compares two of these: the one read and the one just measured."""

    format: Format = FORMAT
    date: AwareDatetime
    device: DeviceFacts
    tools: dict[str, str] = Field(description="Versions by name.")
    entries: tuple[Entry, ...]

    @model_validator(mode="after")
    def _no_entry_twice(self) -> Baseline:
        seen: list[Entry] = []
        for entry in self.entries:
            if any(_name(entry) == _name(other) and _difference(entry, other) is None for other in seen):
                raise ValueError(f"{entry.file} ({entry.precision}) stands twice")
            seen.append(entry)
        return self


def save_baseline(path: Path, baseline: BaseModel) -> None:
    """Write a baseline, whole or not at all.

    Raises:
        UsageError: The file cannot be written.
    """
    try:
        write_json(path, baseline.model_dump(mode="json"))
    except OSError as error:
        raise UsageError(f"Cannot write the baseline {path}: {error.strerror}.", "Give another path.") from error


def load_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: There is none, it is damaged, or it is of another version.
    """
    text, data = read_kept(path, _AGAIN, "`mobilekit bench --save-baseline FILE` makes one.")
    version = data.get("format") if isinstance(data, dict) else None
    if isinstance(data, dict) and data.get("unit") == "instructions":
        raise UsageError(f"{path} is a baseline of instructions.", "Compare it with --device emulated --core CORE.")
    if version is None:
        raise UsageError(f"{path} is no baseline: it does not say its format.", _AGAIN)
    if version != FORMAT:
        raise UsageError(f"{path} has the format {version!r:.40}; this mobilekit reads {FORMAT}.", _AGAIN)
    return checked(Baseline, text, path, _AGAIN)


def read_kept(path: Path, again: str, first: str) -> tuple[str, Any]:
    """Return the text of a baseline, and the JSON in it.

    Args:
        path: The file.
        again: How one that is none is made anew.
        first: How one that is not there is made.

    Raises:
        UsageError: There is none, or it is not JSON.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, json.loads(text)
    except OSError as error:
        raise UsageError(f"Cannot read the baseline {path}: {error.strerror}.", first) from error
    except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError as well
        raise UsageError(f"{path} is no baseline: it is not JSON.", again) from error


def checked(kind: type[_Kept], text: str, path: Path, again: str) -> _Kept:
    """Return what a baseline's text says.

    Raises:
        UsageError: It is damaged.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"])) or "the file"
        raise UsageError(f"{path} is damaged: {place}: {problem['msg']}.", again) from error


def compare_with_baseline(now: Baseline, then: Baseline, margin: float = MARGIN) -> list[Change]:
    """Compare each artifact with itself in an earlier bench.

    Rounds of different days share no noise, so the figures are not paired (see `unpaired_ratio`). An artifact has
    `regressed` where the whole 95 % interval of now / then lies above 1 + margin, and `improved` where it lies below
    1 / (1 + margin); it is the `same` where the interval lies between these, and else the bench is `inconclusive`.
    Figures of another device, engine, number of threads, set of cores, delegate or statistic are never compared, nor of
    another build of the tool, interface of the GPU or mode of performance where both tell.

    Args:
        now: The bench just made.
        then: The baseline.
        margin: Relative change up to which a latency counts as the same.

    Returns:
        A change for each entry of `now` in its order, then one for each that only `then` has.
    """
    other_device = _other_device(now.device, then.device)
    changes = [_change(entry, then.entries, other_device, margin) for entry in now.entries]
    measured = {_name(entry) for entry in now.entries}
    missing = [entry for entry in then.entries if _name(entry) not in measured]
    return changes + [Change(e.file, e.precision, "missing", "it is in the baseline alone") for e in missing]


def _name(entry: Entry) -> tuple[str, str]:
    return entry.file, entry.precision


def _change(now: Entry, entries: Sequence[Entry], other_device: str | None, margin: float) -> Change:
    known = [entry for entry in entries if _name(entry) == _name(now)]
    if not known:
        return Change(now.file, now.precision, "new", "the baseline does not have it")
    then = next((entry for entry in known if _difference(now, entry) is None), known[0])
    if refusal := other_device or _difference(now, then):
        return Change(now.file, now.precision, "not-comparable", refusal)
    ratio, interval = unpaired_ratio(then.raw_ms, now.raw_ms)
    verdict, why = _verdict(interval, margin)
    same_file = now.sha256 == then.sha256
    if same_file and verdict in ("regressed", "improved"):
        why += "; the file is the same, so it is the device or the engine that changed"
    return Change(
        now.file, now.precision, verdict, why, ratio, interval.low, interval.high, interval.confidence, same_file
    )


def _verdict(interval: Interval, margin: float) -> tuple[Literal["regressed", "improved", "same", "inconclusive"], str]:
    top, bottom = 1 + margin, 1 / (1 + margin)
    if interval.confidence < CONFIDENCE:
        return "inconclusive", "there are too few rounds for a 95 % interval"
    if interval.low > top:
        return "regressed", f"the interval lies above {top:.4g}"
    if interval.high < bottom:
        return "improved", f"the interval lies below {bottom:.4g}"
    if bottom <= interval.low and interval.high <= top:
        return "same", f"the interval lies within {bottom:.4g} to {top:.4g}"
    crossed = top if interval.high > top else bottom
    return "inconclusive", f"the interval holds {crossed:.4g}: more rounds, or a device at rest, would tell"


def _other_device(now: DeviceFacts, then: DeviceFacts) -> str | None:
    """Return why figures of the two devices are not compared, or None."""
    if now.emulated or then.emulated:
        return "latencies of an emulated device mean nothing"
    for name in ("model", "abi", "soc"):
        before, after = getattr(then, name), getattr(now, name)
        if before != after and None not in (before, after):
            return f"the device's {name} was {before} and is {after}"
    return None


def _difference(now: Entry, then: Entry) -> str | None:
    """Return what figures of one artifact on one device were not measured alike in, or None."""
    for name in ("engine", "threads", "cpu_mask", "delegate", "statistic"):
        before, after = getattr(then, name), getattr(now, name)
        if before != after:
            return f"{name} was {before} and is {after}"
    for name, what in _WHERE_KNOWN.items():
        before, after = getattr(then, name), getattr(now, name)
        if None not in (before, after) and before != after:
            return f"{what} was {_short(before)} and is {_short(after)}"
    return None


def _short(value: str | bool) -> str:
    """Return a value as a sentence has it: of a digest its beginning."""
    return value[:_DIGITS] if isinstance(value, str) else "on" if value else "off"
