"""A reference model with its weights, ready to be exported."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mobilekit.errors import UsageError, first_line
from mobilekit.models.inputs import Tensors, call, check_names, zeros
from mobilekit.models.names import LIVE, NO_WEIGHTS, PRETRAINED, file_spec, has_own_weights
from mobilekit.models.outputs import named_outputs
from mobilekit.models.registry import ModelEntry
from mobilekit.models.shapes import Shapes, describe_shapes, resized
from mobilekit.models.users_code import line_of, told
from mobilekit.models.weights import (
    calibrate_batch_norms,
    draw_weights,
    has_fresh_batch_norms,
    load_weights,
    packaged_weights,
)
from mobilekit.store.bundle import INPUT

SEED = 0
_SIZES_TRIED = 64
_OF_SIZES = (RuntimeError, ValueError)
_NO_SIZE = (
    "Each input is one tensor, of the shape that the recipe's `input` or `extra_inputs` says. A model that takes dicts "
    "or tuples needs a module around it that makes them of its inputs."
)
_IMAGES_A_BATCH = 4


@dataclass(frozen=True)
class Reference:
    """A reference model in evaluation mode, float32, and where its weights are from."""

    model: nn.Module
    weights_source: str
    is_trained: bool = True
    """Whether the weights may mean something: they were given, or come with the model. Seeded random ones do not, nor
    do a factory's whose batch norms were never trained."""


def effective_options(entry: ModelEntry, options: dict[str, Any], size: int | tuple[int, int]) -> dict[str, Any]:
    """Return the options to build with: the recipe's, and the input size where the model asks for it.

    A reference model asks for that of a square alone; a factory gets (height, width) of any other.
    """
    asks = "input_size" in entry.option_names() and (isinstance(size, int) or file_spec(entry.name) is not None)
    return {**options, **({"input_size": size} if asks else {})}


def probe_model(entry: ModelEntry, options: dict[str, Any], shapes: Shapes) -> nn.Module:
    """Build a model with seeded random weights, and check that it accepts inputs of these shapes.

    Raises:
        UsageError: It has other inputs, or cannot take these; the message names the next larger size of images that
            it can take, if any.
    """
    shape = shapes[INPUT]
    channels = options.get("in_channels", entry.in_channels)
    if channels and shape[1] != channels:
        raise UsageError(
            f"{entry.name} takes {channels}-channel pictures, and the recipe's have {shape[1]}.",
            "In the recipe, `input: {color: ...}` is rgb, bgr or gray; gray is one channel.",
        )

    def create(height: int, width: int) -> nn.Module:
        return _create(entry, effective_options(entry, options, height if height == width else (height, width)))

    def works_at(size: tuple[int, int]) -> bool:
        return _problem(create(*size), resized(shapes, (*shape[:2], *size))) is None

    model = create(*shape[2:])
    check_names(model, entry.name, shapes)
    trial = _for_trial(model) or create(*shape[2:])
    problem = _problem(trial, shapes)
    if problem is None:
        return model
    next_size = next(filter(works_at, _larger(*shape[2:])), None) if isinstance(problem, _OF_SIZES) else None
    words = (
        "" if next_size is None else f"{next_size[0]}x{next_size[1]}" if len(set(next_size)) > 1 else str(next_size[0])
    )
    hint = f"The next larger size that it takes is {words}." if words else _NO_SIZE
    words = first_line(problem, "it does not say why") if isinstance(problem, _OF_SIZES) else told(problem)
    code = file_spec(entry.name)
    place = line_of(problem, code[0] if code else None) if has_own_weights(entry.name) else ""
    raise UsageError(f"{entry.name} cannot take {describe_shapes(shapes)}: {words}{place}.", hint)


