"""`mobilekit recover` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.conftest import Cli
from tests.tiny import TINY, TINY_RECIPE, make_tiny


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--pictures", "p.npz", "-o", "out.pt"), "does not end in .safetensors"),
        (("--pictures", "p.npz", "-o", "nowhere/out.safetensors"), "There is no folder"),
        (("--pictures", "p.npz", "-o", "d.safetensors"), "d.safetensors is a folder"),
        (("--pictures", "missing"), "There is no folder missing"),
        (("--pictures", "p.npz"), "There is nothing to recover: all rewrites of the recipe"),
    ],
)
def test_what_cannot_be_recovered_is_said_before_the_work(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    (tmp_path / "p.npz").write_bytes(b"")
    (tmp_path / "d.safetensors").mkdir()
    done = cli("recover", TINY, "--recipe", str(TINY_RECIPE), *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"p.npz", "d.safetensors"}


def test_the_weights_are_those_of_the_model(cli: Cli, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).random((64, 3, 24, 24), np.float32)
    np.savez(tmp_path / "p.npz", input=pictures)
    words = ("recover", TINY, "--recipe", str(TINY_RECIPE), "--pictures", "p.npz", "--int8", "--steps", "3")
    done = cli(*words, "--batch-size", "8", "-o", "out.safetensors", "--json", cwd=tmp_path)
    content = json.loads(done.stdout)
    assert done.returncode == (0 if content["is_nearer"] else 1), done.stderr
    assert content == json.loads((tmp_path / "out.json").read_text())
    assert len(content["losses"]) == 3
    assert load_file(tmp_path / "out.safetensors").keys() == make_tiny().state_dict().keys()
    again = cli(*words, "-o", "out.safetensors", cwd=tmp_path)
    assert again.returncode == 2
    assert "out.safetensors exists; it is kept" in again.stderr


def test_after_ctrl_c_it_says_where_it_goes_on(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_words: object) -> None:
        (tmp_path / "out.checkpoint").write_bytes(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr("mobilekit.jobs.recover.job.recover", interrupt)
    words = ("--pictures", tmp_path, "--int8", "-o", tmp_path / "out.safetensors")
    done = cli("recover", TINY, "--recipe", str(TINY_RECIPE), *words)
    assert done.returncode == 130
    assert done.stderr.endswith(f"error: interrupted.\nThe same command goes on from {tmp_path}/out.checkpoint.\n")
