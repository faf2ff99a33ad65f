"""The commands of the documents: what stands in blocks of `bash`.

A test runs them, block by block, in a folder of each document's own (`tests/zoo/test_documents.py`). What it does not
run has a reason in the line before, `<!-- not run: REASON -->`; one that ends with another exit code than 0 has
`<!-- exit code 1 -->` there. Blocks of other languages with a `title` are files, which are written where they stand.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tables import DOCS, ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md"), ROOT / "findings" / "README.md"])
_BLOCK = re.compile(
    r"""^(?:<!--\ (?:not\ run:\ (?P<reason>[^\n]+?)|exit\ code\ (?P<code>\d+))\ -->\n\n?)?
    ```(?P<language>\w*)(?:\ title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A block of a document, between two fences."""

    line: int
    language: str
    title: str
    """The file that it is; empty of others."""
    text: str
    reason: str
    """Why it is not run; empty where it is."""
    code: int
    """With which exit code it ends."""

    @property
    def commands(self) -> list[list[str]]:
        """The words of each of its commands."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks(document: Path) -> list[Block]:
    """Return a document's blocks in their order."""
    text = document.read_text()
    return [
        Block(
            text.count("\n", 0, found.start()) + 1,
            found["language"],
            found["title"] or "",
            found["text"],
            found["reason"] or "",
            int(found["code"] or 0),
        )
        for found in _BLOCK.finditer(text)
    ]


def command_blocks(document: Path) -> list[Block]:
    """Return a document's blocks of commands."""
    return [block for block in blocks(document) if block.language == "bash"]
