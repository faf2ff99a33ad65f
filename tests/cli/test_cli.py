"""The command line: exit codes, messages that say what to do next, and nothing left behind by what fails."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from mobilekit import __version__
from mobilekit.cli import app as application
from mobilekit.models.registry import model_names
from mobilekit.recipes.builtin import builtin_recipes
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.catalogue import REWRITES
from mobilekit.store.bundle import MANIFEST
from tests.conftest import ROOT, Cli

SMALL = ("ghostnetv2", "--input-size", "64", "--no-cache")


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run the command line in this process, which is quicker than in one of its own."""
    monkeypatch.setenv("MOBILEKIT_DEBUG", "")
    handler = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str | Path) -> Said:
        monkeypatch.setattr(sys, "argv", ["mobilekit", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            application.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    yield call
    signal.signal(signal.SIGTERM, handler)


def _tree(folder: Path) -> dict[str, bytes | None]:
    """Return all below a folder, hidden files too, with the contents of files."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def _picture(path: Path, mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 70, 3), np.uint8)).convert(mode).save(path)
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with everything that an export can be given wrongly."""
    for name in ("empty", "mixed", "corrupt"):
        (tmp_path / name).mkdir()
    _picture(tmp_path / "corrupt" / "a.png")
    (tmp_path / "corrupt" / "b.png").write_bytes(_picture(tmp_path / "mixed" / "a.png").read_bytes()[:500])
    _picture(tmp_path / "mixed" / "gray.png", "L")
    (tmp_path / "weights.pth").write_text("no checkpoint")
    (tmp_path / "wrong.yaml").write_text("data: photos\ninput:\n  size: 64\n  colur: rgb\n")
    (tmp_path / "gray.yaml").write_text("input: {size: 64, color: gray, mean: [0], std: [1]}\n")
    (tmp_path / "option.yaml").write_text("model_options: {widht: 2}\n")
    (tmp_path / "rewrite.yaml").write_text("rewrites:\n  - name: noop-slise\n")
    return tmp_path


# Arguments of `export` with {} for the folder, and what is said.
REFUSED = {
    "unknown model": (["ghostnetv3"], "There is no model ghostnetv3", "Did you mean ghostnet"),
    "no model": ([], "Missing argument", "--help"),
    "too small": (["ghostnetv2", "--input-size", "32"], "cannot take an input of 3x32x32", "size that it takes is 33"),
    "far too small": (["ghostnetv2", "--input-size", "4"], "--input-size", "each is 8 to 4096"),
    "size is no number": (["ghostnetv2", "--input-size", "big"], "--input-size", "HEIGHTxWIDTH such as 256x192"),
    "precision": (["ghostnetv2", "--precision", "float32,int9"], "Unknown precision int9", "Did you mean int8"),
    "no precision": (["ghostnetv2", "--precision", ","], "No precision is named", "Known: dynamic, float16"),
    "rewrites": (["ghostnetv2", "--rewrites", "onn"], "--rewrites is onn, not on or off", ""),
    "weights": ([*SMALL, "--weights", "{}/none.pth"], "There is no weights file", "none.pth"),
    "weights are none": ([*SMALL, "--weights", "{}/weights.pth"], "weights.pth", "checkpoint"),
    "no folder": ([*SMALL, "--calibration", "{}/none"], "There is no folder", "none"),
    "no pictures": ([*SMALL, "--calibration", "{}/empty"], "There is no picture in", "Pictures end in .avif, .bmp"),
    "corrupt picture": ([*SMALL, "--calibration", "{}/corrupt"], "corrupt/b.png is not a picture", "Replace or remove"),
    "gray picture": ([*SMALL, "--calibration", "{}/mixed"], "mixed/gray.png is a gray picture", "rgb color"),
    "no recipe": (["ghostnetv2", "--recipe", "ghostnetv"], "There is no recipe ghostnetv", "Did you mean ghostnet"),
    "recipe's key": (["ghostnetv2", "--recipe", "{}/wrong.yaml"], "wrong.yaml:4: unknown key colur", "mean color?"),
    "recipe's color": (
        ["ghostnetv2", "--recipe", "{}/gray.yaml"],
        "takes 3-channel pictures",
        "recipe's have 1",
    ),
    "recipe's option": (["ghostnetv2", "--recipe", "{}/option.yaml"], "has no option widht", "Did you mean width"),
    "recipe's rewrite": (["ghostnetv2", "--recipe", "{}/rewrite.yaml"], "rewrite.yaml:2: there is no", "noop-slice?"),
    "unknown option": (["ghostnetv2", "--forc"], "No such option: --forc", "--force"),
}


@pytest.mark.parametrize(("arguments", "what", "hint"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_export_says_why_and_leaves_nothing(
    run: Run, place: Path, arguments: list[str], what: str, hint: str
) -> None:
    before = _tree(place)
    said = run("export", *[word.replace("{}", str(place)) for word in arguments], "-o", place / "out")
    assert said.code == 2, said.err
    assert what in said.err
    assert hint in said.err
    steps, error, told = said.err.rpartition("error: ")  # in a pipe each step is a line as it starts
    assert error
    assert steps in ("", "reading calibration inputs\n")
    assert len(told.splitlines()) <= 3
    assert "Traceback" not in said.err
    assert said.out == ""
    assert _tree(place) == before


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["plain", "force"])
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_never_replaced(run: Run, tmp_path: Path, kind: str, force: list[str]) -> None:
    out = tmp_path / "out"
    if kind == "folder":
        (out / ".git").mkdir(parents=True)
        (out / "thesis.txt").write_text("years of work")
    else:
        out.write_text("years of work")
    before = _tree(tmp_path)
    said = run("export", *SMALL, "-o", out, *force)
    assert said.code == 2
    assert f"{out} exists and is not a bundle" in said.err
    assert "-o" in said.err
    assert _tree(tmp_path) == before


def test_a_link_that_leads_nowhere_is_refused_before_the_work(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("nowhere")
    said = run("export", *SMALL, "-o", tmp_path / "out")
    assert said.code == 2
    assert f"{tmp_path / 'out'} is a link to nowhere, where nothing is." in said.err
    assert (tmp_path / "out").is_symlink()


def test_another_bundle_is_kept_without_force(run: Run, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MANIFEST).write_text('{"request": "another"}')
    before = _tree(tmp_path)
    said = run("export", *SMALL, "-o", tmp_path / "out")
    assert (said.code, "--force" in said.err) == (2, True)
    assert _tree(tmp_path) == before


def test_errors_in_a_process_of_its_own(cli_apart: Cli, tmp_path: Path) -> None:
    done = cli_apart("export", "ghostnetv3", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: There is no model ghostnetv3.\nDid you mean ghostnetv2")
    assert list(tmp_path.iterdir()) == []
    for debug, shown in (([], False), (["--debug"], True)):
        done = cli_apart(*debug, "verify", tmp_path / "none")
        assert (done.returncode, "Traceback" in done.stderr) == (2, shown)
        assert f"error: There is no folder {tmp_path / 'none'}.\n" in done.stderr


def test_no_command_prints_the_help(run: Run) -> None:
    said = run()
    assert said.code == 2
    assert "Usage:" in said.out
    assert "error" not in said.err
    assert run("--version").out == f"mobilekit {__version__}\n"


def test_an_unknown_command_names_the_nearest(run: Run) -> None:
    said = run("exprot")
    assert said.code == 2
    assert "No such command 'exprot'" in said.err
    assert "export" in said.err


def test_models_as_json(run: Run) -> None:
    said = run("models", "--json")
    entries = {entry["name"]: entry for entry in json.loads(said.out)}
    assert (said.code, sorted(entries)) == (0, model_names())
    for entry in entries.values():
        assert entry["params"] > 10_000
        assert not entry.get("stages")
        assert entry["macs"] > entry["params"]
        assert {"params", "macs", "top1", "phone_latency_ms", "phone", "source"} <= set(entry["published"])
        assert (entry["published"]["phone_latency_ms"] is None) == (entry["published"]["phone"] == "")
        for figure, deviation in entry["deviation"].items():
            published = entry["published"][figure]
            assert (deviation is None) == (published is None)
            assert published is None or entry[figure] == pytest.approx(published * (1 + deviation))
    published = {name: entry["published"]["macs"] for name, entry in entries.items() if entry["published"]["macs"]}
    assert (published["ghostnetv2"], published["ghostnet"]) == (167_000_000, 141_000_000)
    for name, macs in published.items():
        assert entries[name]["macs"] == pytest.approx(macs, rel=0.03), name  # 13M stands for 13.3M
    digits = entries["ghostnetv2_digits"]
    assert (digits["input"], digits["classes"]) == ([1, 32, 32], 10)
    assert f"{digits['params']:,}" in run("models", "ghostnetv2_digits").out
    said = run("models", "ghostnet_v2")
    assert said.code == 2
    assert "Did you mean ghostnetv2" in said.err


def test_recipes_are_listed_and_shown(run: Run) -> None:
    listed = json.loads(run("recipes", "--json").out)
    assert [entry["name"] for entry in listed] == list(builtin_recipes())
    assert "ghostnetv2_160" in next(entry for entry in listed if entry["name"] == "ghostnetv2")["models"]
    shown = run("recipes", "show", "ghostnetv2").out
    assert shown == (ROOT / "export_recipes" / "ghostnetv2.yaml").read_text()
    content = json.loads(run("recipes", "show", "ghostnetv2", "--json").out)
    assert [step["name"] for step in content["rewrites"]][:2] == ["dfc-shared", "gate-before-upsample"]
    said = run("recipes", "show", "ghostnetv3")
    assert (said.code, "Did you mean" in said.err) == (2, True)
    assert json.loads(run("recipes", "schema").out) == Recipe.model_json_schema()


def test_recipes_are_checked(run: Run, place: Path) -> None:
    good = place / "good.yaml"
    good.write_text(run("recipes", "show", "ghostnetv2").out)
    said = run("recipes", "check", good)
    assert (said.code, said.out) == (0, f"{good} is a valid recipe with 8 rewrites.\n")
    assert json.loads(run("recipes", "check", good, "--json").out)["valid"] is True
    for name, line in (("wrong", 4), ("rewrite", 2)):
        said = run("recipes", "check", place / f"{name}.yaml")
        assert (said.code, said.out) == (2, "")
        assert said.err.startswith(f"error: {place / name}.yaml:{line}: ")


def test_rewrites_are_listed(run: Run) -> None:
    entries: list[dict[str, Any]] = json.loads(run("rewrites", "list", "--json").out)
    assert {entry["name"]: entry["exactness"] for entry in entries} == {
        name: rewrite.exactness.value for name, rewrite in REWRITES.items()
    }
    dense = next(entry for entry in entries if entry["name"] == "dfc-dense")
    assert (dense["exactness"], set(dense["options"])) == ("approximate", {"kernel_size", "fit"})
    assert all(entry["summary"] for entry in entries)


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("none.tflite", 2, "There is no file"),
        ("empty", 2, "empty is a directory"),
        ("weights.pth", 2, "neither .onnx, .tflite, .pte nor .mlpackage"),
        ("broken.onnx", 4, "broken.onnx"),
        ("broken.tflite", 4, "LiteRT cannot open"),
        ("broken.pte", 4, "broken.pte is not a whole .pte file"),
    ],
)
def test_inspect_of_what_is_no_artifact(run: Run, place: Path, name: str, code: int, says: str) -> None:
    for suffix in ("onnx", "tflite", "pte"):
        (place / f"broken.{suffix}").write_bytes(b"garbage" * 20)
    said = run("inspect", place / name)
    assert (said.code, said.out) == (code, "")
    assert says in said.err and str(place / name) in said.err
    if name in ("broken.tflite", "broken.pte"):
        kind = {"broken.tflite": "TFLite", "broken.pte": ".pte"}[name]
        assert f"Its beginning is not that of a {kind} file" in said.err and "cut or changed" not in said.err
    assert "Traceback" not in said.err


def test_verify_and_diff_of_what_is_no_bundle(run: Run, place: Path) -> None:
    said = run("verify", place)
    assert (said.code, said.out) == (1, "")
    assert "manifest.json is missing" in said.err
    content = json.loads(run("verify", place, "--json").out)
    assert (content["verdict"], content["changes"]) == ("fail", ["manifest.json is missing"])
    for path in (place / "none", place / "wrong.yaml"):
        assert run("verify", path).code == 2
    for path in (place, place / "none", place / "wrong.yaml"):
        said = run("diff", path)
        assert (said.code, said.out) == (2, "")
        assert str(path) in said.err


def _commands(group: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    below = getattr(group, "commands", None)
    return [path] if below is None else [each for name in below for each in _commands(below[name], (*path, name))]


@pytest.mark.parametrize("command", _commands(typer.main.get_command(application.application())), ids=" ".join)
def test_every_command_has_help_with_an_example(run: Run, command: tuple[str, ...]) -> None:
    said = run(*command, "--help")
    assert said.code == 0
    assert "Example" in said.out
    assert f"mobilekit {' '.join(command)}" in said.out
    assert run(*command, "-h").out == said.out


HEAVY = {
    "ai_edge_litert",
    "PIL",
    "matplotlib",
    "numpy",
    "onnx",
    "onnx2tf",
    "onnxruntime",
    "scipy",
    "skimage",
    "sklearn",
    "tensorflow",
    "torch",
}


@pytest.mark.parametrize("words", [["--help"], ["recipes"], ["recipes", "show", "ghostnet"]], ids=" ".join)
def test_light_commands_import_nothing_heavy(words: list[str]) -> None:
    """How long they take is measured by benchmarks/startup.py."""
    code = f"""
        import sys
        from mobilekit.cli.app import main
        sys.argv = ["mobilekit", *{words!r}]
        try:
            main()
        finally:
            print(*sys.modules, file=sys.stderr)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert "mobilekit" in loaded
    assert not loaded & HEAVY
