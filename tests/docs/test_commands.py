"""Each command in the documents is one that the command line takes; tests/zoo/test_documents.py runs them."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.command_blocks import DOCUMENTS, Block, blocks, command_blocks
from tests.conftest import ROOT
from tests.docs.test_ci import parse

COMMAND = re.compile(r"^(\.venv/bin/\w+|mobilekit|python|make|pip) [a-z./'-]")
FILES = ("--weights", "--recipe", "--calibration", "--inputs", "--pictures")
"""Options whose files are looked for as they are read."""


def ours(words: list[str]) -> list[list[str]]:
    """Return the words after `mobilekit` of a line of a shell, which may have several commands."""
    places = [place for place, word in enumerate(words) if word == "mobilekit"]
    ends = [place for place, word in enumerate(words) if word in ("&&", "||", ">", "|")]
    return [words[place + 1 : min([end for end in ends if end > place], default=len(words))] for place in places]


def stand_in(folder: Path, words: list[str]) -> None:
    """Make the files and folders that a command names, as far as reading it looks for them."""
    named = [value for option, value in pairwise(words) if option in FILES]
    sources = [word.partition(":")[0] for word in words if ".py:" in word]
    for path in (folder / word for word in (*named, *sources)):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.suffix:
            path.mkdir(exist_ok=True)
        elif not path.exists():
            path.write_text("models: []\n")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_each_command_of_a_document_is_valid(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    shown = re.findall(r"^\$ (mobilekit .*)$", document.read_text(), re.MULTILINE)
    lines = [words for block in command_blocks(document) for words in block.commands]
    for words in [*lines, *(line.split() for line in shown)]:
        for arguments in ours(words):
            stand_in(tmp_path, arguments)
            assert parse(arguments) is not None, words


def test_each_command_in_an_answer_is_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    answers = (ROOT / "docs" / "how-to.md").read_text()
    commands = re.findall(r"`(mobilekit [^`]+)`", answers)
    assert len(commands) >= 25
    for line in commands:
        [arguments] = ours(line.split())
        stand_in(tmp_path, arguments)
        assert parse(arguments) is not None, line


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_stand_in_blocks_that_are_run(document: Path) -> None:
    """What would not be found there is not run, and nothing says so."""
    text = document.read_text()
    others = [block for block in blocks(document) if block.language != "bash"]
    for line in [line for block in others for line in block.text.splitlines()]:
        assert not COMMAND.match(line), f"{line}: a block of commands is one of `bash`"
    assert len(re.findall(r"^```bash", text, re.MULTILINE)) == len(command_blocks(document))
    assert not re.search(
        r"^    (mobilekit|make|\.venv/bin/python) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M
    )
    tests = re.findall(r"^<!-- not run: .*?(tests/[\w/]+(?:\.py)?)", text, re.MULTILINE)
    assert [path for path in tests if not (ROOT / path).exists()] == [], "the tests that run it instead"
    assert len(re.findall(r"^<!-- not run", text, re.MULTILINE)) == sum(
        bool(block.reason) for block in command_blocks(document)
    )


def test_blocks_are_found_as_they_are(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text(
        '# Page\n\n```python title="net.py"\nx = 1\n```\n\n'
        "<!-- not run: a phone is needed -->\n```bash\nls  # all\n```\n"
        "\n<!-- exit code 1 -->\n```bash\nmobilekit diff a \\\n  b\n```\n"
    )
    assert blocks(document) == [
        Block(3, "python", "net.py", "x = 1\n", "", 0),
        Block(7, "bash", "", "ls  # all\n", "a phone is needed", 0),
        Block(12, "bash", "", "mobilekit diff a \\\n  b\n", "", 1),
    ]
    assert [block.commands for block in command_blocks(document)] == [[["ls"]], [["mobilekit", "diff", "a", "b"]]]
