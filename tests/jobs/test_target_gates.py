"""Gates on targets: files are held to what a target's own compiler takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.cli.findings import gate_words
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs import target_gates
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.target_gates import check_named, check_targets, gates_without_files
from mobilekit.recipes.gates import Gates, TargetGate
from mobilekit.recipes.load import LoadedRecipe, load_recipe
from mobilekit.recipes.schema import Recipe
from mobilekit.store.stages import Stage
from mobilekit.targets.answer import Answer, Refusal
from mobilekit.targets.catalogue import target_words
from mobilekit.targets.cpu import CPU
from tests.conftest import Cli
from tests.tflite_by_hand import make_tflite
from tests.tiny import TINY

STAGES = (Stage.ONNX_SIMPLIFIED, Stage.TFLITE_FLOAT32, Stage.TFLITE_INT8)


def recipe_with(word: str, **gate: object) -> Recipe:
    return Recipe(gates=Gates(targets={word: TargetGate.model_validate(gate)}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of four ops, two of which XNNPACK leaves."""
    ops = [("HARD_SWISH", "x", "a"), ("RELU_0_TO_1", "a", "b"), ("HARD_SWISH", "b", "c"), ("RELU_0_TO_1", "c", "y")]
    content = make_tflite([(kind, [taken], made) for kind, taken, made in ops], (1, 4, 4, 8), ["y"])
    for stage in STAGES[1:]:
        (tmp_path / stage.file).write_bytes(content)
    return tmp_path


def test_a_file_that_is_not_whole_fails_with_the_reason(folder: Path) -> None:
    first, second = check_targets(folder, recipe_with("cpu", whole=True), STAGES)
    assert (first.artifact, second.artifact) == (Stage.TFLITE_FLOAT32.file, Stage.TFLITE_INT8.file)
    assert (first.verdict, first.value, first.target) == ("fail", 2, "cpu")
    assert first.why == "2 RELU_0_TO_1 (XNNPACK has no kernel for RELU_0_TO_1: RELU6 has one)"
    assert gate_words(first) == "cpu leaves 2 ops or computes them wrongly"


@pytest.mark.parametrize(("most", "verdict"), [(1, "fail"), (2, "pass")])
def test_partitions_of_the_precisions_that_are_named(folder: Path, most: int, verdict: str) -> None:
    recipe = recipe_with("cpu", precision=["int8"], max_partitions=most)
    [result] = check_targets(folder, recipe, STAGES)
    assert (result.artifact, result.value, result.verdict) == (Stage.TFLITE_INT8.file, 2, verdict)
    assert gate_words(result) == f"2 cpu partitions, at most {most}"


def test_what_is_computed_wrongly_is_not_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(CPU):
        def ask(self, path: Path) -> Answer:
            return Answer(self.name, path.name, 4, 4, 1, (), "", wrong=(Refusal("CONV_2D", 3, "another function"),))

    monkeypatch.setattr(target_gates, "find_target", Wrong)
    [result] = check_targets(folder, recipe_with("cpu", precision=["int8"], whole=True), STAGES)
    assert (result.verdict, result.value, result.why) == ("fail", 3, "3 CONV_2D (another function)")


def test_a_target_is_looked_for_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    check_named(LoadedRecipe("r", Recipe()))
    check_named(LoadedRecipe("r", recipe_with("cpu", whole=True)))
    with pytest.raises(UsageError, match="no target 'tpu'"):
        check_named(LoadedRecipe("r", recipe_with("tpu", whole=True)))
    monkeypatch.setattr("mobilekit.targets.gpu.find_problem", lambda: ToolError("No GPU is set up."))
    with pytest.raises(ToolError, match="No GPU is set up"):
        check_named(LoadedRecipe("r", recipe_with("gpu", whole=True)))


@pytest.mark.parametrize(
    ("made", "held"),
    [(("float32",), ()), (("float32", "int8"), ("float32",))],
)
def test_a_target_that_reads_none_of_the_files_is_no_gate(made: tuple[str, ...], held: tuple[str, ...]) -> None:
    gates = recipe_with("vela:u55-256", whole=True, precision=held).gates
    with pytest.raises(UsageError, match=r"reads int8 \.tflite files, and none is made"):
        check_named(LoadedRecipe("r", Recipe.model_validate({"precision": made, "gates": gates.model_dump()})))


def test_a_table_without_partitions_is_one_part_where_it_takes_all(folder: Path) -> None:
    recipe = recipe_with("runtime:2.23", precision=["int8"], max_partitions=1)
    [result] = check_targets(folder, recipe, STAGES)
    assert (result.value, result.verdict) == (1, "pass")


def test_a_gate_that_asks_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="it asks for nothing"):
        TargetGate(precision=("int8",))


def test_words_of_the_option() -> None:
    assert target_words("cpu, npu,cpu") == ["cpu", "qnn:SM8650", "vela:u55-256"]
    with pytest.raises(UsageError, match="No target is named"):
        target_words(" ,")
    base = load_recipe("ghostnetv2")
    gates = adjust(base, targets=["cpu", "gpu"]).recipe.gates
    assert gates.targets == {word: TargetGate(whole=True) for word in ("cpu", "gpu")}
    assert gates.files == base.recipe.gates.files
    kept = adjust(base, max_top1_drop=0.1, targets=["cpu"]).recipe.gates
    assert (kept.accuracy is not None, set(kept.targets or ())) == (True, {"cpu"})


def test_an_export_for_a_target_that_cannot_be_asked_leaves_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mobilekit.targets.gpu.find_problem", lambda: ToolError("No GPU is set up."))
    done = cli("export", TINY, "--target", "gpu", "-o", tmp_path / "out")
    assert (done.returncode, "No GPU is set up." in done.stderr) == (4, True)
    assert not (tmp_path / "out").exists()


def test_gates_on_files_that_an_option_leaves_out_are_told() -> None:
    recipe = adjust(load_recipe("ghostnetv2"), precision=["float32"]).recipe
    assert list(gates_without_files(recipe)) == [
        "The recipe's gates on float16, int8 are not checked: no such file is made."
    ]
    assert not list(gates_without_files(Recipe(precision=("int8",))))
