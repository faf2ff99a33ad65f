"""What `mobilekit tune` found, on the terminal."""

from __future__ import annotations

from dataclasses import replace

from mobilekit.cli.render.tune import tune_report
from mobilekit.jobs.tune.search import search
from tests.jobs.tune.test_search import BASE_RECIPE, DENSE, NO_GATE, PADDED, TRANSPOSED, FakeBench, Figure, tuned_of
from tests.snapshots import check_snapshot, on_terminal


def test_snapshot() -> None:
    effects = {"channel-shuffle": 0.9, "relu6-gate": 0.95, "max-pool-padding": 1.2}
    broken = {DENSE.name: Figure(why_not="the proof [bold]failed")}
    found = search(BASE_RECIPE, [TRANSPOSED, NO_GATE, PADDED, DENSE], FakeBench(effects, broken))
    tuned = replace(tuned_of(found), refused={"dfc-shared: dfc-shared": "It cannot be made of this model."})
    nothing = tuned_of(search(BASE_RECIPE, [], FakeBench({})))
    check_snapshot("tune.txt", on_terminal(tune_report(tuned), tune_report(nothing)))
