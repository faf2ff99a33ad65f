"""A bench on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mobilekit.bench.statistics import CONFIDENCE

_STYLES = {
    "faster": "green",
    "slower": "yellow",
    "pass": "green",
    "fail": "bold red",
    "regressed": "bold red",
    "improved": "green",
}
_BAR = 30  # characters of the longest bar
_MODULES = 15  # lines of the table by module


def bench_report(content: dict[str, Any]) -> Group:
    """Return one device's bench: what was measured on what, a line a file, the comparisons, and what to know."""
    parts: list[RenderableType] = [Text(_heading(content)), _latencies(content)]
    parts += [Text(f"refused: {each['file']}: {each['why_not']}") for each in content["results"] if each["why_not"]]
    if content["comparisons"]:
        parts += [Text(), _comparisons(content)]
    for name, profile in content.get("profiles", {}).items():
        parts += [Text(), *_profile(name, profile)]
    if content.get("baseline"):
        parts += [Text("\nAgainst the baseline:"), _changes(content["baseline"])]
    if content.get("budgets"):
        parts += [Text("\nBudgets:"), _limits(content["budgets"])]
    parts += [Text(f"note: {note}") for note in content["notes"]]
    return Group(*parts)


def device_columns(contents: Sequence[dict[str, Any]]) -> Table:
    """Return the median latencies of several devices, a column a device."""
    table = _table("file", *(content["device"]["name"] for content in contents))
    for place, first in enumerate(contents[0]["results"]):
        cells = [content["results"][place]["latency_ms"] for content in contents]
        _add(table, first["file"], *(_interval(cell) if cell else "refused" for cell in cells))
    return table


def _heading(content: dict[str, Any]) -> str:
    device, engine, settings = content["device"], content["engine"], content["settings"]
    tool = " ".join(filter(None, [engine["name"], engine["version"]]))
    accepted = sum(each["rejected"] is None for each in content["rounds"])
    rejected = len(content["rounds"]) - accepted
    cores = f", cores {settings['cpu_mask']}" if settings["cpu_mask"] else ""
    return (
        f"{device['name']}: {device['model']}, {device['abi']}, {device['os']}; {tool}\n"
        f"{count(settings['threads'], 'thread')}{cores}; {count(accepted, 'round')} of up to {settings['runs']} "
        f"inferences{f', {rejected} more rejected' if rejected else ''}; ms\n"
    )


def _latencies(content: dict[str, Any]) -> Table:
    table = _table("file", "median", "95 % interval", "p5", "p95", "memory MB", "size MB")
    for result in content["results"]:
        figures = result["latency_ms"]
        if figures is None:
            _add(table, result["file"], Text("refused", style="bold red"))
            continue
        interval = f"{ms(figures['low'])} .. {ms(figures['high'])}{unsure(figures)}"
        memory = "-" if result["memory_mb"] is None else f"{result['memory_mb']:.1f}"
        shown = [ms(figures[key]) for key in ("p5", "p95")]
        _add(table, result["file"], ms(figures["median"]), interval, *shown, memory, f"{result['size_mb']:.2f}")
    return table


def _comparisons(content: dict[str, Any]) -> Table:
    table = _table("file", "against", "ratio", "95 % interval", "verdict", right=(2, 3))
    for each in content["comparisons"]:
        why = f" ({each['why']})" if each["verdict"] == "inconclusive" else ""
        verdict = Text(each["verdict"] + why, style=_STYLES.get(each["verdict"], ""))
        interval = f"{each['low']:.3f} .. {each['high']:.3f}{unsure(each)}"
        _add(table, each["file"], each["against"], f"{each['ratio']:.3f}", interval, verdict)
    return table


def _changes(rows: list[dict[str, Any]]) -> Table:
    table = _table("file", "ratio", "95 % interval", "verdict", "why", right=(1, 2))
    for row in rows:
        _add(table, row["file"], *change(row), _verdict(row), row["why"])
    return table


def change(row: dict[str, Any]) -> tuple[str, str]:
    """Return the ratio of a row against the baseline and its interval; empty where nothing was compared."""
    if row["ratio"] is None:
        return "", ""
    return f"{row['ratio']:.3f}", f"{row['low']:.3f} .. {row['high']:.3f}{unsure(row)}"


