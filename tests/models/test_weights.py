"""Checkpoints: damaged, dangerous and unfitting ones are refused, each in words that a user can act on."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.families.ghostnet import translate_key
from mobilekit.models.weights import (
    calibrate_batch_norms,
    load_weights,
    read_checkpoint,
    weights_digest,
)
from tests.properties import times


def small() -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), bn=nn.BatchNorm2d(2), head=nn.Linear(2, 3)))


@pytest.fixture
def state() -> dict[str, Any]:
    return {name: torch.rand_like(t) if t.is_floating_point() else t for name, t in small().state_dict().items()}


def saved(content: object, folder: Path) -> Path:
    path = folder / "checkpoint.pth"
    torch.save(content, path)
    return path


def refusal(path: Path, model: nn.Module | None = None) -> str:
    with pytest.raises(UsageError) as caught:
        if model:
            load_weights(model, path)
        else:
            read_checkpoint(path)
    assert str(path) in str(caught.value)
    return str(caught.value).replace(str(path), "FILE")


def test_all_that_a_checkpoint_holds_is_loaded(state: dict[str, Any], tmp_path: Path) -> None:
    model = small()
    load_weights(model, saved(state, tmp_path))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state[name]), name


def test_missing_parameters_are_named(state: dict[str, Any], tmp_path: Path) -> None:
    for name in ("conv.weight", "conv.bias", "bn.weight", "bn.running_var"):
        del state[name]
    text = refusal(saved(state, tmp_path), small())
    assert text.startswith("FILE does not fit the model: 4 missing: conv.weight, conv.bias, bn.weight, ....\n")
    assert "width" in text


def test_unknown_parameters_are_named(state: dict[str, Any], tmp_path: Path) -> None:
    state["tail.weight"] = torch.zeros(1)
    assert "does not fit the model: 1 unknown: tail.weight." in refusal(saved(state, tmp_path), small())


def test_parameters_of_another_shape_are_named_with_both_shapes(state: dict[str, Any], tmp_path: Path) -> None:
    state["head.weight"] = torch.zeros(5, 2)
    state["extra"] = torch.zeros(1)
    text = refusal(saved(state, tmp_path), small())
    assert "1 unknown: extra; 1 of another shape: head.weight is (5, 2), not (3, 2)." in text


def test_a_checkpoint_that_does_not_fit_changes_nothing(state: dict[str, Any], tmp_path: Path) -> None:
    model = small()
    before = weights_digest(model)
    del state["head.bias"]
    refusal(saved(state, tmp_path), model)
    assert weights_digest(model) == before


def test_counters_of_batches_may_be_missing(state: dict[str, Any], tmp_path: Path) -> None:
    del state["bn.num_batches_tracked"]
    model = small()
    load_weights(model, saved(state, tmp_path))
    assert torch.equal(model.get_parameter("head.weight"), state["head.weight"])


class RunsCode:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused_and_runs_none(
    legacy: bool, state: dict[str, Any], tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(RunsCode(marker)))  # noqa: S301  (the trap works)
    assert marker.exists()
    marker.unlink()
    path = tmp_path / "checkpoint.pth"
    torch.save({"state_dict": state, "extra": RunsCode(marker)}, path, _use_new_zipfile_serialization=not legacy)
    text = refusal(path)
    assert "is refused" in text
    assert "could run code" in text
    assert "safetensors" in text
    assert not marker.exists()


def test_a_whole_pickled_model_is_refused(tmp_path: Path) -> None:
    assert "Save the state dict alone" in refusal(saved(nn.Linear(2, 2), tmp_path))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"hello, I am text\n", b"{}", b"\x00" * 64, b"\x80\x02."], ids=repr)
def test_what_is_no_checkpoint_is_refused(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"checkpoint{suffix}"
    path.write_bytes(content)
    refusal(path)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("form", ["zip", "legacy", "safetensors"])
def test_truncated_checkpoints_are_refused(form: str, kept: float, state: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / f"checkpoint.{'safetensors' if form == 'safetensors' else 'pth'}"
    if form == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "FILE is" in refusal(path, small())


@settings(times(4), derandomize=True)
@given(st.binary(max_size=40) | st.text("abcdest{}[](), .:\n", max_size=40).map(str.encode))
def test_no_bytes_at_all_get_past_as_another_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pth"
    path.write_bytes(content)
    text = refusal(path)
    assert text.startswith(("FILE is refused", "FILE is not a checkpoint that can be read: "))
    assert not any(
        line.strip(" .0123456789") == "FILE is not a checkpoint that can be read:" for line in text.splitlines()
    )


def test_a_damaged_pickle_is_refused(state: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    content = bytearray(path.read_bytes())
    outcomes = set()
    for place in range(0, len(content), 7):
        content[place] ^= 0x10
        path.write_bytes(bytes(content))
        try:
            read_checkpoint(path)
            outcomes.add("read")  # the damage was in a value
        except UsageError:
            outcomes.add("refused")
        content[place] ^= 0x10
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    "content", [[torch.zeros(2)], {"epoch": 3, "lr": 1}, {"state_dict": {"a": 1}}, 7, torch.zeros(3), {}], ids=str
)
def test_checkpoints_without_named_tensors_are_refused(content: object, tmp_path: Path) -> None:
    assert "FILE holds no tensors by name" in refusal(saved(content, tmp_path))


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content
    assert "holds no tensors by name" in refusal(saved(content, tmp_path))


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_missing_files_and_directories_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"nothing.{suffix}"
    assert "There is no weights file FILE" in refusal(path)
    path.mkdir()
    assert "There is no weights file FILE" in refusal(path)


def test_only_a_prefix_that_all_names_have_is_taken_off(tmp_path: Path) -> None:
    whole = {"module.a": torch.zeros(1), "module.b": torch.zeros(1)}
    assert set(read_checkpoint(saved(whole, tmp_path))) == {"a", "b"}
    mixed = {"module.a": torch.zeros(1), "b": torch.zeros(1)}
    assert set(read_checkpoint(saved(mixed, tmp_path))) == {"module.a", "b"}


def test_names_of_the_official_attention_are_translated() -> None:
    names = [translate_key(f"blocks.3.0.ghost1.short_conv.{i}.weight") for i in range(6)]
    own = ["project", "project_bn", "horizontal", "horizontal_bn", "vertical", "vertical_bn"]
    assert names == [f"blocks.3.0.ghost1.attention.{name}.weight" for name in own]
    for other in ("conv_stem.weight", "blocks.3.0.ghost1.short_conv.6.weight"):
        assert translate_key(other) == other


def test_a_model_translates_other_code_bases_checkpoints(tmp_path: Path) -> None:
    class Translating(nn.Linear):
        def translate_checkpoint(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {"weight": state["kernel"].T, "bias": state["offset"] - 1}

    model = Translating(2, 3)
    load_weights(model, saved({"module.kernel": torch.ones(2, 3), "module.offset": torch.ones(3)}, tmp_path))
    assert torch.equal(model.weight, torch.ones(3, 2))
    assert torch.equal(model.bias, torch.zeros(3))


class Tensors(nn.Module):
    """Buffers in a given order."""

    def __init__(self, **tensors: torch.Tensor) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)


def test_the_digest_changes_with_a_bit_and_not_with_the_order() -> None:
    a, b = torch.arange(4.0), torch.ones(2)
    digest = weights_digest(Tensors(a=a, b=b))
    assert weights_digest(Tensors(b=b.clone(), a=a.clone())) == digest
    flipped = a.clone()
    flipped.view(torch.int32)[3] ^= 1
    others = [
        Tensors(a=flipped, b=b),
        Tensors(a=a.reshape(2, 2), b=b),
        Tensors(a=a, c=b),
        Tensors(a=a.view(torch.int32), b=b),
        Tensors(a=a),
    ]
    assert len({digest, *map(weights_digest, others)}) == 1 + len(others)
    assert weights_digest(Tensors(a=torch.arange(4.0).reshape(2, 2).T)) == weights_digest(
        Tensors(a=torch.tensor([[0.0, 2.0], [1.0, 3.0]]))
    )  # how the tensor lies in memory does not matter


def test_settings_tell_apart_what_code_and_weights_do_not() -> None:
    from mobilekit.models.weights import settings_of
    from mobilekit.recipes.load import parse_recipe
    from mobilekit.rewrites.engine import rewrite
    from mobilekit.rewrites.fx.graph import trace

    net = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ChannelShuffle(2)).eval()
    made = []
    for form in ("transpose", "gather"):
        text = f"input: {{size: 32}}\nrewrites: [{{name: channel-shuffle, options: {{form: {form}}}}}]"
        made.append(rewrite(net, parse_recipe(text, form, form), prove=False).graph)
    assert made[0].code == made[1].code
    assert settings_of(made[0]) != settings_of(made[1])
    assert settings_of(made[0]) == settings_of(made[0])
    image = {"input": torch.zeros(1, 3, 8, 8)}
    strided = [trace(nn.Sequential(nn.Conv2d(3, 6, 1, stride=stride)), image) for stride in (1, 2)]
    assert strided[0].code == strided[1].code
    assert settings_of(strided[0]) != settings_of(strided[1])
    assert "stride=(2, 2)" in settings_of(strided[1])[-1]


def test_averaged_weights_are_preferred(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    state = {key: torch.zeros_like(tensor) for key, tensor in model.state_dict().items()}
    averaged = {key: torch.ones_like(tensor) for key, tensor in model.state_dict().items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged}, tmp_path / "both.pth")
    load_weights(model, tmp_path / "both.pth")
    assert torch.equal(model.weight, torch.ones(2, 2))


def test_calibrated_batch_norms_have_the_statistics_of_all_batches() -> None:
    norm = nn.BatchNorm2d(3).eval()
    batches = [torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(i)) * (i + 1) + i for i in range(3)]
    calibrate_batch_norms(norm, [{"input": batch} for batch in batches])
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches]).mean(0)
    assert norm.running_mean is not None
    assert torch.allclose(norm.running_mean, means, atol=1e-6)
    assert (norm.momentum, norm.training) == (0.1, False)
