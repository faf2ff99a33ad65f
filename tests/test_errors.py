"""What errors are quoted with: also one that comes without a message, wherever another tool's error is caught."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import ai_edge_litert.interpreter
import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from torch import nn

from mobilekit.artifacts.litert import LiteRTRuntime
from mobilekit.artifacts.onnx import OnnxRuntime
from mobilekit.bench.budgets import parse_budgets
from mobilekit.convert.onnx import write_onnx
from mobilekit.errors import MobilekitError, first_line, without_secrets
from mobilekit.models import timm_models, weights
from mobilekit.models.build import probe_model
from mobilekit.models.registry import ModelEntry
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.load import parse_recipe
from mobilekit.rewrites.fx.graph import trace
from tests.tflite_by_hand import make_tflite

ONE = {"x": np.zeros((1, 4), np.float32)}


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (ValueError("No such op.\nTraceback ..."), "No such op"),
        (ValueError("\n  \n  indented  \n"), "indented"),
        (ValueError(), "ValueError"),
        (ValueError(" \n"), "ValueError"),
        (KeyboardInterrupt("."), "KeyboardInterrupt"),
        ("one.\ntwo", "one"),
        ("", "it said nothing"),
    ],
)
def test_the_first_line(told: BaseException | str, line: str) -> None:
    assert first_line(told) == line


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("https://me:hush@host:9/x?sig=HUSH: no.", "https://host:9/x: no."),
        ("https://me:hu@sh@host/x#HUSH and on", "https://host/x and on"),
        ("404, url='https://host/x?sig=HUSH', on", "404, url='https://host/x', on"),
        ("port=9): with url: /api/x?k=HUSH (Caused by it?)", "port=9): with url: /api/x (Caused by it?)"),
        ("postgresql://me:hu?sh@host/db?password=HUSH", "postgresql://host/db"),
        ("Is it a, or b? See /docs/a.md", "Is it a, or b? See /docs/a.md"),
    ],
)
def test_secrets_of_urls_are_not_shown(told: str, shown: str) -> None:
    assert without_secrets(told) == shown


def test_what_stands_for_an_empty_message() -> None:
    assert first_line(ValueError(), "it does not say why") == "it does not say why"
    assert first_line("said", "it does not say why") == "said"


def _silent(kind: type[Exception]) -> Callable[..., NoReturn]:
    """Return a function that raises an exception without a message, whatever it is given."""

    def fail(*_arguments: Any, **_more: Any) -> NoReturn:
        raise kind

    return fail


class _Silent(nn.Module):
    def forward(self, image: torch.Tensor) -> torch.Tensor:
        raise RuntimeError


def _open_litert(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ai_edge_litert.interpreter, "Interpreter", _silent(RuntimeError))
    LiteRTRuntime(_doubled(folder))


def _run_litert(folder: Path, patch: pytest.MonkeyPatch) -> None:
    runtime = LiteRTRuntime(_doubled(folder))
    patch.setattr(runtime.interpreter, "invoke", _silent(RuntimeError))
    runtime.run(ONE)


def _open_onnx(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(onnxruntime, "InferenceSession", _silent(RuntimeError))
    OnnxRuntime(folder / "model.onnx")


def _run_onnx(folder: Path, patch: pytest.MonkeyPatch) -> None:
    path = folder / "model.onnx"
    write_onnx(trace(nn.ReLU(), {"input": torch.zeros(1, 4)}), {"input": (1, 4)}, path)
    runtime = OnnxRuntime(path)
    patch.setattr(runtime, "session", type("Session", (), {"run": _silent(RuntimeError)}))
    runtime.run({"input": ONE["x"]})


def _write_onnx(folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(torch.onnx, "export", _silent(RuntimeError))
    write_onnx(trace(nn.ReLU(), {"input": torch.zeros(1, 4)}), {"input": (1, 4)}, folder / "model.onnx")


def _import_timm(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(timm_models, "import_timm", _silent(ImportError))
    timm_models.timm_entry("timm:resnet18", "resnet18")


def _read_recipe(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(yaml_positions, "load_with_lines", _silent(yaml.YAMLError))
    parse_recipe("{}", "own", "own.yaml")


def _read_budgets(_folder: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(yaml_positions, "load_with_lines", _silent(yaml.YAMLError))
    parse_budgets("", "budgets.yaml")


def _trace(_folder: Path, _patch: pytest.MonkeyPatch) -> None:
    trace(_Silent(), {"image": torch.zeros(1)})


def _build(_folder: Path, _patch: pytest.MonkeyPatch) -> None:
    entry = ModelEntry(name="silent", build=_Silent, paper="here", input_size=8)
    probe_model(entry, {}, {"input": (1, 3, 8, 8)})


def _read_weights(folder: Path, patch: pytest.MonkeyPatch) -> None:
    (folder / "a.safetensors").write_bytes(b"")
    patch.setattr(weights, "load_file", _silent(OSError))
    weights.read_checkpoint(folder / "a.safetensors")


def _doubled(folder: Path) -> Path:
    path = folder / "doubled.tflite"
    path.write_bytes(make_tflite([("ADD", ["x", "x"], "y")], (1, 4), ["y"]))
    return path


@pytest.mark.parametrize(
    ("attempt", "words"),
    [
        (_open_litert, "LiteRT cannot open {folder}/doubled.tflite: RuntimeError."),
        (_run_litert, "LiteRT failed while running doubled.tflite: RuntimeError."),
        (_open_onnx, "ONNX Runtime cannot open {folder}/model.onnx: RuntimeError."),
        (_run_onnx, "ONNX Runtime failed while running model.onnx: RuntimeError."),
        (_write_onnx, "torch.onnx failed: RuntimeError."),
        (_import_timm, "timm:resnet18 needs timm, which cannot be imported: ImportError."),
        (_read_recipe, "own.yaml:1: not valid YAML: YAMLError."),
        (_read_budgets, "budgets.yaml:1: not valid YAML: YAMLError."),
        (_trace, "(RuntimeError)."),
        (_build, "silent cannot take an input of 3x8x8: it does not say why."),
        (_read_weights, "a.safetensors is not a checkpoint that can be read: damaged (OSError)."),
    ],
)
def test_an_exception_without_a_message_is_told(
    attempt: Callable[[Path, pytest.MonkeyPatch], None], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MobilekitError) as caught:
        attempt(tmp_path, monkeypatch)
    assert caught.value.what.endswith(words.format(folder=tmp_path))
