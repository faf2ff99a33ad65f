"""Weights: read from a checkpoint, or made from a seed.

Checkpoints load without running code: safetensors, or `torch.load(weights_only=True)`.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mobilekit.errors import UsageError, first_line
from mobilekit.models.batches import takes_batches
from mobilekit.models.inputs import Tensors, call

State = dict[str, torch.Tensor]
_WRAPPERS = ("state_dict_ema", "state_dict", "model")


def packaged_weights(name: str) -> Path:
    """Return the path of trained weights that come with mobilekit."""
    return Path(str(resources.files("mobilekit.models") / "checkpoints" / name))


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into `model`, wrapped or not, prefixed with `module.` or not.

    A model that knows other code bases' checkpoints has a method `translate_checkpoint`, which takes a checkpoint's
    tensors by name and returns them under the model's own names, with their values changed where that code base
    computes something else.

    Raises:
        UsageError: The file is missing, would run code, is no checkpoint, or does not fit the model.
    """
    translate: Callable[[State], State] = getattr(model, "translate_checkpoint", lambda state: state)
    fill(model, translate(read_checkpoint(path)), path)


def fill(model: nn.Module, state: State, path: Path) -> None:
    """Put tensors of a checkpoint into a model under the same names.

    Raises:
        UsageError: They do not fit; the message names `path`, which they are from.
    """
    _check_fit(model, state, path)
    model.load_state_dict(state, strict=False)


def read_checkpoint(path: Path) -> State:
    """Return the tensors of a .safetensors or PyTorch checkpoint by name, unwrapped.

    Raises:
        UsageError: The file is missing, would run code, or holds no tensors.
    """
    if not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"{path} is refused: it is no checkpoint of tensors alone, and loading anything else could run code.",
            "Save the state dict alone: torch.save(model.state_dict(), ...), or use safetensors.",
        ) from error
    except Exception as error:  # a damaged pickle raises whatever its first wrong byte leads to
        told = str(error) if isinstance(error, SafetensorError | RuntimeError | ValueError | OSError) else ""
        first = first_line(told, f"damaged ({type(error).__name__})")
        raise UsageError(f"{path} is not a checkpoint that can be read: {first}.") from error
    return _unwrap(content, path)


def weights_digest(model: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers, in order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def settings_of(model: nn.Module) -> list[list[str]]:
    """Return the class and the settings of every module, such as strides and modes: what code and weights leave open.

    Of a module's public attributes these are numbers, words, tuples and lists, and the names of functions.
    """
    return [
        [path, f"{type(module).__module__}.{type(module).__qualname__}", *_settings(module)]
        for path, module in model.named_modules()
        if path
    ]


def _settings(module: nn.Module) -> list[str]:
    plain = (bool, int, float, str, tuple, list, type(None))
    public = {name: value for name, value in sorted(vars(module).items()) if not name.startswith("_")}
    found = {name: repr(value) for name, value in public.items() if isinstance(value, plain)}
    found |= {name: value.__name__ for name, value in public.items() if hasattr(value, "__name__")}
    return [f"{name}={value}" for name, value in sorted(found.items())]


def draw_weights(model: nn.Module) -> list[str]:
    """Draw the weights of each layer anew, as torch does where it makes one.

    Returns:
        The names of the parameters that stay as they are: their module has no `reset_parameters`.
    """
    left = []
    for path, module in model.named_modules():
        reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
        if callable(reset):
            reset()
        else:
            left += [f"{path}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)]
    return left


def has_fresh_batch_norms(model: nn.Module) -> bool:
    """Return whether a model has batch norms, and all have the statistics that they begin with: mean 0, variance 1."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    means = [norm.running_mean for norm in norms if norm.running_mean is not None]
    variances = [norm.running_var for norm in norms if norm.running_var is not None]
    return bool(means) and not any(bool(mean.any()) for mean in means) and all(bool((v == 1).all()) for v in variances)


def calibrate_batch_norms(model: nn.Module, batches: Iterable[Tensors]) -> None:
    """Set the statistics of every batch norm to those of `batches`, so that untrained weights give sane activations.

    Args:
        model: In evaluation mode, before and after.
        batches: float32 inputs (N, ...) by name.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    batches = list(batches)
    if not takes_batches(model, batches[0]):
        batches = [image for batch in batches for image in _singles(batch)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
        norm.train()
    with torch.no_grad():
        for batch in batches:
            call(model, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _singles(batch: Tensors) -> list[Tensors]:
    count = len(next(iter(batch.values())))
    return [{name: tensor[place : place + 1] for name, tensor in batch.items()} for place in range(count)]


def _unwrap(content: object, path: Path) -> State:
    for _ in range(len(_WRAPPERS)):
        if not isinstance(content, Mapping):
            break
        inner = next((content[name] for name in _WRAPPERS if isinstance(content.get(name), Mapping)), None)
        if inner is None:
            break
        content = inner
    tensors = (
        {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise UsageError(f"{path} holds no tensors by name.", "A checkpoint is a state dict, or a dict that holds one.")
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _check_fit(model: nn.Module, state: Mapping[str, torch.Tensor], path: Path) -> None:
    own = model.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in counters]
    extra = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {kind}: {', '.join(names[:3])}{', ...' if len(names) > 3 else ''}"
        for kind, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise UsageError(
            f"{path} does not fit the model: {'; '.join(problems)}.",
            "Check that model, width, number of classes and checkpoint belong together.",
        )
