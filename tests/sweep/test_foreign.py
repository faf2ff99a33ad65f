"""Figures of other tools as rows that say so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.errors import ToolError, UsageError
from mobilekit.store.files import sha256_of
from mobilekit.sweep.compare import compare
from mobilekit.sweep.folder import SweepFolder
from mobilekit.sweep.foreign import Told, import_files
from mobilekit.sweep.show import show
from tests.bench.test_result_file import DATA, FILE, floats, part
from tests.cli.test_schema import check_closely
from tests.conftest import Cli
from tests.sweep.rows_by_hand import row, sweep_of

pytest.importorskip("pyarrow")

from mobilekit.sweep.rows import read_rows

TOLD = Told("ghostnetv2", "int8", "Pixel 6", 1)
PROFILE = DATA / "local-tf2.14.1-linux-x86_64-profiling_output.csv"
# As the files of qai-hub-models are since 2025; the figures are made up.
PERF = """\
supported_devices: [Phone A]
precisions:
  float:
    components:
      MobileNet-v2:
        universal_assets:
          tflite: {model_id: m1}
        performance_metrics:
          Phone A:
            tflite:
              job_id: j1
              job_status: Passed
              inference_time_milliseconds: 0.594
              estimated_peak_memory_range_mb: {min: 0, max: 56}
              primary_compute_unit: NPU
              layer_counts: {total: 71, npu: 70, cpu: 1}
            genie: {llm_metrics: [{context_length: 4096, tokens_per_second: 7.72}]}
            qnn_dlc:
              job_id: j2
              job_status: Failed
          Phone B:
            tflite: {job_id: j3, job_status: Passed, inference_time_milliseconds: 2}
  w8a16:
    components:
      MobileNet-v2:
        performance_metrics:
          Phone A:
            onnx: {job_id: j4, job_status: Passed, inference_time_milliseconds: .nan}
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def imported(folder: Path, path: Path, told: Told = TOLD) -> list[dict[str, Any]]:
    import_files(folder / "s", [path], told)
    return read_rows(SweepFolder(folder / "s").rows)


def test_benchmark_models_results(tmp_path: Path) -> None:
    path = write(tmp_path, "r.pb", FILE)
    [one] = imported(tmp_path, path)
    assert one["latency_ms"] == pytest.approx(350.5) and one["statistic"] == "median"
    assert (one["model"], one["precision"], one["device"], one["threads"]) == ("ghostnetv2", "int8", "Pixel 6", 1)
    assert (one["source"], one["tool"], one["source_sha256"]) == ("imported", "benchmark_model", sha256_of(path))
    assert (one["status"], one["latency_low_ms"], one["raw_ms"], one["memory_mb"]) == ("ok", None, None, None)


def test_an_older_tools_results_have_a_mean(tmp_path: Path) -> None:
    [one] = imported(tmp_path, write(tmp_path, "r.pb", part(2, floats(f1=12.5))))
    assert (one["latency_ms"], one["statistic"]) == (12.5, "mean")


def test_benchmark_models_profile(tmp_path: Path) -> None:
    [one] = imported(tmp_path, PROFILE)
    assert one["latency_ms"] == pytest.approx(495.737, abs=1e-3), "as tests/bench/test_op_profile.py has it"
    assert one["tool"] == "benchmark_model profile" and "profiler on" in one["statistic"]


def test_an_ai_hubs_file(tmp_path: Path) -> None:
    rows = imported(tmp_path, write(tmp_path, "perf.yaml", PERF), Told())
    found = [(row["precision"], row["device"], row["tool"], row["latency_ms"], row["reason"]) for row in rows]
    assert found == [
        ("float", "Phone A", "qai-hub qnn_dlc", None, "the job j2 ended as Failed"),
        ("float", "Phone A", "qai-hub tflite", 0.594, None),
        ("w8a16", "Phone A", "qai-hub onnx", None, "the job j4 ended as Passed"),
        ("float", "Phone B", "qai-hub tflite", 2.0, None),
    ]
    assert [row["status"] for row in rows] == ["failed", "ok", "failed", "ok"]
    assert {row["model"] for row in rows} == {"MobileNet-v2"}
    assert rows[1]["delegates"] == ["NPU 70 of 71"] and rows[1]["threads"] is None


