"""What Tab offers: in the functions, and in a real bash."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mobilekit.cli import complete
from mobilekit.cli.app import COMMANDS
from tests.conftest import ROOT

BASH = shutil.which("bash")
# Asks the completion that the command line installs for the words behind `mobilekit`, as bash does at a Tab.
SCRIPT = """
eval "$("$PROGRAM" --show-completion bash)"
COMP_WORDS=(mobilekit "$@"); COMP_CWORD=$#
_mobilekit_completion "$PROGRAM"
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_models_recipes_and_precisions() -> None:
    assert complete.models("ghostnetv2_1") == ["ghostnetv2_130", "ghostnetv2_160"]
    assert complete.models("ti") == ["timm:"]
    assert complete.recipes("ghostnetv2") == ["ghostnetv2", "ghostnetv2_digits"]
    assert complete.rewrites("hard-s") == ["hard-sigmoid", "hard-swish"]
    assert complete.precisions("float32,in") == ["float32,int8", "float32,int16x8"]
    assert complete.forms("int8,on") == ["int8,onnx-int8", "int8,onnx-int16x8"]
    assert "int8,int8" not in complete.precisions("int8,")


def test_devices_without_an_adb_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:127.0.0.1:9")
    assert complete.bench_devices("adb") == ["adb", "adb:all"]
    assert complete.bench_devices("adb:") == ["adb:all"]
    assert complete.tune_devices("") == ["local", "adb", "emulated"]
    assert complete.diff_devices("e") == ["emulated"]


def offered(program: Path, *words: str) -> list[str]:
    assert BASH
    environment = {**os.environ, "PROGRAM": str(program), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [BASH, "--norc", "-c", SCRIPT, "bash", *words], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.skipif(BASH is None, reason="there is no bash")
def test_a_real_bash(tmp_path: Path) -> None:
    program = tmp_path / "mobilekit"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mobilekit "$@"\n')
    program.chmod(0o755)
    assert offered(program, "ex") == ["export"]
    assert set(offered(program, "")) == set(COMMANDS)
    assert offered(program, "export", "shufflenet_2") == ["shufflenet_200"]
    assert offered(program, "export", "no_such_model", "--recipe", "eff") == ["efficientvit"]
    assert offered(program, "rewrites", "rank", "ghostnetv2", "--rewrite", "tanh") == ["tanh-gelu"]
    assert offered(program, "bench", "--device", "lo") == ["local"]
