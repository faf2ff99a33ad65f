"""What `mobilekit recover` was asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import computed_field

from mobilekit.jobs.source import Source
from mobilekit.store.result import Figure, Result


@dataclass(frozen=True)
class Training(Result):
    """How the weights are trained."""

    steps: int = 300
    batch: int = 32
    """Pictures a step."""
    learning_rate: float = 3e-4
    """Of Adam's first step; it falls to 0 along half a cosine."""
    seed: int = 0
    """Of the order of the pictures."""
    device: str = "cpu"
    """As torch names it."""


@dataclass(frozen=True)
class RecoverRequest:
    """What to train, and where to put it."""

    source: Source
    """The model, the recipe with what it has to bear, and the weights to begin with."""
    pictures: Path
    """Folder of pictures, or .npz; labels are not read."""
    output: Path
    """Weights to write, .safetensors."""
    int8: bool = False
    """Let the network round as an int8 file does while it is trained."""
    training: Training = Training()
    force: bool = False
    """Replace the weights that are there, and a checkpoint of another run."""

    @property
    def checkpoint(self) -> Path:
        """Where a run that is interrupted goes on from."""
        return self.output.with_suffix(".checkpoint")

    @property
    def report(self) -> Path:
        """Where the result is written as JSON."""
        return self.output.with_suffix(".json")


@dataclass(frozen=True)
class OutputDistance(Result):
    """How far an output is from the reference's with its own weights, on the pictures that were kept back."""

    output: str
    relative_l2: Figure
    cosine: Figure
    """Smallest of a picture."""
    top1_agreement: Figure
    """Share of the pictures whose largest output is the same one."""


@dataclass(frozen=True)
class Recovered(Result):
    """What the training gained."""

    model: str
    recipe: str
    rewrites: dict[str, int]
    """The rewrites that are not exact, and at how many sites they were applied."""
    int8: bool
    trained_on: int
    """Pictures."""
    kept_back: int
    """Pictures that were not trained on, and that both distances are measured on."""
    inputs_sha256: str
    training: Training
    losses: tuple[float, ...]
    """The mean squared error of each step's pictures, in units of the outputs' mean square."""
    before: tuple[OutputDistance, ...]
    """With the reference's own weights, all rewrites of the recipe applied."""
    after: tuple[OutputDistance, ...]
    """With the weights that were written."""
    weights: str

    @computed_field  # type: ignore[prop-decorator]
    @property
    def is_nearer(self) -> bool:
        """Whether the outputs are nearer to the reference's than before, in the mean of their relative L2."""
        return sum(one.relative_l2 for one in self.after) < sum(one.relative_l2 for one in self.before)