def test_a_file_is_there_once(tmp_path: Path) -> None:
    path = write(tmp_path, "r.pb", FILE)
    imported(tmp_path, path)
    assert len(imported(tmp_path, path)) == 1
    assert len(imported(tmp_path, path, Told("ghostnetv2", "float32", "Pixel 6", 1))) == 2


@pytest.mark.parametrize(
    ("name", "content", "told", "said"),
    [
        ("r.pb", FILE, Told("m"), r"does not say what it is of\.\nSay it by --precision, --device\."),
        ("r.pb", b"text", TOLD, r"r\.pb is no file of results\.\nImport a perf\.yaml of qai-hub-models"),
        ("bad.json", "{}", TOLD, r"bad\.json is no file of results\.\nImport a perf\.yaml of qai-hub-models"),
        ("r.pb", b"", TOLD, "has no latency"),
        ("r.csv", "a,b\n", TOLD, "has no profile of ops"),
        ("perf.yaml", "models: []\n", TOLD, "has no figures"),
        ("perf.yaml", "precisions: {float: {components: 3}}\n", TOLD, "has no figures"),
        ("perf.yaml", "a: [\n", TOLD, r"perf\.yaml:2: not valid YAML"),
    ],
)
def test_what_is_none_of_these(tmp_path: Path, name: str, content: str | bytes, told: Told, said: str) -> None:
    good = write(tmp_path, "good.pb", FILE)
    with pytest.raises(UsageError, match=said):
        import_files(tmp_path / "s", [good, write(tmp_path, name, content)], told)
    assert not (tmp_path / "s").exists(), "nothing is written where one is wrong"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="cannot be read"):
        import_files(tmp_path / "s", [tmp_path], TOLD)
    with pytest.raises(UsageError, match=r"There is no file .*none\.pb\.\nImport a perf\.yaml"):
        import_files(tmp_path / "s", [tmp_path / "none.pb"], TOLD)
    assert not (tmp_path / "s").exists()
    (tmp_path / "full").mkdir()
    write(tmp_path / "full", "x", "")
    for into in (tmp_path / "full", tmp_path / "full" / "x"):
        with pytest.raises(UsageError, match=r"is not a sweep\.\nName the folder of one, or one that is not there"):
            import_files(into, [write(tmp_path, "r.pb", FILE)], TOLD)


def test_others_figures_are_shown_and_never_marked(tmp_path: Path) -> None:
    """The imported one is faster than ours on the same device, and would beat it."""
    folder = sweep_of(tmp_path / "s", [row("ghostnetv2", "int8", [500.0, 501.0], device="Pixel 6", device_model=None)])
    import_files(folder, [write(tmp_path, "r.pb", FILE)], TOLD)
    shown = show(folder)
    assert [(one["source"], one["pareto"]) for one in shown.rows] == [("imported", False), (None, True)]
    assert any("measured by others" in note for note in shown.notes)
    assert [one["source"] for one in show(folder, ["source=imported"]).rows] == ["imported"]


def test_others_figures_are_never_worse(tmp_path: Path) -> None:
    """They have no interval; one that is gone is not missed; and they are not compared with ours."""
    old, new = (sweep_of(tmp_path / name, [row("ghostnetv2", "int8")]) for name in ("old", "new"))
    import_files(old, [write(tmp_path, "a.pb", part(2, floats(f1=10.0)))], TOLD)
    import_files(old, [PROFILE], TOLD)
    import_files(new, [write(tmp_path, "b.pb", part(2, floats(f1=15.0)))], TOLD)
    found = compare(old, new)
    assert [(file.source, file.verdict) for file in found.files] == [("imported", "inconclusive"), (None, "same")]
    [aspect] = found.files[0].aspects
    assert (aspect.ratio, aspect.low) == (1.5, None) and "no interval" in aspect.why
    assert not found.is_worse


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    path = write(tmp_path, "perf.yaml", PERF)
    done = cli("sweep", "import", tmp_path / "s", path)
    assert (done.returncode, done.stdout) == (0, f"4 rows of 1 file imported into {tmp_path / 's'}.\n"), done.stderr
    done = cli("sweep", "import", tmp_path / "s", path, "--json")
    check_closely("sweep-import", json.loads(done.stdout))
    shown = cli("sweep", "show", tmp_path / "s").stdout
    assert " i  MobileNet-v2 (qai-hub tflite)" in shown and "failed: MobileNet-v2 float: bench: the job j2" in shown
    assert cli("sweep", "compare", tmp_path / "s", tmp_path / "s").returncode == 0
