"""What all tests share: one thread, a cache of their own, and artifacts that are converted once."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]

# torch with as many threads as a busy machine has cores is tens of times slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a conversion as slow, and bring files with slow tests to the front.

    No process is then left alone with the slowest file at the end. Files that share no bundle come first: of those that
    do, the first one to run makes the bundle, and another at the same time would only wait for it.
    """
    sharing = [
        item for item in items if {"digits_bundle", "ghostnetv2_bundle"} & set(getattr(item, "fixturenames", ()))
    ]
    for item in sharing:
        item.add_marker(pytest.mark.slow)
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    shared = {item.path for item in sharing}
    items.sort(key=lambda item: (item.path not in slow, item.path in shared, -slow[item.path]))


def seconds_of_children() -> float:
    """Return the processor time of all processes that have ended; other work on the machine is not in it."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


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
    """Return the bundle, which all processes of a test run share."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = root / "bundles" / model
    folder.parent.mkdir(exist_ok=True)
    nowhere = "http://127.0.0.1:9"  # an export must not need a network
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            done = cli("export", model, "-o", folder, HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, http_proxy=nowhere)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder
