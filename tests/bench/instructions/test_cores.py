"""The table of cores."""

from __future__ import annotations

import pytest

from mobilekit.bench.instructions.cores import CORES, core_named
from mobilekit.errors import UsageError


def test_a_core_is_found_by_its_name() -> None:
    assert core_named("A76").model == "Cortex-A76"
    assert [core.name for core in CORES if not core.has_dot] == ["a53"]
    assert all(core.has_dot == ("asimddp" in core.features) for core in CORES)
    assert core_named("a55").cpu_files["proc/cpuinfo"].count("CPU part\t: 0xd05\n") == 1


def test_another_name_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no core 'a67'") as caught:
        core_named("a67")
    assert "a76" in caught.value.hint and "x2" in caught.value.hint
