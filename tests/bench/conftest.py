"""A fake device, and the command line beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench_cli import Bench
from tests.fake_device import FakeDevice


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    """The device of a module's tests; each bench makes it as new."""
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture
def bench(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Bench]:
    """A bench that has to leave nothing on this machine."""
    bench = Bench(fake, tmp_path, monkeypatch, capsys)
    yield bench
    assert bench.left_here() == []
