"""A bench on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.bench.profile import Profile, UndelegatedTime
from mobilekit.bench.result import BenchResult, FileComparison, FileResult
from mobilekit.bench.statistics import CONFIDENCE, Comparison, Latency
from mobilekit.bench.verdicts import BudgetVerdict, Change
from mobilekit.cli.render.format import count, instructions, ms, percent
from mobilekit.cli.render.runtime_faults import runtime_fault_lines

_STYLES = {
    "faster": "green",
    "slower": "yellow",
    "pass": "green",
    "fail": "bold red",
    "regressed": "bold red",
    "improved": "green",
}
_DIGITS = 12  # of a digest; the JSON has all
_BAR = 30  # characters of the longest bar
_MODULES = 15  # lines of the table by module


def bench_report(bench: BenchResult) -> Group:
    """Return one device's bench: what was measured on what, a line a file, the comparisons, and what to know."""
    parts: list[RenderableType] = [Text(_heading(bench)), _latencies(bench.results)]
    parts += [Text(f"refused: {each.file}: {each.why_not}") for each in bench.results if each.why_not]
    if bench.comparisons:
        parts += [Text(), _comparisons(bench.comparisons)]
    for name, profile in (bench.profiles or {}).items():
        parts += [Text(), *_profile(name, profile)]
    if bench.baseline:
        parts += [Text("\nAgainst the baseline:"), _changes(bench.baseline)]
    if bench.budgets:
        parts += [Text("\nBudgets:"), limits(bench.budgets)]
    parts += [Text(f"note: {note}") for note in bench.notes]
    parts += map(Text, runtime_fault_lines(bench.runtime_faults or ()))
    return Group(*parts)


def device_columns(benches: Sequence[BenchResult]) -> Table:
    """Return the median latencies of several devices, a column a device."""
    table = make_table("file", *(bench.device.name for bench in benches))
    for place, first in enumerate(benches[0].results):
        cells = [bench.results[place].latency_ms for bench in benches]
        add_row(table, first.file, *(_median_and_interval(cell) if cell else "refused" for cell in cells))
    return table


def _heading(bench: BenchResult) -> str:
    device, settings = bench.device, bench.settings
    rejected = len(bench.rounds) - bench.accepted_rounds
    cores = f", cores {settings.cpu_mask}" if settings.cpu_mask else ""
    return (
        f"{device.name}: {device.model}, {device.abi}, {device.os}; {engine_words(bench)}\n"
        f"{count(settings.threads, 'thread')}{cores}; {count(bench.accepted_rounds, 'round')} of up to "
        f"{settings.runs} inferences{f', {rejected} more rejected' if rejected else ''}; ms\n"
    )


def engine_words(bench: BenchResult) -> str:
    """Return the tool that ran the files: whose it is, its version and its program's digest, where they are known."""
    engine = bench.engine
    whose = f"{engine.kind}'s " if engine.kind else ""
    words = [" ".join(filter(None, [f"{whose}{engine.name}", engine.version]))]
    if engine.sha256:
        words.append(f"SHA-256 {engine.sha256[:_DIGITS]}")
    return ", ".join([*words, *(engine.libraries or {})])


def _latencies(results: Sequence[FileResult]) -> Table:
    table = make_table("file", "median", "95 % interval", "p5", "p95", "memory MiB", "size MB")
    for each in results:
        latency = each.latency_ms
        if latency is None:
            add_row(table, each.file, Text("refused", style="bold red"))
            continue
        interval = interval_words(latency, ms)
        memory = "-" if each.memory_mb is None else f"{each.memory_mb:.1f}"
        shown = (ms(latency.median), interval, ms(latency.p5), ms(latency.p95), memory, f"{each.size_mb:.2f}")
        add_row(table, each.file, *shown)
    return table


def _comparisons(comparisons: Sequence[FileComparison]) -> Table:
    table = make_table("file", "against", "ratio", "95 % interval", "verdict", right=(2, 3))
    for each in comparisons:
        why = f" ({each.why})" if each.verdict == "inconclusive" else ""
        verdict = Text(each.verdict + why, style=_STYLES.get(each.verdict, ""))
        add_row(table, each.file, each.against, f"{each.ratio:.3f}", interval_words(each, "{:.3f}".format), verdict)
    return table


def _changes(changes: Sequence[Change]) -> Table:
    table = make_table("file", "ratio", "95 % interval", "verdict", "why", right=(1, 2))
    for each in changes:
        add_row(table, each.file, *ratio_and_interval(each), verdict_text(each.verdict), each.why)
    return table


