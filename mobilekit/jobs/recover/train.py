"""Distillation: a student is brought near to outputs that are known, in steps that can be interrupted."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.errors import GateError, UsageError
from mobilekit.jobs.recover.result import Training
from mobilekit.models.batches import run_in_batches
from mobilekit.models.inputs import Tensors
from mobilekit.store.files import write_atomic

CHECKPOINT_EVERY = 50
"""Steps."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run is kept while it goes on."""

    path: Path
    run: str
    """Digest of all that decides what the run gives."""

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]) -> None:
        """Write all that the run needs to go on."""
        content = {"run": self.run, "state": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
        data = io.BytesIO()
        torch.save(content, data)
        write_atomic(self.path, data.getvalue())

    def load(self) -> dict[str, Any] | None:
        """Return what was saved, or None where nothing was.

        Raises:
            UsageError: It is no checkpoint, or one of another run.
        """
        if not self.path.exists():
            return None
        hint = "Take it away, give another -o, or begin anew with --force."
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            run = content["run"]
        except Exception as error:  # a damaged pickle raises whatever its first wrong byte leads to
            raise UsageError(f"{self.path} is no checkpoint that can be read.", hint) from error
        if run != self.run:
            raise UsageError(
                f"{self.path} is of another run: its model, recipe, pictures or settings are others.", hint
            )
        return dict(content)


def distill(
    student: nn.Module,
    trained: nn.Module,
    inputs: Tensors,
    targets: Tensors,
    how: Training,
    checkpoint: Checkpoint,
    progress: Callable[[str], None] = lambda _message: None,
) -> list[float]:
    """Train a student on what a teacher gives, with Adam; go on from the checkpoint where there is one.

    Each step's loss is the mean square of the outputs' error over that of the teacher's outputs. Batch norms keep their
    statistics.

    Args:
        student: What is run; in evaluation mode.
        trained: What holds its parameters, float32; they are changed.
        inputs: float32 (N, ...) by name, N at least a batch.
        targets: What the teacher gives for them, float32 (N, ...) by name.
        how: Steps, batch, learning rate, seed and device.
        checkpoint: Is written every 50 steps.
        progress: Is told each step, and the loss at each checkpoint.

    Returns:
        The loss of each step.

    Raises:
        GateError: A loss is infinite or not a number.
        UsageError: The checkpoint is of another run.
    """
    student.to(how.device)
    optimizer, losses = _begin(trained, how, checkpoint)
    batches = _batches(len(next(iter(inputs.values()))), how)
    power = {name: float(target.double().square().mean()) or 1.0 for name, target in targets.items()}
    for step, chosen in enumerate(batches, 1):
        if step <= len(losses):
            continue
        progress(f"training, step {step} of {how.steps}")
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * (1 + math.cos(math.pi * (step - 1) / how.steps)) / 2
        given = {name: tensor[chosen].to(how.device) for name, tensor in inputs.items()}
        outputs = run_in_batches(student, given, how.batch)
        errors = [
            (outputs[name] - target[chosen].to(how.device)).square().mean() / power[name]
            for name, target in targets.items()
        ]
        loss = torch.stack(errors).mean()
        losses.append(_finite(loss, step))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if step % CHECKPOINT_EVERY == 0 and step < how.steps:
            checkpoint.save(trained, optimizer, losses)
            progress(f"loss {losses[-1]:.3g} after {step} steps")
    return losses


def _begin(trained: nn.Module, how: Training, checkpoint: Checkpoint) -> tuple[torch.optim.Adam, list[float]]:
    """Return the optimizer and the losses so far, as the checkpoint has them where there is one.

    Raises:
        UsageError: It is of another run.
    """
    parameters = [one for one in trained.parameters() if one.is_floating_point()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(parameters, lr=how.learning_rate)
    content = checkpoint.load()
    if content is None:
        return optimizer, []
    trained.load_state_dict(content["state"])
    optimizer.load_state_dict(content["optimizer"])
    return optimizer, list(content["losses"])


def _finite(loss: torch.Tensor, step: int) -> float:
    value = float(loss.detach())
    if not math.isfinite(value):
        raise GateError(
            f"The loss of step {step} is {value}: nothing is written.",
            "Give a smaller --learning-rate; `mobilekit ranges` shows where values overflow.",
        )
    return value


def _batches(count: int, how: Training) -> Iterator[torch.Tensor]:
    """Yield the places of each step's pictures: all of them in a new order, again and again."""
    generator = torch.Generator().manual_seed(how.seed)
    left = torch.empty(0, dtype=torch.int64)
    for _ in range(how.steps):
        if len(left) < how.batch:
            left = torch.randperm(count, generator=generator)
        yield left[: how.batch]
        left = left[how.batch :]
