"""A tuned recipe as a file: what was measured as comments, and the recipe."""

from __future__ import annotations

import yaml

from mobilekit.errors import first_line
from mobilekit.jobs.tune.result import Tuned
from mobilekit.jobs.tune.search import Figure

_WIDTH = 120


def recipe_text(tuned: Tuned) -> str:
    """Return the recipe that was chosen as YAML that reads back as the same recipe."""
    chosen = tuned.outcome.recipe.recipe
    recipe = chosen.model_dump(mode="json", exclude_unset=True)
    if "rewrites" in recipe:
        recipe["rewrites"] = [step.model_dump(mode="json", exclude_defaults=True) for step in chosen.rewrites]
    body = yaml.safe_dump(recipe, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)
    return "".join(f"# {line}\n" if line else "#\n" for line in notes(tuned)) + body


def notes(tuned: Tuned) -> list[str]:
    """Return what was measured, a line a form."""
    request, outcome, base = tuned.request, tuned.outcome, tuned.request.source.recipe.name
    lines = [f"{request.source.model}, tuned by `mobilekit tune` from the recipe {base}."]
    if not tuned.benches and not tuned.counts:
        return [*lines, f"Nothing was measured: {outcome.why}."]
    lines += _counted(tuned) if tuned.counts else _timed(tuned)
    for trial in outcome.trials:
        mark = " <- chosen" if trial.chosen else ""
        lines.append(f"  {trial.group}: {trial.form.name}: {in_words(trial.figure)}{mark}")
    if outcome.final:
        lines.append("What won, measured again:")
        lines += [f"  {name}: {in_words(each)}" for name, each in outcome.final.items() if each.ratio is not None]
    return [*lines, f"Chosen: {', '.join(tuned.chosen) or 'the recipe as it was'}; {outcome.why}."]


def _timed(tuned: Tuned) -> list[str]:
    bench, base = tuned.benches[0], tuned.request.source.recipe.name
    device, engine, settings = bench.device, bench.engine, bench.settings
    version = f" {engine.version}" if engine.version else ""
    threads = f"{settings.threads} thread{'s' * (settings.threads != 1)}"
    return [
        f"{device.model} ({device.abi}, {device.os}), {engine.name}{version}, {threads}, {tuned.request.precision};",
        f"{settings.rounds} rounds of {settings.runs} inferences, seed {settings.seed}. "
        f"The recipe {base} took {tuned.outcome.base.median_ms:.3g} ms.",
        "Latency as a multiple of that, with its 95 % interval:",
    ]


def _counted(tuned: Tuned) -> list[str]:
    count, base = tuned.counts[0], tuned.request.source.recipe.name
    return [
        f"Instructions of one inference on {count.core.model}, LiteRT {count.litert}, qemu {count.qemu}, "
        f"{tuned.request.precision}.",
        f"The recipe {base} has {tuned.outcome.base.instructions}. Instructions as a multiple of that:",
    ]


def in_words(figure: Figure) -> str:
    """Return a ratio with its verdict, and its interval where it has one; or why there is none."""
    if figure.ratio is None:
        return first_line(figure.why_not) if figure.why_not else "not measured"
    return f"{ratio_words(figure)}, {figure.verdict}"


def ratio_words(figure: Figure) -> str:
    """Return a ratio, with its interval where it has one."""
    if figure.low is None or figure.high is None:
        return f"{figure.ratio:.4f}"
    return f"{figure.ratio:.3f} ({figure.low:.3f} to {figure.high:.3f})"