def ratio_and_interval(change: Change) -> tuple[str, str]:
    """Return the ratio of a file against the baseline and its interval; empty where nothing was compared."""
    if change.ratio is None:
        return "", ""
    return f"{change.ratio:.3f}", interval_words(change, "{:.3f}".format)


def limits(verdicts: Sequence[BudgetVerdict]) -> Table:
    """Return the budgets, and what is held to them."""
    table = make_table("file", "limit on", "limit", "figure", "verdict", "why", right=(2, 3))
    for each in verdicts:
        add_row(table, each.file, each.what, *limit_and_figure(each), verdict_text(each.verdict), each.why)
    return table


def limit_and_figure(verdict: BudgetVerdict) -> tuple[str, str]:
    """Return a limit and the figure that is held to it, empty where there is none."""
    if verdict.limited == "instructions":
        return instructions(verdict.limit), "" if verdict.figure is None else instructions(verdict.figure)
    return f"{verdict.limit:g}", "" if verdict.figure is None else ms(verdict.figure)


def verdict_text(verdict: str) -> Text:
    """Return a verdict in its color."""
    return Text(verdict, style=_STYLES.get(verdict, ""))


def _profile(name: str, profile: Profile) -> list[RenderableType]:
    """Return the time by kind and by module as bars, and what is outside the delegate."""
    facts = [f"{name}: {ms(profile.total_ms)} ms ({profile.source})"]
    if not profile.has_delegate:
        facts.append("no delegate took part")
    elif profile.partitions:
        facts.append(f"{count(profile.partitions, 'partition')} of the delegate")
    if profile.has_delegate and profile.undelegated:
        facts.append(f"{ms(profile.undelegated_ms)} ms outside the delegate")
    if profile.unplaced_ms > 0:
        facts.append(f"{ms(profile.unplaced_ms)} ms belong to no op")
    parts: list[RenderableType] = [Text("; ".join(facts))]
    for title, sums in (("kind", profile.by_kind), ("module", profile.by_module)):
        if sums:
            parts.append(bars(title, sums, profile.total_ms))
    if profile.has_delegate and profile.undelegated:
        parts.append(_outside(profile.undelegated))
    return parts


def _outside(ops: Sequence[UndelegatedTime]) -> Table:
    """Return the ops outside the delegate, those of one type with one reason in a line."""
    groups: dict[tuple[str, str, str], list[UndelegatedTime]] = {}
    for each in ops:
        groups.setdefault((each.op, each.reason, each.help), []).append(each)
    table = make_table("outside the delegate", "ops", "ms", "reason", "recipe setting", right=(1, 2))
    for (op, reason, setting), members in groups.items():
        add_row(table, op, str(len(members)), ms(sum(each.ms or 0 for each in members)), reason, setting or "-")
    return table


def bars(
    title: str, sums: Mapping[str, float], total: float, unit: str = "ms", write: Callable[[float], str] = ms
) -> Table:
    """Return a table of shares with bars: the largest, and the rest in one line."""
    table = make_table(title, unit, "%", "", right=(1, 2))
    sums = {key: value for key, value in sums.items() if value > 0}
    longest = max(sums.values(), default=0) or 1
    shown = dict(list(sums.items())[:_MODULES])
    rest = sum(sums.values()) - sum(shown.values())
    for key, value in shown.items():
        add_row(
            table, key, write(value), percent(value / total if total else None), "█" * round(_BAR * value / longest)
        )
    if len(sums) > len(shown):
        add_row(table, f"{len(sums) - len(shown)} others", write(rest), percent(rest / total if total else None))
    return table


def make_table(*columns: str, right: Sequence[int] | None = None) -> Table:
    """Return an empty table without lines; all columns but the first are to the right, or those that `right` names."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for place, column in enumerate(columns):
        is_right = place in right if right is not None else place > 0
        table.add_column(Text(column), justify="right" if is_right else "left", no_wrap=is_right, overflow="fold")
    return table


def add_row(table: Table, *cells: str | Text) -> None:
    """Add a row; brackets and colons in names are no markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def interval_words(interval: Latency | Comparison | Change, write: Callable[[float], str], to: str = "..") -> str:
    """Return an interval, with how sure it is where the rounds are too few for 95 %; a single round has none."""
    low, high, confidence = interval.low, interval.high, interval.confidence
    if low is None or high is None or not confidence:
        return "none (1 round)"
    sure = "" if confidence >= CONFIDENCE else f" ({100 * confidence:.0f} %)"
    return f"{write(low)} {to} {write(high)}{sure}"


def _median_and_interval(latency: Latency) -> str:
    return f"{ms(latency.median)} ({interval_words(latency, ms)})"
