"""What `mobilekit diff` is asked to do: which of its options go together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mobilekit.errors import UsageError
from mobilekit.models.names import check_name
from mobilekit.store.bundle import open_bundle

_EXAMPLES = (
    "Name a bundle, or an artifact beside its model: mobilekit diff artifacts/ghostnetv2, or mobilekit diff "
    "--reference ghostnetv2 --candidate their.tflite"
)
_INSTEAD = "Leave --device out to bisect the files here; with --device, --layers shows the values inside."


@dataclass(frozen=True)
class DiffRequest:
    """One thing to measure, a bundle or a candidate, and how to look at it; see the command's options."""

    bundle: Path | None = None
    candidate: Path | None = None
    reference: str | None = None
    inputs: Path | None = None
    bisect: Path | None = None
    # With a candidate alone.
    weights: Path | None = None
    recipe: str | None = None
    # With a bundle alone.
    device: str | None = None
    benchmark_binary: str | None = None
    app: str | None = None
    layers: bool = False
    # With `layers` alone, but for `calibration`, which also says what a candidate's reference is built with.
    plot: Path | None = None
    calibration: Path | None = None
    precision: str | None = None

    @property
    def measured(self) -> Path:
        """The bundle's folder, or the candidate's file."""
        path = self.bundle or self.candidate
        assert path is not None
        return path

    def check(self) -> None:
        """Check that it names one thing to measure, and that every option belongs to that.

        Raises:
            UsageError: It names none, or two, or an option belongs elsewhere.
        """
        if self.bundle is None and self.candidate is None:
            raise UsageError("There is nothing to measure.", _EXAMPLES)
        if self.bundle is not None and self.candidate is not None:
            raise UsageError(f"{self.bundle} and --candidate are both given; each is measured by itself.", _EXAMPLES)
        if self.candidate is not None and self.reference is None:
            raise UsageError(
                "--candidate needs the model that it should be.", "Add --reference MODEL, or an .onnx file."
            )
        if self.bundle is not None:
            refuse("goes with --candidate; a bundle has its own", weights=self.weights, recipe=self.recipe)
            if self.device:
                refuse(f"looks into files op by op, which {self.device} does not show", _INSTEAD, bisect=self.bisect)
            open_bundle(self.bundle)
            _ = self.apps  # to refuse a wrong name
        else:
            refuse(
                "goes with a bundle",
                "`mobilekit export` makes one.",
                layers=self.layers,
                device=self.device,
                benchmark_binary=self.benchmark_binary,
                app=self.app,
            )
            self._check_candidate()
        if not self.layers:
            calibration = self.calibration if self.candidate is None else None  # a reference is built with it
            refuse_without_layers(plot=self.plot, calibration=calibration, precision=self.precision)

    @property
    def apps(self) -> tuple[str, ...]:
        """The names in --app.

        Raises:
            UsageError: There is none of a name.
        """
        if self.app is None:
            return ()
        from mobilekit.recipes.inputs.apps import find_apps  # imports numpy

        return find_apps(self.app)

    def _check_candidate(self) -> None:
        """Check what can be checked of the candidate and its reference before either is opened."""
        assert self.candidate is not None
        assert self.reference is not None
        for path in (self.candidate, *([Path(self.reference)] if self.reference.endswith(".onnx") else [])):
            if path.is_dir():
                raise UsageError(f"{path} is a folder.", "Give a file; `mobilekit diff BUNDLE` measures a bundle.")
            if not path.is_file():
                raise UsageError(f"There is no file {path}.")
        if self.candidate.suffix == ".pte":
            refuse("looks into a file op by op, which ExecuTorch does not show", "Leave it out.", bisect=self.bisect)
        if not self.reference.endswith(".onnx"):
            check_name(self.reference)


def refuse_without_layers(**options: object) -> None:
    """Refuse options that mean nothing without --layers.

    Raises:
        UsageError: One is given.
    """
    refuse("says how --layers is done, which is not asked for", "Add --layers.", **options)


def refuse(why: str, hint: str = "", **options: object) -> None:
    """Refuse options.

    Args:
        why: What follows the option's name in the message.
        hint: What to do next.
        options: The values by the options' names in Python; None or False where one is not given.

    Raises:
        UsageError: One is given.
    """
    given = [name for name, value in options.items() if value is not None and value is not False]
    if given:
        raise UsageError(f"--{given[0].replace('_', '-')} {why}.", hint)
