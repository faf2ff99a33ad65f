"""`mobilekit report`: which files it takes, what it writes, and what it says."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mobilekit.store.bundle import OUTSIDE, write_manifest
from tests.bench.instructions.counts import make_file, make_model, make_result
from tests.cli.render.test_bench import make_bench
from tests.command_line import Cli
from tests.conftest import ROOT
from tests.sweep.rows_by_hand import row, sweep_of

BUNDLE = ROOT / "tests" / "data" / "written_by_0_1" / "bundle"
DIGESTS = json.loads((BUNDLE / "manifest.json").read_text())["files"]
INT8 = "model.int8.tflite"


@pytest.fixture
def times(tmp_path: Path) -> Path:
    """A bench of the bundle's int8 file, and of another one."""
    content = make_bench(tmp_path).to_json()
    content["results"][0]["sha256"] = DIGESTS[INT8]
    return written(tmp_path / "times.json", content)


@pytest.fixture
def counts(tmp_path: Path) -> Path:
    counted = replace(make_file(make_model()), sha256=DIGESTS[INT8])
    return written(tmp_path / "counts.json", make_result(counted).to_json())


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def cells(page: str, file: str) -> dict[str, str]:
    """Return the cells of a file's line by their headings."""
    line = page[page.index(f'<th scope="row">{file}</th>') :].split("</tr>")[0]
    found = re.findall(r'<td[^>]*data-label="([^"]*)">(.*?)</td>', line)
    return {label: re.sub(r"<[^>]*>", "", text).strip() for label, text in found}


def test_times_and_counts_stand_beside_the_file_with_the_same_bytes(
    cli: Cli, tmp_path: Path, times: Path, counts: Path
) -> None:
    page = tmp_path / "page.html"
    done = cli("report", BUNDLE, "--bench", times, "--bench", counts, "-o", page, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"bundle": str(BUNDLE), "report": str(page), "verdict": "pass", "changes": []}
    text = page.read_text()
    assert len(text) < 1_500_000
    of_int8, of_float = cells(text, INT8), cells(text, "model.float32.tflite")
    assert of_int8["ms on Phone 5"] == "10.0 (10.0 to 10.1)" and of_int8["instructions, Cortex-A76"] == "1.00M"
    assert of_float["ms on Phone 5"] == of_float["instructions, Cortex-A76"] == "-"
    assert "blocks.0" in text and "600000" in text, "where the instructions go"


def test_files_stand_in_one_order_however_they_were_timed(cli: Cli, tmp_path: Path, times: Path) -> None:
    content = json.loads(times.read_text())
    content["results"][1]["sha256"] = DIGESTS["model.float32.tflite"]
    both, page = written(tmp_path / "both.json", content), tmp_path / "page.html"
    assert cli("report", BUNDLE, "--bench", both, "-o", page).returncode == 0
    [chart] = re.findall(r'(?s)id="latency-0-spec">(.*?)</script>', page.read_text())
    points = json.loads(chart)["data"]["values"]
    assert [each["file"] for each in points] == ["model.float32.tflite", INT8]
    assert [len(each["raw"]) for each in points] == [8, 8]
    assert points[0]["median"] == pytest.approx(2 * points[1]["median"], rel=0.01), "n/b is twice as slow as n/a"


def test_results_of_several_devices_are_read(cli: Cli, tmp_path: Path, times: Path) -> None:
    one = json.loads(times.read_text())
    other = {**one, "device": {**one["device"], "model": "Phone 6"}}
    several = written(tmp_path / "several.json", {"devices": [one, other], "failed": []})
    assert cli("report", BUNDLE, "--bench", several, "-o", tmp_path / "page.html").returncode == 0
    assert {"ms on Phone 5", "ms on Phone 6"} <= cells((tmp_path / "page.html").read_text(), INT8).keys()


def test_equal_results_are_one_and_others_of_one_device_have_numbers(cli: Cli, tmp_path: Path, times: Path) -> None:
    page = tmp_path / "page.html"
    again = written(tmp_path / "again.json", json.loads(times.read_text()))
    assert cli("report", BUNDLE, "--bench", times, "--bench", again, "-o", page).returncode == 0
    assert [each for each in cells(page.read_text(), INT8) if "ms" in each] == ["ms on Phone 5"]
    content = json.loads(times.read_text())
    other = written(tmp_path / "other.json", {**content, "settings": {**content["settings"], "seed": 7}})
    assert cli("report", BUNDLE, "--bench", times, "--bench", other, "-o", page).returncode == 0
    heads = [each for each in cells(page.read_text(), INT8) if "ms" in each]
    assert heads == ["ms on Phone 5, bench 1", "ms on Phone 5, bench 2"]


