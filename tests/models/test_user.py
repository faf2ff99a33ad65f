"""Models that the user brings: code in a file, timm's, several outputs, and refusals that name the line."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from mobilekit.errors import UsageError
from mobilekit.models.names import file_spec, folder_name
from mobilekit.models.user import resolve
from mobilekit.recipes.load import load_recipe
from mobilekit.rewrites.engine import rewrite
from mobilekit.rewrites.fx.graph import trace
from tests.conftest import Cli


def write(folder: Path, code: str) -> Path:
    path = folder / "mine.py"
    path.write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(code))
    return path


def test_the_name_of_the_bundle() -> None:
    assert folder_name("timm:resnet18") == "resnet18"
    assert folder_name("nets/mine.py:small") == "mine_small"
    assert folder_name("ghostnetv2") == "ghostnetv2"


def test_code_in_a_file_is_told_from_other_names() -> None:
    assert file_spec("a:b/mine.py:small") == (Path("a:b/mine.py"), "small")
    assert [file_spec(name) for name in ("ghostnetv2", "timm:resnet18", "mine.py", "net.pyc:make")] == [None] * 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("missing.py:make", "There is no file missing.py"),
        ("{file}:nothing", "has no function or class nothing"),
        ("{file}", "names no factory"),
        ("{file}:number", "has no function or class number"),
    ],
)
def test_what_cannot_be_found_is_said(spec: str, message: str, tmp_path: Path) -> None:
    file = write(tmp_path, "number = 3\n")
    with pytest.raises(UsageError, match=message):
        resolve(spec.format(file=file))


def test_code_that_fails_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a = 1\nb = a / 0\n")
    with pytest.raises(UsageError, match=r"ZeroDivisionError: division by zero \(line 4\)"):
        resolve(f"{path}:make")


def test_a_factory_takes_options_and_must_return_a_module(tmp_path: Path) -> None:
    path = write(tmp_path, "def make(width=4): return nn.Conv2d(3, width, 1)\ndef wrong(): return 3\n")
    assert resolve(f"{path}:make").create(width=7).out_channels == 7  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="Did you mean width"):
        resolve(f"{path}:make").create(widht=7)
    with pytest.raises(UsageError, match="returned int"):
        resolve(f"{path}:wrong").create()


class BranchOnValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.mean() > 0:
            return x
        return -x


class NumberFromValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean().item()


class LoopOverValues(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(int(x.sum())):
            x = x + 1
        return x


@pytest.mark.parametrize(
    ("model", "line"),
    [(BranchOnValues, "if x.mean"), (NumberFromValues, "x.mean().item"), (LoopOverValues, "for _ in range")],
)
def test_control_flow_on_values_is_refused_with_its_line(model: type[nn.Module], line: str) -> None:
    """Traced with an example these would silently keep the example's branch, number or count."""
    with pytest.raises(UsageError) as caught:
        trace(model(), {"input": torch.ones(1, 3, 4, 4)})
    assert f"{Path(__file__).name}:" in str(caught.value)
    assert line in str(caught.value)


class FoldsBySize(nn.Module):
    """Computes with its sizes in Python, as window attention does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        rows = max(1, height // 4)
        if width % 2:
            x = x[..., :-1]
        return x.reshape(batch, channels, rows, -1).sum(2) * float(channels)


@pytest.mark.parametrize("size", [(8, 8), (12, 9)])
def test_python_code_on_sizes_is_traced_for_the_size(size: tuple[int, int]) -> None:
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(
        trace(FoldsBySize(), {"input": torch.zeros(1, 3, *size)})(x), FoldsBySize()(x), rtol=0, atol=0
    )


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "mobilevit_s", "regnety_004", "convnext_atto"])
def test_timm_models_are_traced_and_rewritten_exactly(name: str) -> None:
    entry = resolve(f"timm:{name}")
    torch.manual_seed(0)
    model = entry.create()
    loaded = load_recipe("default")
    spec = loaded.recipe.input.model_copy(update={"size": 128 if name != "mobilevit_s" else 256})
    loaded = type(loaded)("default", loaded.recipe.model_copy(update={"input": spec}))
    rewritten = rewrite(model, loaded)
    x = torch.randn(spec.shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(rewritten.graph(x), model(x), rtol=1e-3, atol=1e-4)
    folded = next(step for step in rewritten.steps if step.name == "fold-batch-norm")
    proofs = [step.proof for step in rewritten.steps if step.applied]
    assert all(proof and proof.holds for proof in proofs)
    assert bool(folded.applied) == (name in ("regnety_004", "mobilevit_s", "mobilenetv3_large_100"))


def test_unknown_timm_models_are_told_the_nearest_names() -> None:
    with pytest.raises(UsageError, match="mobilenetv3_large_100"):
        resolve("timm:mobilenetv3_large_10")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("    raise RuntimeError('no [red]data[/red] :boom:')\n", "RuntimeError: no [red]data[/red] :boom: (line 4)"),
        ("    raise SystemExit(0)\n", "it ends the program by sys.exit(0) (line 4)"),
    ],
)
def test_a_factory_that_fails_is_told_with_its_line(tmp_path: Path, code: str, told: str) -> None:
    path = write(tmp_path, f"def make():\n{code}")
    with pytest.raises(UsageError) as caught:
        resolve(f"{path}:make").create()
    assert caught.value.what == f"{path}:make failed: {told}."


def test_an_error_in_a_file_that_the_factory_imports_is_told_with_that_file(tmp_path: Path) -> None:
    (tmp_path / "parts_of_mine.py").write_text("def part():\n    raise KeyError('depth')\n")
    path = write(tmp_path, "from parts_of_mine import part\ndef make(): return part()\n")
    with pytest.raises(UsageError) as caught:
        resolve(f"{path}:make").create()
    place = f"({tmp_path / 'parts_of_mine.py'}, line 2)"
    assert caught.value.what == f"{path}:make failed: KeyError: 'depth' {place}."


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise KeyError('[b]depth')", "KeyError: '[b]depth' (line 8)"),
        ("raise SystemExit(3)", "it ends the program by sys.exit(3) (line 8)"),
        ("return self.nothing(x)", "AttributeError: 'Net' object has no attribute 'nothing' (line 8)"),
        ("return x.reshape(7)", "shape '[7]' is invalid for input of size 3072 (line 8)"),
    ],
)
def test_a_forward_that_fails_is_told_with_its_line(code: str, words: str, tmp_path: Path, cli: Cli) -> None:
    path = write(
        tmp_path,
        f"\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"    def forward(self, x):\n        {code}\n",
    )
    done = cli("export", f"{path}:Net", "--input-size", "32", "-o", tmp_path / "out")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert f"error: {path}:Net cannot take an input of 3x32x32: {words}." in done.stderr


def test_a_forward_that_fails_later_is_no_fault_of_mobilekit(tmp_path: Path, cli: Cli) -> None:
    code = """
    class Net(nn.Module):
        def forward(self, x):
            if x.abs().sum() > 0:
                raise KeyError("[b]no zeros")
            return x.mean((2, 3))
    """
    path = write(tmp_path, code)
    words = ("export", f"{path}:Net", "--input-size", "32", "--weights", "none", "-o", tmp_path / "out")
    done = cli(*words)
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert f"error: {path}, line 7: KeyError: '[b]no zeros'\n" in done.stderr and "fault" not in done.stderr
