"""What targets take, on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mobilekit.cli.render.format import count
from mobilekit.targets.answer import Answer, Refusal

_MODULES_SHOWN = 3


def target_lines(answers: Sequence[Answer]) -> list[str]:
    """Return the lines that `mobilekit inspect --target` prints; nothing in them is markup."""
    return [line for answer in answers for line in _lines(answer)]


def _lines(answer: Answer) -> Iterator[str]:
    parts = "" if answer.partitions is None else f" in {count(answer.partitions, 'partition')}"
    verdict = "whole" if answer.is_whole else "not whole"
    yield f"{answer.target}: {answer.file}: {verdict}, {answer.taken} of {answer.total} ops{parts} ({answer.asked})"
    yield from (f"  refused: {_refusal(each)}" for each in answer.refused)
    yield from (f"  computed wrongly: {_refusal(each)}" for each in answer.wrong)


def _refusal(refused: Refusal) -> str:
    shown = ", ".join(refused.modules[:_MODULES_SHOWN])
    more = len(refused.modules) - _MODULES_SHOWN
    where = f", in {shown}{f' and {more} more' if more > 0 else ''}" if shown else ""
    helped = f". {refused.help}" if refused.help else ""
    return f"{refused.count} {refused.op} ({refused.words}){where}{helped}"