IMPOSSIBLE = {
    "negative": {"median": -5.0},
    "no number": {"low": float("nan")},
    "outside its interval": {"median": 1e5},
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_figures_that_cannot_be_are_refused(case: str, cli: Cli, tmp_path: Path, times: Path) -> None:
    content = json.loads(times.read_text())
    content["results"][0]["latency_ms"].update(IMPOSSIBLE[case])
    done = cli("report", BUNDLE, "--bench", written(times, content), "-o", tmp_path / "page.html")
    assert done.returncode == 2 and "has figures that cannot be" in done.stderr
    assert not (tmp_path / "page.html").exists()


def test_counts_that_cannot_be_are_refused(cli: Cli, tmp_path: Path, counts: Path) -> None:
    content = json.loads(counts.read_text())
    content["results"][0]["count"]["instructions"] = -1
    done = cli("report", BUNDLE, "--bench", written(counts, content), "-o", tmp_path / "page.html")
    assert done.returncode == 2 and "-1 instructions" in done.stderr


@pytest.mark.parametrize("cut", [None, b"x" * 500])
def test_a_damaged_bundle_fails_on_the_page_the_terminal_and_in_json(
    cut: bytes | None, cli: Cli, tmp_path: Path
) -> None:
    bundle, page = tmp_path / "bundle", tmp_path / "page.html"
    shutil.copytree(BUNDLE, bundle)
    (bundle / INT8).unlink() if cut is None else (bundle / INT8).write_bytes(cut)
    done = cli("report", bundle, "-o", page, "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["verdict"] == "fail"
    assert "verdict fail" in " ".join(cli("report", bundle, "-o", page).stdout.split())
    text = page.read_text()
    assert "<strong>fail</strong>: changed since the export" in text
    assert not [each for each in cells(text, INT8).values() if "✓" in each] and f"{INT8} has" not in text


def test_ops_that_executorch_keeps_are_those_of_inspect(cli: Cli, tmp_path: Path) -> None:
    bundle, page, name = tmp_path / "bundle", tmp_path / "page.html", "model.float16.pte"
    shutil.copytree(BUNDLE, bundle)
    (bundle / name).write_bytes(b"pte")
    written(bundle / OUTSIDE.format("pte-float16"), [{"op": "cast", "module": "", "reason": ""}] * 2)
    ledger = json.loads((bundle / "ledger.json").read_text())
    ledger["artifacts"][name] = {"size_bytes": 3, "ops": {"linear": 9}, "partitions": 1}
    written(bundle / "ledger.json", ledger)
    content = json.loads((bundle / "manifest.json").read_text())
    write_manifest(bundle, {key: each for key, each in content.items() if key not in ("files", "self_sha256")})
    done = cli("report", bundle, "-o", page)
    assert done.returncode == 0, done.stderr
    assert cells(page.read_text(), name)["XNNPACK"].startswith("1 part, 2 ops outside")


def test_what_fails_on_the_users_test_set_is_at_the_top(cli: Cli, tmp_path: Path) -> None:
    ledger = json.loads((BUNDLE / "ledger.json").read_text())
    gate = {"artifact": INT8, "gate": "max_top1_drop", "limit": 0.01, "value": 0.2, "verdict": "fail", "why": ""}
    mine = written(tmp_path / "d.json", {**ledger, "gates": [gate], "reference_top1": 0.8})
    done = cli("report", BUNDLE, "--diff", mine, "-o", tmp_path / "page.html", "--json")
    assert done.returncode == 0, done.stderr
    assert (json.loads(done.stdout)["verdict"], json.loads(done.stdout)["diff"]) == ("pass", "fail")
    top = (tmp_path / "page.html").read_text().split("<h2>")[0]
    assert (
        "<strong>pass</strong>" in top and "other inputs (digits test split): fail</strong>: 1 of 1 gate missed" in top
    )
    assert "the drop of top-1 is 20.00 % of the inputs, at most 1.00 %" in top


def test_a_diff_on_the_users_test_set_is_shown(cli: Cli, tmp_path: Path) -> None:
    ledger = json.loads((BUNDLE / "ledger.json").read_text())
    rows = [{**each, "top1": 0.75} for each in ledger["stages"]]
    inputs = {"real": "my pictures", "count": 1234, "is_own": True}
    mine = written(tmp_path / "d.json", {**ledger, "stages": rows, "inputs": inputs, "reference_top1": 0.8})
    done = cli("report", BUNDLE, "--diff", mine, "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert "1234 inputs (my pictures)" in page and "right on 80.00 % of them" in page
    assert "<td>75.00</td>\n  <td>-5.00</td>" in page


WRONG = {
    "no JSON": (("--bench", "{tmp}/a.md"), "is no JSON", "cannot be read"),
    "no bench": (("--bench", "{tmp}/other.json"), '{"a": 1}', "is no result of a bench"),
    "missing": (("--bench", "{tmp}/none.json"), "", "cannot be read"),
    "no diff": (("--diff", "{tmp}/other.json"), '{"a": 1}', "it is no result of a diff"),
    "pages": (("--no-pages",), "", "--no-pages is about sweeps"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_result_is_refused(case: str, cli: Cli, tmp_path: Path) -> None:
    words, content, message = WRONG[case]
    for name in ("a.md", "other.json"):
        (tmp_path / name).write_text(content)
    done = cli("report", BUNDLE, *(word.format(tmp=tmp_path) for word in words), "-o", tmp_path / "page.html")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split()) and len(done.stderr.splitlines()) >= 2
    assert not (tmp_path / "page.html").exists()


def test_results_of_other_files_are_refused(cli: Cli, tmp_path: Path) -> None:
    other = written(tmp_path / "b.json", make_bench(tmp_path).to_json())
    done = cli("report", BUNDLE, "--bench", other, "-o", tmp_path / "page.html")
    assert done.returncode == 2 and "is about no file of" in done.stderr
    ledger = json.loads((BUNDLE / "ledger.json").read_text())
    ledger["artifacts"][INT8]["size_bytes"] += 1
    done = cli("report", BUNDLE, "--diff", written(tmp_path / "d.json", ledger), "-o", tmp_path / "page.html")
    assert done.returncode == 2 and "is about other files" in done.stderr
    assert not (tmp_path / "page.html").exists()


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep whose bundle is there, with a bench that ended and one that a killed worker left."""
    pytest.importorskip("pyarrow")
    raw = [2.0 + each / 100 for each in range(9)]
    answer = {"target": "npu", "file": INT8, "taken": 3, "total": 5, "whole": False}
    more: dict[str, Any] = {
        "targets": [json.dumps(answer)],
        "bundle": "bundles/net 1",
        "sha256": DIGESTS[INT8],
        "relative_l2": 0.02,
    }
    gone = row("gone", bundle="bundles/gone")
    made = sweep_of(
        tmp_path / "s", [row("net", "int8", raw, **more), gone, row("x", status="failed", reason="no <op>")]
    )
    shutil.copytree(BUNDLE, made / "bundles" / "net 1")
    bench = make_bench(tmp_path).to_json()
    bench["results"][0]["sha256"] = DIGESTS[INT8]
    for name, text in (("a", json.dumps({"found": {"bench": bench}})), ("b", '{"found": ')):
        (made / "steps" / name).mkdir(parents=True)
        (made / "steps" / name / "bench.json").write_text(text)
    return made


def test_a_sweep_has_a_page_and_one_for_each_bundle_that_is_there(
    cli: Cli, tmp_path: Path, sweep: Path, counts: Path
) -> None:
    page = tmp_path / "page.html"
    done = cli("report", sweep, "--bench", counts, "-o", page, "--json")
    assert done.returncode == 0, done.stderr
    [beside] = [Path(each) for each in json.loads(done.stdout)["pages"]]
    assert beside == tmp_path / "page_pages" / "net 1.html"
    text = page.read_text()
    assert '<a href="page_pages/net%201.html">net</a>' in text and ">gone" in text
    assert "no &lt;op&gt;" in text and "1.00M" in text
    assert '<a href="../page.html">' in beside.read_text()
    of_int8 = cells(beside.read_text(), INT8)
    assert of_int8["ms on Phone 5"] == "10.0 (10.0 to 10.1)" and of_int8["npu"] == "✗ 3/5npu: 3 of 5 ops"
    assert cells(beside.read_text(), "model.onnx")["npu"] == "—npu: not asked"


def test_the_page_of_a_sweep_alone_is_whole(cli: Cli, tmp_path: Path, sweep: Path) -> None:
    done = cli("report", sweep, "--no-pages", "-o", tmp_path / "page.html")
    assert done.returncode == 0 and "3 rows, 1 failed" in done.stdout
    assert not (tmp_path / "page_pages").exists()
    assert "href=" not in re.sub(r"(?s)<script.*?</script>", "", (tmp_path / "page.html").read_text())


def test_a_changed_bundle_of_a_sweep_is_told_and_so_is_what_a_sweep_has_not(
    cli: Cli, tmp_path: Path, sweep: Path
) -> None:
    (sweep / "bundles" / "net 1" / INT8).write_bytes(b"x")
    done = cli("report", sweep, "-o", tmp_path / "page.html")
    assert done.returncode == 1 and f"{INT8} is changed" in done.stderr and (tmp_path / "page.html").exists()
    (sweep / "bundles" / "net 1" / "ledger.json").write_text("{")
    done = cli("report", sweep, "-o", tmp_path / "again.html")
    assert done.returncode == 1 and "ledger.json cannot be read" in done.stderr and (tmp_path / "again.html").exists()
    assert not (tmp_path / "again_pages").exists()
    done = cli("report", sweep, "--diff", sweep / "sweep.json", "-o", tmp_path / "other.html")
    assert done.returncode == 2 and "are about one bundle" in done.stderr
