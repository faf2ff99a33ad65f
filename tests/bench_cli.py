"""`mobilekit bench` in this process against a fake device, which is quicker than in a process of its own."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.session import Plan
from mobilekit.cli import app
from tests.fake_device import FakeDevice, fake_benchmark_model, fake_model

_ADB_VARIABLES = ("ANDROID_SERIAL", "ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS")
MODEL_BYTES = 2**18


def problems_of(stderr: str) -> list[str]:
    """Return the lines of errors, warnings and notes; others tell the steps as they start."""
    return [line for line in stderr.splitlines() if line.startswith(("error", "warning", "note", "Traceback"))]


@dataclass(frozen=True)
class Said:
    """What a command wrote, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its standard output, which is JSON and nothing else."""
        return json.loads(self.out)

    @property
    def problems(self) -> list[str]:
        """What its standard error has beside the steps that it tells as they start."""
        return problems_of(self.err)


class Bench:
    """The command line beside a device, with two models of the same size, and places where it could leave something.

    Args:
        fake: The device; it is made as new.
        folder: An empty folder, which becomes the current one.
    """

    def __init__(
        self, fake: FakeDevice, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fake.reset()
        self.fake = fake
        self.folder = folder
        self.a = self.model("a.tflite", 1)
        self.b = self.model("b.tflite", 2)
        self.program: Path = fake_benchmark_model()
        self._scratch = folder / "scratch"
        self._state = folder / "state"
        self._scratch.mkdir()
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        for name, value in fake.environment.items():
            monkeypatch.setenv(name, value)
        for name in _ADB_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("MOBILEKIT_DEBUG", "")
        monkeypatch.setenv("XDG_STATE_HOME", str(self._state))
        monkeypatch.setattr(tempfile, "tempdir", str(self._scratch))
        monkeypatch.setattr("mobilekit.bench.bench.Plan", partial(Plan, cool_seconds=0))  # no rest after rejections
        monkeypatch.setattr("mobilekit.bench.devices.workspace.RECOVER_SECONDS", 5.0)
        monkeypatch.chdir(folder)

    def model(self, name: str, seed: int, size: int = MODEL_BYTES) -> Path:
        """Make a model file."""
        path = self.folder / name
        path.write_bytes(fake_model(size, seed))
        return path

    def __call__(self, *words: str | Path, device: str = "adb") -> Said:
        """Run a bench with the stand-in for benchmark_model."""
        return self.run("bench", "--device", device, "--benchmark-binary", self.program, *words)

    def run(self, *words: str | Path) -> Said:
        """Run the command line."""
        self._monkeypatch.setattr(sys, "argv", ["mobilekit", *map(str, words)])
        self._capsys.readouterr()
        handler = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as ended:
                app.main()
        finally:
            signal.signal(signal.SIGTERM, handler)
        said = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Said(ended.value.code, said.out, said.err)

    def left_here(self) -> list[str]:
        """Return what is on this machine that was not there before, but for files that were asked for."""
        holders = self._state.rglob("*.holder")
        return sorted(str(path.relative_to(self.folder)) for path in [*self._scratch.rglob("*"), *holders])