def _limits(rows: list[dict[str, Any]]) -> Table:
    table = _table("file", "limit on", "limit", "figure", "verdict", "why", right=(2, 3))
    for row in rows:
        _add(table, row["file"], row["limited"], *limit(row), _verdict(row), row["why"])
    return table


def limit(row: dict[str, Any]) -> tuple[str, str]:
    """Return the limit of a row of budgets and the figure that it is held to, empty where there is none."""
    return f"{row['limit']:g}", "" if row["figure"] is None else ms(row["figure"])


def _verdict(row: dict[str, Any]) -> Text:
    return Text(row["verdict"], style=_STYLES.get(row["verdict"], ""))


def _profile(name: str, profile: dict[str, Any]) -> list[RenderableType]:
    """Return the time by kind and by module as bars, and what is outside the delegate."""
    total = profile["total_ms"]
    facts = [f"{name}: {ms(total)} ms ({profile['source']})"]
    delegated = any(op["delegated"] for op in profile["ops"])
    if not delegated:
        facts.append("no delegate took part")
    elif profile["partitions"]:
        facts.append(f"{count(profile['partitions'], 'partition')} of the delegate")
    if delegated and profile["undelegated"]:
        facts.append(f"{ms(profile['undelegated_ms'])} ms outside the delegate")
    if profile["unplaced_ms"] > 0:
        facts.append(f"{ms(profile['unplaced_ms'])} ms belong to no op")
    parts: list[RenderableType] = [Text("; ".join(facts))]
    for title, sums in (("kind", profile["by_kind"]), ("module", profile["by_module"])):
        if sums:
            parts.append(_bars(title, sums, total))
    if delegated and profile["undelegated"]:
        parts.append(_outside(profile["undelegated"]))
    return parts


def _outside(entries: list[dict[str, Any]]) -> Table:
    """Return the ops outside the delegate, those of one type with one reason in a line."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault((entry["op"], entry["reason"], entry["help"]), []).append(entry)
    table = _table("outside the delegate", "ops", "ms", "reason", "recipe setting", right=(1, 2))
    for (op, reason, setting), members in groups.items():
        time = ms(sum(entry["ms"] or 0 for entry in members))
        _add(table, op, str(len(members)), time, reason, setting or "-")
    return table


def _bars(title: str, sums: dict[str, float], total: float) -> Table:
    table = _table(title, "ms", "%", "", right=(1, 2))
    sums = {key: value for key, value in sums.items() if value > 0}
    longest = max(sums.values(), default=0) or 1
    shown = dict(list(sums.items())[:_MODULES])
    rest = sum(sums.values()) - sum(shown.values())
    for key, value in shown.items():
        _add(table, key, ms(value), _percent(value, total), "█" * round(_BAR * value / longest))
    if len(sums) > len(shown):
        _add(table, f"{len(sums) - len(shown)} others", ms(rest), _percent(rest, total))
    return table


def _percent(value: float, total: float) -> str:
    return f"{100 * value / total:.1f}" if total else "-"


def _table(*columns: str, right: Sequence[int] | None = None) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for place, column in enumerate(columns):
        is_right = place in right if right is not None else place > 0
        table.add_column(Text(column), justify="right" if is_right else "left", no_wrap=is_right, overflow="fold")
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """Add a row; brackets and colons in names are no markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def unsure(figures: dict[str, Any]) -> str:
    """Say how sure an interval is where the rounds are too few for 95 %."""
    return "" if figures["confidence"] >= CONFIDENCE else f" ({100 * figures['confidence']:.0f} %)"


def _interval(figures: dict[str, Any]) -> str:
    return f"{ms(figures['median'])} ({ms(figures['low'])} .. {ms(figures['high'])})"


def count(number: int, thing: str) -> str:
    """Return a number of things in words."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def ms(value: float) -> str:
    """Return a time with three significant digits, the last zeros included."""
    return f"{value:#.3g}".rstrip(".") if value < 100 else f"{value:.0f}"
