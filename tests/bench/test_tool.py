"""What a benchmark_model says of itself."""

from __future__ import annotations

import pytest

from mobilekit.bench.devices.base import Finished
from mobilekit.bench.tool import Tool, ask_tool
from tests.bench.test_flags import _LITERT, _OF_2_14
from tests.bench.test_result_file import Phone
from tests.conftest import ROOT

HELP = (ROOT / "tests/data/benchmark_model/local-tf2.14.1-linux-x86_64-help.txt").read_text()


def test_the_list_of_2_14() -> None:
    phone = Phone(b"")
    phone.usage = HELP
    tool = ask_tool(phone, "tool")
    assert tool == _OF_2_14 and {"graph", "enable_op_profiling", "output_filepath"} <= tool.flags
    assert tool.kind == "TensorFlow Lite" and not tool.knows("result_file_path")


def test_whose_it_is() -> None:
    assert _LITERT.kind == "LiteRT" and _LITERT.knows("result_file_path")
    assert Tool(frozenset({"graph", "num_runs"})).kind is None and Tool().kind is None


@pytest.mark.parametrize("said", ["", "INFO: count=1 curr=2\n", "\ufffd\x00--", "see --help"])
def test_a_tool_that_prints_no_list(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    phone = Phone(b"")
    monkeypatch.setattr(phone, "run", lambda *_words, **_options: Finished(139, said, ""))
    assert ask_tool(phone, "tool") == Tool()
