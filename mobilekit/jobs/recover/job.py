"""Trains a model's weights for what its export does to it, and measures what that gains."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.fx import GraphModule

from mobilekit.artifacts.pytorch import TorchRuntime
from mobilekit.artifacts.runtime import Arrays, is_label
from mobilekit.errors import UsageError
from mobilekit.jobs.build import Built, build
from mobilekit.jobs.recover.result import OutputDistance, Recovered, RecoverRequest
from mobilekit.jobs.recover.student import Int8Student, inexact, state_for
from mobilekit.jobs.recover.train import Checkpoint, distill
from mobilekit.models.inputs import Tensors
from mobilekit.models.weights import fill, weights_digest
from mobilekit.parity.ledger.format_error import fake_quantize_int8
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ranges.activations import record
from mobilekit.recipes.inputs.calibration import Calibration
from mobilekit.recipes.inputs.preprocess import digest_of
from mobilekit.recipes.inputs.user_data import load_own
from mobilekit.rewrites.engine import Rewritten, rewrite
from mobilekit.store.files import sha256_of_json, write_atomic, write_json

Progress = Callable[[str], None]
KEPT_BACK = 5
"""One of so many pictures is kept back."""
FEWEST_KEPT = 8


def recover(request: RecoverRequest, progress: Progress = lambda _message: None) -> Recovered:
    """Train the weights of a model for its recipe's inexact rewrites and for int8, and write them.

    The reference with its own weights is the teacher; no labels are used. What is measured before and after is the
    model with all rewrites of the recipe, as an export makes it, on pictures that were kept back.

    Raises:
        GateError: A loss is not finite.
        UsageError: There is nothing to recover, there are too few pictures, something does not fit, the weights are
            there already, or the checkpoint is of another run.
    """
    _check(request)
    built = build(request.source, progress)
    model, loaded = built.reference.model, request.source.recipe
    progress("reading pictures")
    pictures = load_own(request.pictures, loaded.recipe).arrays
    parts = _split(pictures, request)
    progress("applying the inexact rewrites")
    changed = rewrite(model, inexact(loaded), built.tensors, prove=False, enforce_limits=False)
    applied = _applied(changed, request)
    progress("measuring what they cost")
    before = _distances(built, model, parts.kept, request)
    checkpoint = Checkpoint(request.checkpoint, _digest(request, changed.graph, built.calibration, pictures))
    losses = _train(changed.graph, built, parts.train, request, checkpoint, progress)
    state = state_for(model, changed.graph.cpu(), applied)
    progress("measuring what is left of it")
    tuned = copy.deepcopy(model)
    fill(tuned, state, request.output)
    recovered = Recovered(
        model=built.entry.name,
        recipe=loaded.name,
        rewrites=applied,
        int8=request.int8,
        trained_on=_count(parts.train),
        kept_back=_count(parts.kept),
        inputs_sha256=digest_of(pictures),
        training=request.training,
        losses=tuple(losses),
        before=before,
        after=_distances(built, tuned, parts.kept, request),
        weights=str(request.output),
    )
    write_atomic(request.output, save(state))
    write_json(request.report, recovered.to_json())
    request.checkpoint.unlink(missing_ok=True)
    return recovered


def _train(
    graph: GraphModule, built: Built, inputs: Arrays, request: RecoverRequest, checkpoint: Checkpoint, tell: Progress
) -> list[float]:
    """Bring a graph, in place, near to what the reference gives, and return the losses.

    Raises:
        GateError: A loss is not finite.
        UsageError: The outputs are labels, or the checkpoint is of another run.
    """
    tell("running the reference")
    targets = _floats(TorchRuntime(built.reference.model).run(inputs), request)
    student: nn.Module = graph
    if request.int8:
        recipe = request.source.recipe.recipe
        ranges = record(graph, built.calibration.arrays, pixels=recipe.pixels).ranges
        student = Int8Student(graph, recipe.int8, ranges)
    return distill(student, graph, _tensors(inputs), targets, request.training, checkpoint, tell)


def _check(request: RecoverRequest) -> None:
    """Refuse before the work what cannot be done.

    Raises:
        UsageError: There is nothing to recover, or a file is in the way.
    """
    if not inexact(request.source.recipe).recipe.rewrites and not request.int8:
        raise _nothing(f"all rewrites of the recipe {request.source.recipe.name} are exact")
    for path in (request.output, request.report):
        if path.exists() and not request.force:
            raise UsageError(f"{path} exists; it is kept.", "Choose another place with -o, or add --force.")
    if request.training.device != "cpu" and not torch.cuda.is_available():
        raise UsageError(f"torch sees no {request.training.device} here.", "Leave --device out to train on the CPU.")
    if request.force:
        request.checkpoint.unlink(missing_ok=True)


def _nothing(why: str) -> UsageError:
    return UsageError(
        f"There is nothing to recover: {why}, and int8 was not asked for.",
        "Give a recipe with a rewrite that is not exact (`mobilekit rewrites list`), or --int8.",
    )


def _applied(changed: Rewritten, request: RecoverRequest) -> dict[str, int]:
    """Return the inexact rewrites that changed something, and at how many sites.

    Raises:
        UsageError: None did, and int8 is not asked for.
    """
    applied = {step.name: len(step.applied) for step in changed.steps if step.applied}
    if not applied and not request.int8:
        refused = next((f"{step.name}: {one.reason}" for step in changed.steps for one in step.refused), "")
        raise _nothing(f"no rewrite that is not exact was applied{f' ({refused})' if refused else ''}")
    return applied


class _Parts(NamedTuple):
    train: Arrays
    kept: Arrays


def _split(pictures: Arrays, request: RecoverRequest) -> _Parts:
    """Keep back one of five pictures, by the digest of its values: the same ones whatever their order.

    Raises:
        UsageError: There are too few of them.
    """
    rows = range(_count(pictures))
    digests = [hashlib.sha256(b"".join(array[row].tobytes() for array in pictures.values())).digest() for row in rows]
    is_kept = np.array([int.from_bytes(digest[:8]) % KEPT_BACK == 0 for digest in digests], bool)
    parts = _Parts(*({name: array[chosen] for name, array in pictures.items()} for chosen in (~is_kept, is_kept)))
    batch = request.training.batch
    enough = max(2 * KEPT_BACK * FEWEST_KEPT, 2 * batch)  # one of five is kept by chance
    if _count(parts.train) < batch or _count(parts.kept) < FEWEST_KEPT:
        raise UsageError(
            f"{request.pictures} has too few pictures: {_count(parts.train)} to train on, and {_count(parts.kept)} "
            f"that are kept back to measure on. A step takes {batch}, and at least {FEWEST_KEPT} are kept.",
            f"Give more pictures, which need no labels: {enough} are enough."
            + (" A smaller --batch-size takes fewer a step." if _count(parts.train) < batch else ""),
        )
    return parts


def _count(arrays: Arrays) -> int:
    return len(next(iter(arrays.values())))


def _tensors(arrays: Arrays) -> Tensors:
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def _floats(outputs: Arrays, request: RecoverRequest) -> Tensors:
    """Return the outputs that are quantities.

    Raises:
        UsageError: There are none.
    """
    found = {name: array for name, array in outputs.items() if not is_label(array)}
    if not found:
        raise UsageError(
            f"All outputs of {request.source.model} are labels, which have no gradient.",
            "Recover the network without its last argmax or threshold.",
        )
    return _tensors(found)


def _distances(built: Built, model: nn.Module, kept: Arrays, request: RecoverRequest) -> tuple[OutputDistance, ...]:
    """Return how far a model's export is from the reference: all rewrites, and int8 simulated where it is asked for."""
    loaded = request.source.recipe
    graph = rewrite(model, loaded, built.tensors, prove=False, enforce_limits=False).graph
    made: nn.Module = graph
    if request.int8:
        ranges = record(graph, built.calibration.arrays, pixels=loaded.recipe.pixels).ranges
        made = fake_quantize_int8(graph, loaded.recipe.int8, ranges)
    right, outputs = TorchRuntime(built.reference.model).run(kept), TorchRuntime(made).run(kept)
    compared = {name: compare(right[name], outputs[name]) for name in right}
    return tuple(
        OutputDistance(name, one.relative_l2, one.cosine, one.top1_agreement) for name, one in compared.items()
    )


def _digest(request: RecoverRequest, graph: GraphModule, calibration: Calibration, pictures: Arrays) -> str:
    """Return a digest of all that decides what the training gives.

    Args:
        request: What was asked for.
        graph: What is trained, with its first weights: its steps are the network's code, which a name does not tell.
        calibration: What int8 is calibrated on.
        pictures: What it is trained and measured on.
    """
    recipe = request.source.recipe.recipe.model_dump(mode="json")
    settings = [request.int8, request.training.to_json(), torch.__version__]
    return sha256_of_json(
        [
            request.source.model,
            graph.code,
            weights_digest(graph),
            recipe,
            calibration.digest,
            digest_of(pictures),
            settings,
        ]
    )
