"""Models that are not in our list: those of libraries, and `FILE.py:FACTORY` of the user's own."""

from __future__ import annotations

import copy
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.names import LIVE, TIMM, TORCHVISION, TRANSFORMERS, check_name, file_spec
from mobilekit.models.registry import ModelEntry, find_model
from mobilekit.models.timm_models import timm_entry
from mobilekit.models.torchvision_models import torchvision_entry
from mobilekit.models.transformers_models import transformers_entry
from mobilekit.models.users_code import line_of, told


def resolve(spec: str, may_download: bool = False) -> ModelEntry:
    """Return the model that a user names: a registered one, a library's, or `FILE.py:FACTORY`.

    The code of FILE.py runs, as the user named it.

    Args:
        spec: `NAME`, `timm:NAME`, `torchvision:NAME`, `hf:PATH`, `hf:NAME` or `FILE.py:FACTORY`.
        may_download: Whether a model of the hub may be fetched.

    Raises:
        ToolError: Its library is missing.
        UsageError: There is no such model, file or factory.
    """
    if spec.startswith(TIMM):
        return timm_entry(spec, spec.removeprefix(TIMM))
    if spec.startswith(TORCHVISION):
        return torchvision_entry(spec, spec.removeprefix(TORCHVISION))
    if spec.startswith(TRANSFORMERS):
        return transformers_entry(spec, spec.removeprefix(TRANSFORMERS), may_download)
    code = file_spec(spec)
    if code is None and not spec.endswith(".py"):
        return find_model(spec)
    check_name(spec)
    assert code
    return _file_entry(spec, *code)


def live_entry(module: nn.Module) -> ModelEntry:
    """Return a module of Python code as a model: each is a copy, on the CPU and in float32, with its weights."""

    def build() -> nn.Module:
        try:
            return copy.deepcopy(module).cpu().float()
        except Exception as error:  # whatever a part of it raises that cannot be copied
            raise UsageError(f"{type(module).__name__} cannot be copied: {told(error)}.") from error

    return ModelEntry(name=live_name(module), build=build, paper="Python code", in_channels=0, num_classes=0)


def live_name(module: nn.Module) -> str:
    """Return what a module of Python code is called: `module:CLASS`."""
    return f"{LIVE}{type(module).__name__}"


def _file_entry(spec: str, path: Path, name: str) -> ModelEntry:
    factory = getattr(_import_file(path), name, None)
    if not callable(factory):
        raise UsageError(f"{path} has no function or class {name}.", "Name what the file defines.")

    def build(**options: Any) -> nn.Module:
        try:
            model = factory(**options)
        except (Exception, SystemExit) as error:  # as below
            raise UsageError(f"{spec} failed: {told(error)}{line_of(error, path)}.") from error
        if not isinstance(model, nn.Module):
            raise UsageError(f"{spec} returned {type(model).__name__}, not a torch.nn.Module.")
        return model

    return ModelEntry(name=spec, build=_with_signature(build, factory), paper=str(path), in_channels=0, num_classes=0)


def _with_signature(build: Callable[..., nn.Module], factory: Callable[..., Any]) -> Callable[..., nn.Module]:
    """Let `build` show the parameters of `factory` to whoever inspects it."""
    build.__wrapped__ = factory  # type: ignore[attr-defined]
    return build


def _import_file(path: Path) -> Any:
    """Run a Python file as a module of its own name; its folder is importable to it, as it is to a script."""
    specification = importlib.util.spec_from_file_location(f"mobilekit_user_{path.stem}", path.absolute())
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    sys.path.insert(0, str(path.parent.absolute()))
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the user's code raises is the user's to mend
        raise UsageError(f"{path} cannot be run: {told(error)}{line_of(error, path)}.") from error
    finally:
        sys.path.remove(str(path.parent.absolute()))
    return module
