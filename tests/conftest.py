"""What all tests share: one thread, a cache of their own, and artifacts that are converted once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import settings

from tests.command_line import ROOT, Cli, run_apart, run_here
from tests.tiny import TINY, TINY_RECIPE

__all__ = ["ROOT", "Cli"]

# torch with as many threads as a busy machine has cores is tens of times slower than with one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What a property is tried on: few examples for every change, many at night (HYPOTHESIS_PROFILE=nightly).
settings.register_profile("ci", max_examples=25, deadline=None)
settings.register_profile("nightly", max_examples=400, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Bundles that are made once for all processes.
SHARED = ("digits_bundle", "tiny_bundle")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that needs a shared bundle as slow, and bring files with slow tests to the front.

    No process is then left alone with the slowest test at the end. Files that share a bundle come after those that do
    not: the first to need it makes it, and others would only wait meanwhile. Tests of one file stay together, as they
    share what it prepares.
    """
    sharing = [item for item in items if set(SHARED) & set(getattr(item, "fixturenames", ()))]
    for item in sharing:
        item.add_marker(pytest.mark.slow)
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    shared = {item.path for item in sharing}
    items.sort(key=lambda item: (item.path not in slow, item.path in shared))


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def own_cache(shared_folder: Path) -> Iterator[Path]:
    """Keep the tests away from the user's cache, and let them share one."""
    root = shared_folder / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOBILEKIT_CACHE", str(root))
        yield root


@pytest.fixture(scope="session")
def executorch() -> None:
    """Skip the test where ExecuTorch is not set up."""
    from mobilekit.artifacts.executorch.environment import versions
    from mobilekit.errors import ToolError

    try:
        versions()
    except ToolError as error:
        pytest.skip(error.what)


@pytest.fixture(scope="session")
def coremltools() -> None:
    """Skip the test where coremltools is not installed."""
    from mobilekit.store.versions import installed_version

    if installed_version("coremltools") is None:
        pytest.skip("coremltools is not installed")


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Run the command line in this process, and return what it said."""
    return run_here


@pytest.fixture(scope="session")
def cli_apart() -> Cli:
    """Run the command line as a user does, in a process of its own."""
    return run_apart


Shared = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_bundle(shared_folder: Path) -> Shared:
    """Export once for all processes of a test run: `shared_bundle(NAME, MODEL, OPTION...)` returns the folder."""

    def export(name: str, model: str, *options: str | Path) -> Path:
        folder = shared_folder / "bundles" / name
        folder.parent.mkdir(exist_ok=True)
        nowhere = "http://127.0.0.1:9"  # an export must not need a network
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), nowhere)
        with FileLock(f"{folder}.lock"):
            if not folder.exists():
                done = run_here("export", model, *options, "-o", folder, **proxies)
                assert done.returncode == 0, done.stdout + done.stderr
        return folder

    return export


@pytest.fixture(scope="session")
def digits_bundle(shared_bundle: Shared) -> Path:
    """The small trained model, exported once. Tests must not change it."""
    return shared_bundle("ghostnetv2_digits", "ghostnetv2_digits")


@pytest.fixture(scope="session")
def tiny_bundle(shared_bundle: Shared) -> Path:
    """A net of a few layers in all formats, exported once. Tests must not change it."""
    return shared_bundle("tiny", TINY, "--recipe", TINY_RECIPE)
