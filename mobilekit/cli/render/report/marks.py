"""Verdicts as signs, where there is room for no more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mobilekit.cli.render.sweep import answer_words

SIGNS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "none": "—"}
"""What stands for a verdict; `none` where nobody asked."""


@dataclass(frozen=True)
class Mark:
    """A verdict as a sign, with what it says in words."""

    verdict: str
    """`pass`, `fail`, `inconclusive` or `none`."""
    words: str
    sign: str = ""
    """Instead of the verdict's."""


def answer_mark(target: str, answer: Mapping[str, Any] | None) -> Mark:
    """Return what a target takes of a file, of its answer as JSON; None where it was not asked."""
    if answer is None:
        return Mark("none", f"{target}: not asked")
    words = f"{target}: {answer['taken']} of {answer['total']} ops"
    if answer["whole"]:
        return Mark("pass", words)
    return Mark("fail", words, f"{SIGNS['fail']} {answer_words(answer).removeprefix(target).strip()}")