def _larger(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Yield sizes to try: of a square each that is larger, else both sides as multiples of a power of 2."""
    if height == width:
        yield from ((side, side) for side in range(height + 1, height + _SIZES_TRIED))
        return
    for step in (2, 4, 8, 16, 32, 64):
        yield math.ceil(height / step) * step, math.ceil(width / step) * step


def build_reference(
    entry: ModelEntry,
    options: dict[str, Any],
    weights: Path | None,
    calibration: Tensors,
    model: nn.Module | None = None,
) -> Reference:
    """Build a model and fill it with weights.

    Args:
        entry: Which model.
        options: Override the entry's options.
        weights: A checkpoint; without one, the weights that come with the model, those of its library that are on the
            disk, or those that the user's code gives it, as they are; or else, and with `NO_WEIGHTS`, seeded random
            ones whose batch norms are set on `calibration`. With `PRETRAINED` its library's, which are on the disk.
        calibration: float32 inputs (N, ...) by name.
        model: What `probe_model` made with these options; it is filled. Without, one is built.

    Raises:
        UsageError: The options or the checkpoint do not fit.
    """
    model = _create(entry, options) if model is None else model
    is_own = has_own_weights(entry.name)
    if file := pretrained_file(entry, options, weights):
        assert entry.pretrained
        entry.pretrained.load(model)
        return _as_given(model, f"trained ones ({entry.pretrained.name}: {file.name})")
    if weights is not None and weights not in (NO_WEIGHTS, PRETRAINED):
        load_weights(model, weights)
        return Reference(model, f"checkpoint {weights.name}")
    if weights != NO_WEIGHTS and entry.weights is not None:
        load_weights(model, packaged_weights(entry.weights))
        return Reference(model, f"trained weights that come with mobilekit ({entry.weights})")
    if weights is None and is_own:
        is_live = entry.name.startswith(LIVE)
        return _as_given(model, "the module's own weights" if is_live else f"the weights that {entry.name} gives it")
    left = _drawn_anew(model) if is_own else []
    _calibrate(model, entry.name, calibration)
    kept = f" (but for {', '.join(left[:3])}{', ...' if len(left) > 3 else ''})" if left else ""
    source = f"seeded random weights (seed {SEED}){kept}, batch norms calibrated; accuracy means nothing"
    if weights is None and entry.pretrained:
        source += f"; {entry.pretrained.name} are not taken"
    return Reference(model, source, is_trained=False)


def pretrained_file(entry: ModelEntry, options: dict[str, Any], weights: Path | None) -> Path | None:
    """Return the file of its library's weights that a model is filled with; None where it is filled with others.

    Without a word these are taken where they are on the disk, and the number of classes is theirs.

    Args:
        entry: Which model.
        options: That it is built with.
        weights: As `build_reference` takes them.

    Raises:
        UsageError: They are asked for, and there are none.
    """
    there = entry.pretrained
    if weights == PRETRAINED and there is None and entry.weights is None:
        raise UsageError(
            f"--pretrained takes weights that a library has, and there are none for {entry.name}.",
            "Give a checkpoint by --weights, or leave it out.",
        )
    is_changed = options.get("num_classes", entry.num_classes) != entry.num_classes
    if there is None or weights not in (None, PRETRAINED) or (weights is None and is_changed):
        return None
    return there.find()


def fetch_pretrained(entry: ModelEntry, weights: Path | None) -> None:
    """Download a library's weights where they are asked for and not on the disk.

    Raises:
        ToolError: They cannot be downloaded.
        UsageError: There are none.
    """
    there = entry.pretrained
    if weights == PRETRAINED and there and there.find() is None:
        there.fetch()


def _as_given(model: nn.Module, source: str) -> Reference:
    """Return a model with the weights that it has, and doubt them where its batch norms were never trained."""
    if not has_fresh_batch_norms(model):
        return Reference(model, source)
    fresh = "its batch norms were never trained (mean 0, variance 1), and accuracy means nothing"
    return Reference(model, f"{source}; {fresh}", is_trained=False)


def _drawn_anew(model: nn.Module) -> list[str]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return draw_weights(model)


def _calibrate(model: nn.Module, name: str, calibration: Tensors) -> None:
    """Set a model's batch norms on calibration inputs.

    Raises:
        UsageError: There are too few.
    """
    # A few at a time: where a map is 1x1, one image alone has no variance.
    count = max(1, len(calibration[INPUT]) // _IMAGES_A_BATCH)
    parts = zip(*(tensor.tensor_split(count) for tensor in calibration.values()), strict=True)
    try:
        calibrate_batch_norms(model, (dict(zip(calibration, batch, strict=True)) for batch in parts))
    except ValueError as error:
        raise UsageError(f"{name}: {error}.", "Give more calibration inputs.") from error


def save_state(model: nn.Module, path: Path) -> None:
    """Write parameters and buffers as safetensors."""
    state = model.state_dict()
    # A layer under two names has its tensors twice: safetensors takes none that share memory.
    save_file({name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}, path)


def load_state(model: nn.Module, path: Path) -> None:
    """Read back what `save_state` wrote.

    Raises:
        UsageError: The file is damaged.
        RuntimeError: It is of another model.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"{path} cannot be read: {first_line(error)}.", "It was changed since the export: export the model again."
        ) from error
    model.load_state_dict(state)


def _create(entry: ModelEntry, options: dict[str, Any]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return entry.create(**options)


def _for_trial(model: nn.Module) -> nn.Module | None:
    """Return a model of the same tensors that can be run in another's place; None where a module cannot be copied.

    LeViT and its kin keep what they looked up in their weights at the first run, and would keep it when weights are
    loaded afterwards.
    """
    tensors = (*model.parameters(), *model.buffers())
    try:
        return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    except Exception:  # a user's module holds what it likes
        return None


def _problem(model: nn.Module, shapes: Shapes) -> BaseException | None:
    """Return what the model raises at inputs of these shapes, or None.

    Raises:
        UsageError: It takes them, and its result cannot be named.
    """
    try:
        with torch.no_grad():
            result = call(model, zeros(shapes))
    except (Exception, SystemExit) as error:  # a user's code raises what it likes
        return error
    taken = sorted(set(named_outputs(result)) & set(shapes))
    if taken:
        raise UsageError(
            f"The model has an output and an input that are both named {taken[0]}.",
            "Give the output another key, or the parameter of forward another name.",
        )
    return None
