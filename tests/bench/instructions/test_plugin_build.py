"""The plugin that counts: its license, its hash, and that a compiler takes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mobilekit.bench.instructions import plugin_build

SOURCES = Path(plugin_build.__file__).parent / "plugin"
compiler = plugin_build.find_compiler()


def test_the_files_have_a_license_of_their_own() -> None:
    """They are loaded into qemu, which has GPL-2, and Apache-2.0 does not go with that."""
    files = [path for path in SOURCES.iterdir() if path.is_file()]
    assert sorted(path.name for path in files) == ["cache.h", "count.c"]
    for path in files:
        assert path.read_text().startswith("// SPDX-License-Identifier: MIT"), path


@pytest.mark.skipif(compiler is None, reason="there is no C compiler")
def test_it_compiles_without_a_warning_and_is_kept_by_its_hash(tmp_path: Path) -> None:
    assert compiler
    built = plugin_build.build(tmp_path, compiler)
    assert built == plugin_build.path(tmp_path) and plugin_build.digest() in built.name
    assert b"qemu_plugin_install" in built.read_bytes()
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run([compiler, *strict, str(SOURCES / "count.c")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
