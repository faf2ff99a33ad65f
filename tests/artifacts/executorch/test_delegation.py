"""What delegates run of a .pte file, and what a bundle says of the steps between."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mobilekit.artifacts.inspect import inspect
from mobilekit.artifacts.op_list import list_ops
from mobilekit.errors import ToolError
from mobilekit.store.bundle import OUTSIDE
from mobilekit.store.stages import Stage
from tests.conftest import Cli
from tests.programs import TWO_PARTS

TOLD = {"op": "upsample_nearest2d", "module": "up", "reason": "it has no kernel"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file where a bundle has it."""
    (tmp_path / "stages").mkdir()
    shutil.copy(TWO_PARTS, tmp_path / Stage.PTE_FLOAT32.file)
    return tmp_path / Stage.PTE_FLOAT32.file


def say(path: Path, content: object) -> None:
    (path.parent / OUTSIDE.format(Stage.PTE_FLOAT32)).write_text(json.dumps(content))


def test_delegates_and_what_is_between_them() -> None:
    found = inspect(TWO_PARTS)
    assert found.format == "pte" and found.delegate
    assert (found.delegate.name, found.delegate.partitions) == ("XNNPACK", 2)
    assert (found.delegate.delegated, found.delegate.total) == (6, 7)
    (left,) = found.delegate.undelegated
    assert (left.op, left.module) == ("upsample_nearest2d", None)
    assert left.reason == "XNNPACK's partitioner of ExecuTorch takes no upsample_nearest2d"


def test_a_bundle_says_module_and_reason(path: Path, cli: Cli) -> None:
    say(path, [TOLD])
    delegate = inspect(path).delegate
    assert delegate
    assert [(each.module, each.reason) for each in delegate.undelegated] == [("up", "it has no kernel")]
    done = cli("inspect", path, "--ops")
    assert "XNNPACK runs 6 of 7 ops in 2 partitions." in done.stdout
    assert "  not delegated: 1 upsample_nearest2d (it has no kernel) in up; a whole factor is taken\n" in done.stdout
    assert [line.split()[1] for line in done.stdout.splitlines()[-3:]] == [
        "XnnpackBackend",
        TOLD["op"],
        "XnnpackBackend",
    ]
    (told,) = json.loads(cli("inspect", path, "--json").stdout)["delegate"]["undelegated"]
    assert told["module"] == "up"


def test_of_a_file_from_elsewhere_an_export_is_advised(tmp_path: Path) -> None:
    path = tmp_path / "net.pte"
    path.write_bytes(TWO_PARTS.read_bytes().replace(b'{"inputs": ["input"], "outputs": ["map"]}', b"{}" + b" " * 39))
    delegate = inspect(path).delegate
    assert delegate
    assert [each.help for each in delegate.undelegated] == [
        "an export by mobilekit, --precision pte-float32, writes it in a form that is taken"
    ]


def test_what_a_bundle_says_of_another_file_is_left_aside(path: Path) -> None:
    say(path, [TOLD, TOLD])
    delegate = inspect(path).delegate
    assert delegate
    assert [each.module for each in delegate.undelegated] == [None]


def test_what_a_bundle_says_in_another_form_is_refused(path: Path) -> None:
    say(path, [{"op": "cat"}])
    with pytest.raises(ToolError, match=r"outside\.json cannot be read"):
        inspect(path)


def test_the_steps_are_listed_in_their_order() -> None:
    assert [op.op for op in list_ops(TWO_PARTS)] == [
        "XnnpackBackend (3 ops)",
        "upsample_nearest2d",
        "XnnpackBackend (3 ops)",
    ]
