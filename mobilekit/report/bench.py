"""A bench on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

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
    for key, title in (("baseline", "Against the baseline:"), ("budgets", "Budgets:")):
        if content.get(key):
            parts += [Text(f"\n{title}"), _verdicts(content[key])]
    parts += [Text(f"note: {note}") for note in content["notes"]]
    return Group(*parts)


def device_columns(contents: Sequence[dict[str, Any]]) -> Table:
    """Return the median latencies of several devices, a column a device."""
    table = _table("file", *(content["device"]["name"] for content in contents))
    for place, first in enumerate(contents[0]["results"]):
        cells = [content["results"][place]["latency_ms"] for content in contents]
        table.add_row(first["file"], *(_interval(cell) if cell else "refused" for cell in cells))
    return table


def _heading(content: dict[str, Any]) -> str:
    device, engine, settings = content["device"], content["engine"], content["settings"]
    tool = " ".join(filter(None, [engine["name"], engine["version"]]))
    accepted = sum(each["rejected"] is None for each in content["rounds"])
    rejected = len(content["rounds"]) - accepted
    cores = f", cores {settings['cpu_mask']}" if settings["cpu_mask"] else ""
    return (
        f"{device['name']}: {device['model']}, {device['abi']}, {device['os']}; {tool}\n"
        f"{_count(settings['threads'], 'thread')}{cores}; {_count(accepted, 'round')} of up to {settings['runs']} "
        f"inferences{f', {rejected} more rejected' if rejected else ''}; ms\n"
    )


def _latencies(content: dict[str, Any]) -> Table:
    table = _table("file", "median", "95 % interval", "p5", "p95", "memory MB", "size MB")
    for result in content["results"]:
        figures = result["latency_ms"]
        if figures is None:
            table.add_row(result["file"], Text("refused", style="bold red"))
            continue
        interval = f"{_ms(figures['low'])} .. {_ms(figures['high'])}"
        if figures["confidence"] < 0.95:
            interval += f" ({100 * figures['confidence']:.0f} %)"
        memory = "-" if result["memory_mb"] is None else f"{result['memory_mb']:.1f}"
        shown = [_ms(figures[key]) for key in ("p5", "p95")]
        table.add_row(result["file"], _ms(figures["median"]), interval, *shown, memory, f"{result['size_mb']:.2f}")
    return table


def _comparisons(content: dict[str, Any]) -> Table:
    table = _table("file", "against", "ratio", "95 % interval", "verdict", right=(2, 3))
    for each in content["comparisons"]:
        why = f" ({each['why']})" if each["verdict"] == "inconclusive" else ""
        verdict = Text(each["verdict"] + why, style=_STYLES.get(each["verdict"], ""))
        interval = f"{each['low']:.3f} .. {each['high']:.3f}"
        table.add_row(each["file"], each["against"], f"{each['ratio']:.3f}", interval, verdict)
    return table


def _verdicts(rows: list[dict[str, Any]]) -> Table:
    table = _table("file", "verdict", "why", right=())
    for row in rows:
        name = f"{row['file']} {row['limited']}" if "limited" in row else row["file"]
        table.add_row(name, Text(row["verdict"], style=_STYLES.get(row["verdict"], "")), row["why"])
    return table


def _profile(name: str, profile: dict[str, Any]) -> list[RenderableType]:
    """Return the time by kind and by module as bars, and what is outside the delegate."""
    total = profile["total_ms"]
    outside = f"; {_ms(profile['undelegated_ms'])} ms outside the delegate" if profile["undelegated"] else ""
    partitions = _count(profile["partitions"], "partition")
    parts: list[RenderableType] = [
        Text(f"{name}: {_ms(total)} ms ({profile['source']}); {partitions} of the delegate{outside}")
    ]
    for title, sums in (("kind", profile["by_kind"]), ("module", profile["by_module"])):
        if sums:
            parts.append(_bars(title, sums, total))
    if profile["undelegated"]:
        parts.append(_outside(profile["undelegated"]))
    return parts


def _outside(entries: list[dict[str, Any]]) -> Table:
    """Return the ops outside the delegate, those of one type with one reason in a line."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for entry in entries:
        groups.setdefault((entry["op"], entry["reason"], entry["help"]), []).append(entry)
    table = _table("outside the delegate", "ops", "ms", "reason", "recipe setting", right=(1, 2))
    for (op, reason, setting), members in groups.items():
        ms = _ms(sum(entry["ms"] or 0 for entry in members))
        table.add_row(op, str(len(members)), ms, reason, setting or "-")
    return table


def _bars(title: str, sums: dict[str, float], total: float) -> Table:
    table = _table(title, "ms", "%", "", right=(1, 2))
    longest = max(sums.values(), default=0) or 1
    shown = dict(list(sums.items())[:_MODULES])
    rest = sum(sums.values()) - sum(shown.values())
    for key, value in shown.items():
        table.add_row(key, _ms(value), _percent(value, total), "█" * round(_BAR * value / longest))
    if len(sums) > len(shown):
        table.add_row(f"{len(sums) - len(shown)} others", _ms(rest), _percent(rest, total))
    return table


def _percent(value: float, total: float) -> str:
    return f"{100 * value / total:.1f}" if total else "-"


def _table(*columns: str, right: Sequence[int] | None = None) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for place, column in enumerate(columns):
        is_right = place in right if right is not None else place > 0
        table.add_column(column, justify="right" if is_right else "left")
    return table


def _interval(figures: dict[str, Any]) -> str:
    return f"{_ms(figures['median'])} ({_ms(figures['low'])} .. {_ms(figures['high'])})"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _ms(value: float) -> str:
    """Return a time with three significant digits."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
