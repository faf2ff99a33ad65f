"""The glossary has the words of the code."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from mobilekit.rewrites.catalogue import REWRITES
from mobilekit.store.stages import Precision, Stage
from tests.conftest import ROOT

GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
TERMS = re.findall(r"^\| \*\*([^*]+)\*\* \| (.+) \|$", GLOSSARY, re.MULTILINE)


def _meaning(term: str) -> str:
    return dict(TERMS)[term]


def test_each_term_is_defined_once_and_shortly() -> None:
    names = [name for name, _ in TERMS]
    assert len(set(names)) == len(names) >= 30
    for name, meaning in TERMS:
        assert meaning.endswith(".") and len(meaning) < 250, name


def test_the_readme_leads_to_it() -> None:
    assert "(docs/glossary.md)" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("term", "words"),
    [
        ("stage", [stage.value for stage in Stage if stage is not Stage.REFERENCE and not stage.is_on_device]),
        ("precision", list(get_args(Precision))),
        ("exactness", sorted({kind.exactness for kind in REWRITES.values()})),
    ],
)
def test_words_of_the_code_are_in_it(term: str, words: list[str]) -> None:
    assert [word for word in words if f"`{word}`" not in _meaning(term)] == []
