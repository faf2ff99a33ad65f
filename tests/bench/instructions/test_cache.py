"""The plugin's simulated cache beside a plain one in Python."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekit.bench.instructions import plugin_build

HEADER = Path(plugin_build.__file__).parent / "plugin" / "cache.h"
# 1 KiB of 2 ways, 8 sets; behind it 3 KiB of 3 ways, 16 sets.
HARNESS = f"""
#include "{HEADER}"
static struct cache first, second;
int start(void) {{ return cache_init(&second, 3, 3, NULL) || cache_init(&first, 1, 2, &second); }}
void access_bytes(uint64_t address, uint64_t bytes) {{ cache_access(&first, address, bytes); }}
uint64_t misses(int level) {{ return level ? second.misses : first.misses; }}
"""
compiler = plugin_build.find_compiler()
pytestmark = pytest.mark.skipif(compiler is None, reason="there is no C compiler")


class PlainCache:
    """Sets as lists, the line used last at the end."""

    def __init__(self, sets: int, ways: int) -> None:
        self.sets: list[list[int]] = [[] for _ in range(sets)]
        self.ways = ways
        self.misses = 0

    def has(self, line: int) -> bool:
        """Return whether a line is there, and bring it."""
        lines = self.sets[line % len(self.sets)]
        hit = line in lines
        if hit:
            lines.remove(line)
        lines.append(line)
        del lines[: -self.ways]
        self.misses += not hit
        return hit


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    folder = tmp_path_factory.mktemp("cache")
    (folder / "harness.c").write_text(HARNESS)
    assert compiler
    options = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", folder / "harness.so", folder / "harness.c"], check=True)
    built = ctypes.CDLL(str(folder / "harness.so"))
    built.misses.restype = ctypes.c_uint64
    built.access_bytes.argtypes = [ctypes.c_uint64, ctypes.c_uint64]
    yield built


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8191), st.sampled_from([1, 2, 4, 8, 16, 64])), max_size=300))
def test_it_misses_what_a_plain_cache_misses(library: ctypes.CDLL, accesses: list[tuple[int, int]]) -> None:
    assert library.start() == 0
    first, second = PlainCache(8, 2), PlainCache(16, 3)
    for address, size in accesses:
        library.access_bytes(address, size)
        for line in range(address // 64, (address + size - 1) // 64 + 1):
            if not first.has(line):
                second.has(line)
    assert (library.misses(0), library.misses(1)) == (first.misses, second.misses)


def test_lines_that_share_a_set_push_each_other_out(library: ctypes.CDLL) -> None:
    """Three lines of one set of two ways, in turns, miss each time; the second cache has room for them."""
    assert library.start() == 0
    for address in (0, 512, 1024) * 4:
        library.access_bytes(address, 4)
    assert (library.misses(0), library.misses(1)) == (12, 3)
