"""What the process of the converters does not import, as that takes seconds and hundreds of megabytes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mobilekit.convert.installed import check_installed, writes_directly
from mobilekit.errors import ToolError
from mobilekit.store.worker import python_path


@pytest.mark.parametrize(
    ("code", "package"),
    [
        ("import mobilekit.convert.tasks.simplify", "torch"),
        ("import mobilekit.convert.tasks.tflite", "tensorflow"),
        ("from mobilekit.convert.tasks.quantize import _converter; _converter()", "tensorflow"),
    ],
)
def test_a_task_imports_no_package_that_it_does_not_need(code: str, package: str) -> None:
    try:
        check_installed()
    except ToolError as error:
        pytest.skip(error.what)
    if "_converter" in code and not writes_directly():
        pytest.skip("Keras has imported all of TensorFlow")
    command = [sys.executable, "-c", f"import sys; {code}; print(sys.modules.get('{package}'))"]
    found = subprocess.run(command, env={"PYTHONPATH": python_path()}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "None"
    assert package not in found.stderr
