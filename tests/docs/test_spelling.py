"""Spelling is American, as in the field's APIs: in names, texts and file names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What British spelling adds -ise and -isation to, where American has a z.
STEMS = """
binar capital categor character custom discret emphas equal external factor final general initial internal linear local
materi maxim memor minim modern neutral normal optim organ parallel parameter parametr penal quant random real recogn
regular serial special stabil standard summar symbol synchron token util vector visual
"""
WORDS = """
acknowledgement ageing aluminium amongst analogue analys(e|ed|es|er|ing) artefact behaviour cancell(ed|ing) cent(re|red)
centring channell(ed|ing) colour defence dialogue favour favourite flavour fibre fulfil(s|ment)? fuell(ed|ing) grey
honour judgement labell(ed|ing) labour learnt levell(ed|ing) licence litre manoeuvre metre misspelt modell(ed|ing) mould
neighbour offence plough practis(e|ed|ing) programme rumour sceptic signall(ed|ing) skilful spelt sulphur theatre
totall(ed|ing) travell(ed|ing) tyre unlabelled whilst wilful
"""
BRITISH = re.compile(
    rf"(?<![a-z])(re|un|de)?(({'|'.join(STEMS.split())})(al)?is(e|ed|es|er|ers|ing|ation|ations|able)"
    rf"|({'|'.join(WORDS.split())})(s|d|ed|ing|ings|al|less|ly|able|hood)?)(?![a-z])",
    re.IGNORECASE,
)
KEPT = {  # words that are quoted: those of older recipes, and of other tools
    "CHANGELOG.md": {"colour", "normalisations"},
    "docs/recipes.md": {"colour", "normalisations"},
    "mobilekit/recipes/old_words.py": {"colour", "grey", "normalisations"},
    "tests/recipes/test_old_words.py": {"colour", "grey", "normalisations"},
}
OTHERS = (  # files that are not ours to spell, and this one
    "LICENSE",
    "tests/data/",
    "tests/docs/test_spelling.py",
)


def files() -> list[str]:
    """Return the tracked files with text in them, as paths from the root."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    suffixes = (".py", ".md", ".yaml", ".yml", ".toml", ".j2", ".txt", ".sh", ".json", ".html", ".xml", ".sarif", "")
    return [
        name
        for name in listed.stdout.splitlines()
        if not name.startswith(OTHERS) and Path(name).suffix in suffixes and (ROOT / name).is_file()
    ]


def split_words(text: str) -> str:
    """Return a text in which the words inside names stand alone."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).replace("_", " ")


def british(text: str) -> list[str]:
    """Return the words in British spelling."""
    return [found.group() for found in BRITISH.finditer(split_words(text))]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="the files are listed by git")
def test_all_is_in_american_spelling() -> None:
    found = {}
    for name in files():
        words = set(british(f"{name}\n{(ROOT / name).read_text(errors='replace')}"))
        words -= {word for word in words if word.lower() in KEPT.get(name, set())}
        if words:
            found[name] = sorted(words)
    assert found == {}


@pytest.mark.parametrize(
    "text",
    ["quantise", "is_quantised", "NormalisationLayer", "colour", "_COLOURS", "neighbouring", "behaviour", "centre",
     "labelled", "initialisation", "optimiser", "greys", "dequantised", "unrecognised", "cancelled", "favours"],
)  # fmt: skip
def test_british_words_are_found(text: str) -> None:
    assert british(text)


@pytest.mark.parametrize(
    "text",
    ["quantize", "normalization", "color", "raise", "noise", "precise", "otherwise", "depthwise", "four", "hour",
     "called", "installed", "parameter", "central", "realistic", "finalist", "localhost", "programmer", "metric",
     "raised", "minimal", "normal is", "spelling", "specialist", "formalism"],
)  # fmt: skip
def test_other_words_are_not(text: str) -> None:
    assert british(text) == []
