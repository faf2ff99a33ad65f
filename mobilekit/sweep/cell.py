"""A cell of a sweep: one export with the files that it makes, and one device on which they are timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mobilekit.models.names import folder_name
from mobilekit.store.files import sha256_of_json
from mobilekit.store.stages import FORM_STAGES, Form

EXPORT, DIFF, INSPECT, BENCH = "export", "diff", "inspect", "bench"
FLEET = ("label:", "serial:")
"""What the words of devices begin with that are phones of a fleet."""
_OF_EXPORT = (
    "model", "model_options", "input_size", "recipe", "weights", "calibration", "inputs", "content", "precisions",
)  # fmt: skip
_DIGITS = 12
"""Of a digest: 2^48 of them, so that two of 10,000 cells are the same in one sweep of 5 million."""


@dataclass(frozen=True)
class Cell:
    """All that decides what one cell does. It is JSON data: paths are as the sweep's file has them."""

    model: str
    model_options: Mapping[str, Any] = field(default_factory=dict)
    input_size: int | tuple[int, int] | None = None
    """In pixels, one number for both or (height, width); None for the recipe's."""
    recipe: str | None = None
    """None for the model's own."""
    precisions: tuple[Form, ...] = ()
    targets: tuple[str, ...] = ()
    device: str | None = None
    """Where files are timed; None: nowhere."""
    threads: int = 1
    weights: str | None = None
    calibration: str | None = None
    inputs: str | None = None
    content: Mapping[str, str] = field(default_factory=dict)
    """Digests of what lies behind its paths, by what names them; see `content.with_content`."""
    diff: bool = True
    """Whether the bundle is measured once more."""
    bench: Mapping[str, Any] = field(default_factory=dict)
    """How files are timed, as `schema.Timing` has it."""

    @property
    def key(self) -> str:
        """What tells it from other cells: the beginning of a digest of all it does."""
        return sha256_of_json(self.to_json())[:_DIGITS]

    @property
    def export_key(self) -> str:
        """What tells its export from others: cells that differ in device and threads alone have one."""
        content = self.to_json()
        return sha256_of_json({name: content[name] for name in _OF_EXPORT})[:_DIGITS]

    @property
    def bundle(self) -> str:
        """The name of its bundle's folder."""
        return "-".join([folder_name(self.model), *filter(None, [self.size_word]), self.export_key])

    @property
    def size_word(self) -> str:
        """The input size in a word: `224`, `256x192`, or nothing for the recipe's."""
        sides = self.input_size if isinstance(self.input_size, tuple) else (self.input_size,)
        return "x".join(str(side) for side in sides if side is not None)

    @property
    def export_label(self) -> str:
        """Its export for people: `ghostnetv2 224`."""
        options = ",".join(f"{name}={value}" for name, value in self.model_options.items())
        return " ".join(filter(None, [self.model, options, self.size_word, self.recipe and f"by {self.recipe}"]))

    @property
    def label(self) -> str:
        """Itself for people: `ghostnetv2 224 on local with 2 threads`."""
        threads = f" with {self.threads} threads" if self.threads > 1 else ""
        return f"{self.export_label}{f' on {self.device}{threads}' if self.device else ''}"

    @property
    def steps(self) -> tuple[str, ...]:
        """Its steps in their order, each of which needs the one before: `export`, `diff`, `inspect:cpu`, `bench`."""
        asked = (f"{INSPECT}:{target}" for target in self.targets)
        return (EXPORT, *([DIFF] if self.diff else []), *asked, *([BENCH] if self.is_timed else []))

    @property
    def is_timed(self) -> bool:
        """Whether it has a device, and files that run there."""
        formats = {FORM_STAGES[form].file_format for form in self.precisions}
        return self.device is not None and "tflite" in formats

    def key_of(self, step: str) -> str:
        """Return what tells a step of it from others: all but the bench are the export's, whatever its device is."""
        return self.key if step == BENCH else self.export_key

    def label_of(self, step: str) -> str:
        """Return what a step of it is about, for people."""
        return self.label if step == BENCH else self.export_label

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Cell:
        """Return the cell that `to_json` made JSON data of."""
        size = content["input_size"]
        lists = {name: tuple(content[name]) for name in ("precisions", "targets")}
        return cls(**{**content, **lists, "input_size": tuple(size) if isinstance(size, list) else size})
