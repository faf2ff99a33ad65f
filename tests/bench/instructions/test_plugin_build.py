"""The plugin that counts: its license, its hash, and that a compiler takes it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mobilekit.bench.instructions import plugin_build

SOURCE = Path(plugin_build.__file__).parent / "plugin" / "count.c"
compiler = plugin_build.find_compiler()


def test_the_file_has_a_license_of_its_own() -> None:
    """It is loaded into qemu, which has GPL-2, and Apache-2.0 does not go with that."""
    assert SOURCE.read_text().startswith("// SPDX-License-Identifier: MIT\n")


@pytest.mark.skipif(compiler is None, reason="there is no C compiler")
def test_it_compiles_without_a_warning_and_is_kept_by_its_hash(tmp_path: Path) -> None:
    assert compiler
    built = plugin_build.build(tmp_path, compiler)
    assert built == plugin_build.path(tmp_path) and plugin_build.digest() in built.name
    assert b"qemu_plugin_install" in built.read_bytes()
    strict = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run([compiler, *strict, str(SOURCE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
