"""Models by name: the nearest names where there is none, and each name once."""

from __future__ import annotations

import pytest

from mobilekit.errors import UsageError
from mobilekit.models.registry import ModelEntry, find_model, model_names, register


def test_unknown_models_are_told_the_nearest_names() -> None:
    with pytest.raises(UsageError, match=r"no model ghostnet_v2\.\nDid you mean .*ghostnetv2"):
        find_model("ghostnet_v2")
    with pytest.raises(UsageError, match=r"Known: .*ghostnet, ghostnet_050"):
        find_model("?")
    assert {"ghostnet_050", "ghostnetv2_160", "ghostnetv2_digits"} <= set(model_names())


def test_a_name_is_registered_once() -> None:
    entry = find_model("ghostnet")
    with pytest.raises(ValueError, match="registered already"):
        register(ModelEntry(name="ghostnet", build=entry.build, paper=""))
