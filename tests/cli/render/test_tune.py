"""What `mobilekit tune` found, on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mobilekit.cli.render.tune import tune_report
from mobilekit.jobs.tune.search import search
from tests.cli.render.test_bench import make_bench
from tests.conftest import ROOT
from tests.jobs.tune.test_search import BASE_RECIPE, DENSE, NO_GATE, PADDED, TRANSPOSED, FakeBench, Figure, tuned_of
from tests.snapshots import check_snapshot, on_terminal


def test_snapshot() -> None:
    effects = {"channel-shuffle": 0.9, "relu6-gate": 0.95, "max-pool-padding": 1.2}
    broken = {DENSE.name: Figure(why_not="the proof [bold]failed")}
    found = search(BASE_RECIPE, [TRANSPOSED, NO_GATE, PADDED, DENSE], FakeBench(effects, broken))
    tuned = replace(tuned_of(found), refused={"dfc-shared: dfc-shared": "It cannot be made of this model."})
    nothing = tuned_of(search(BASE_RECIPE, [], FakeBench({})))
    check_snapshot("tune.txt", on_terminal(tune_report(tuned), tune_report(nothing)))


def test_the_json_is_what_it_was(tmp_path: Path) -> None:
    found = search(BASE_RECIPE, [TRANSPOSED, NO_GATE, PADDED], FakeBench({"channel-shuffle": 0.9, "relu6-gate": 0.95}))
    refused = {"relu6-gate: relu6-gate": "It cannot be made."}
    tuned = replace(tuned_of(found), refused=refused, benches=(make_bench(tmp_path),))
    content = json.loads(json.dumps(tuned.to_json()).replace(str(tmp_path), "FOLDER"))
    before = json.loads((ROOT / "tests" / "data" / "json" / "tune.json").read_text())
    assert content["ledger"] == tuned.ledger.to_json()
    assert {**content, "ledger": before["ledger"]} == before
    assert list(content) == list(before)
