"""What all tests share: one thread, a cache of their own, and artifacts that are converted once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# torch with as many threads as a busy machine has cores is tens of times slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a conversion as slow."""
    for item in items:
        if {"digits_bundle", "ghostnetv2_bundle"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the tests away from the user's cache, and let them share one."""
    before = os.environ.get("MOBILEKIT_CACHE")
    root = tmp_path_factory.mktemp("cache")
    os.environ["MOBILEKIT_CACHE"] = str(root)
    yield root
    os.environ.pop("MOBILEKIT_CACHE")
    if before is not None:
        os.environ["MOBILEKIT_CACHE"] = before


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run the command line as a user does, in a process of its own, and return what it said."""

    def run(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mobilekit", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            timeout=900,
        )

    return run


@pytest.fixture(scope="session")
def digits_bundle(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """The small trained model, exported once. Tests must not change it."""
    return _export("ghostnetv2_digits", tmp_path_factory, cli)


@pytest.fixture(scope="session")
def ghostnetv2_bundle(tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    """GhostNetV2 at 224 with seeded weights, exported once. Tests must not change it."""
    return _export("ghostnetv2", tmp_path_factory, cli)


def _export(model: str, tmp_path_factory: pytest.TempPathFactory, cli: Cli) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / model
    nowhere = "http://127.0.0.1:9"  # an export must not need a network
    done = cli("export", model, "-o", folder, HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, http_proxy=nowhere)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
