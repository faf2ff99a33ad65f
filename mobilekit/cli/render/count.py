"""A count of instructions on the terminal, and as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.bench.instructions.cores import CountedCore
from mobilekit.bench.instructions.result import Count, CountComparison, CountResult, FileCount
from mobilekit.bench.verdicts import InstructionChange
from mobilekit.cli.render.bench import add_row, bars, limit_and_figure, limits, make_table, verdict_text
from mobilekit.cli.render.format import count as number_of
from mobilekit.cli.render.format import instructions
from mobilekit.cli.render.markdown import marked, plain, table

_FILES = ("file", "instructions", "loaded MB", "stored MB", "partitions", "size MB")
_CHANGES = ("file", "part", "before", "now", "ratio", "verdict", "why")


def count_report(result: CountResult, details: bool) -> Group:
    """Return a count: a line a file, the comparisons, the verdicts, and what to know.

    Args:
        result: What was counted.
        details: Show where each file's instructions are.
    """
    parts: list[RenderableType] = [Text(f"{heading(result)}\n"), _files(result)]
    parts += [Text(f"refused: {each.file}: {each.why_not}") for each in result.results if each.why_not]
    if result.comparisons:
        parts += [Text(), _comparisons(result.comparisons)]
    if details:
        for each in result.results:
            if each.count:
                parts += [Text(f"\n{each.file}:"), *_details(each.count, result.core)]
    if result.baseline:
        parts += [Text("\nAgainst the baseline:"), _changes(result.baseline)]
        parts += map(Text, kernel_lines(result.baseline))
    if result.budgets:
        parts += [Text("\nBudgets:"), limits(result.budgets)]
    notes = [*result.notes, *warnings(result.comparisons)]
    return Group(*parts, *(Text(f"note: {note}") for note in notes))


def heading(result: CountResult) -> str:
    """Return what was counted, and with what."""
    core = result.core
    return (
        f"Instructions of one inference on {core.model} (--core {core.name}), {number_of(result.threads, 'thread')}; "
        f"LiteRT {result.litert}, qemu {result.qemu}"
    )


def warnings(comparisons: Sequence[CountComparison]) -> list[str]:
    """Return what is to be known of the comparisons, each once."""
    return list(dict.fromkeys(f"int8 against float32: {each.warning}." for each in comparisons if each.warning))


def kernel_lines(changes: Sequence[InstructionChange]) -> Iterator[str]:
    """Yield which kernels took others' places, a line a pair."""
    for change in changes:
        for pair, number in change.kernels.items():
            yield f"{change.file}: {pair} in {number_of(number, 'op')}"


def _columns(result: CountResult) -> tuple[str, ...]:
    """Return the columns of the table of files, those of misses where caches were simulated."""
    has_misses = any(each.count and each.count.misses for each in result.results)
    return (*_FILES, *(_miss_columns(result.core) if has_misses else ()))


def _miss_columns(core: CountedCore) -> list[str]:
    return [f"misses of {cache.kib} KiB" for cache in core.caches]


def _files(result: CountResult) -> Table:
    lines = make_table(*_columns(result))
    for each in result.results:
        if each.count:
            add_row(lines, *_file_row(each, each.count))
        else:
            add_row(lines, each.file, Text("refused", style="bold red"))
    return lines


def _file_row(each: FileCount, count: Count) -> tuple[str, ...]:
    moved = (f"{count.loaded_bytes / 1e6:.1f}", f"{count.stored_bytes / 1e6:.1f}")
    misses = (count.misses.first, count.misses.second) if count.misses else ()
    size = f"{each.size_mb:.2f}"
    return each.file, instructions(count.instructions), *moved, str(count.partitions), size, *map(instructions, misses)


def _comparisons(comparisons: Sequence[CountComparison]) -> Table:
    lines = make_table("file", "against", "ratio", right=(2,))
    for each in comparisons:
        add_row(lines, each.file, each.against, f"{each.ratio:.3f}" + (" (see the note)" if each.warning else ""))
    return lines


def _details(count: Count, core: CountedCore) -> Iterator[Table]:
    """Yield where the instructions are, each way in a table."""
    sums = (
        ("class", count.by_class),
        ("kernel", count.by_kernel),
        ("kind", count.by_kind),
        ("module", count.by_module),
    )
    for title, parts in sums:
        if parts:
            yield bars(title, parts, count.instructions, "instructions", instructions)
    if count.misses:
        yield bars("kernel", _misses_by_kernel(count), count.misses.second, _miss_columns(core)[1], instructions)


def _misses_by_kernel(count: Count) -> dict[str, int]:
    """Return the misses of the second cache, by the kernel of their step."""
    sums: Counter[str] = Counter()
    for step in count.steps:
        if step.misses:
            sums[step.kernel] += step.misses.second
    return dict(sums.most_common())


def _changes(changes: Sequence[InstructionChange]) -> Table:
    lines = make_table(*_CHANGES, right=(2, 3, 4))
    for each in changes:
        file, part, before, now, ratio, _, why = _change_row(each)
        add_row(lines, file, part, before, now, ratio, verdict_text(each.verdict), why)
    return lines


def _change_row(each: InstructionChange) -> tuple[str, ...]:
    figures = ["" if number is None else instructions(number) for number in (each.then, each.now)]
    ratio = "" if each.ratio is None else f"{each.ratio:.4f}"
    return each.file, each.part, *figures, ratio, marked(each.verdict), each.why


def count_markdown(result: CountResult) -> str:
    """Return a count for the summary of a CI job."""
    rows = [_file_row(each, each.count) if each.count else _refused_row(each) for each in result.results]
    lines = [f"## {plain(heading(result))}", "", *table(_columns(result), rows)]
    if result.comparisons:
        ratios = [(each.file, each.against, f"{each.ratio:.3f}") for each in result.comparisons]
        lines += ["", *table(("file", "against", "ratio"), ratios)]
    if result.baseline:
        lines += ["", "### Against the baseline", "", *table(_CHANGES, map(_change_row, result.baseline))]
        lines += ["", *(f"- {plain(line)}" for line in kernel_lines(result.baseline))]
    if result.budgets:
        budgets = [
            (each.file, each.what, *limit_and_figure(each), marked(each.verdict), each.why) for each in result.budgets
        ]
        lines += ["", "### Budgets", "", *table(("file", "limit on", "limit", "figure", "verdict", "why"), budgets)]
    notes = [*result.notes, *warnings(result.comparisons)]
    lines += ["", *(f"- {plain(note)}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def _refused_row(each: FileCount) -> tuple[str, ...]:
    return each.file, f"❌ refused: {each.why_not}", "", "", "", ""
