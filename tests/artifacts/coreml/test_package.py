"""What is read of a package, and what is said of one that is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.artifacts.coreml.package import MODEL, read_package
from mobilekit.errors import ToolError


@pytest.mark.usefixtures("coremltools")
@pytest.mark.parametrize("content", [None, b"\xff\xff", b"no model"])
def test_a_damaged_package_is_refused(content: bytes | None, tmp_path: Path) -> None:
    package = tmp_path / "net.mlpackage"
    (package / MODEL).parent.mkdir(parents=True)
    if content is not None:
        (package / MODEL).write_bytes(content)
    with pytest.raises(ToolError, match=r"net\.mlpackage is not a whole Core ML package"):
        read_package(package)


@pytest.mark.usefixtures("coremltools")
def test_a_package_without_a_program_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "net.mlpackage"
    (package / MODEL).parent.mkdir(parents=True)
    (package / MODEL).write_bytes(bytes([0x08, 6, 0xA2, 0x1F, 0]))  # field 500, a neural network, of version 6
    with pytest.raises(ToolError, match=r"net\.mlpackage holds no ML program, but a neuralNetwork"):
        read_package(package)
