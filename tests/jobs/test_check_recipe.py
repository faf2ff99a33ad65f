"""All faults of a recipe at once, and its model options tried."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.errors import UsageError
from mobilekit.jobs.check_recipe import check_recipe
from mobilekit.recipes.builtin import builtin_recipes
from tests.conftest import Cli

FAULTY = """\
models: [ghostnet, ghostnett]
model_options: {widht: 0.5}
inpt: {size: 224}
precision: [float23]
rewrites:
  - name: fold-batch-norms
  - remove-identity
  - {name: merge-clamps, options: {all: true}}
"""


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(FAULTY)
    with pytest.raises(UsageError) as refused:
        check_recipe(str(path))
    told = refused.value.what.splitlines()
    starts = [
        f"{path}:1: There is no model ghostnett. Did you mean ghostnet",
        f"{path}:2: ghostnet has no option widht. Did you mean width",
        f"{path}:3: unknown key inpt. Did you mean input",
        f"{path}:4: precision.0: Input should be 'float32'",
        f"{path}:6: there is no rewrite fold-batch-norms. Did you mean fold-batch-norm",
        f"{path}:7: rewrites.1: write `- name: remove-identity`.",
        f"{path}:8: unknown key all. ",
    ]
    assert len(told) == len(starts)
    for line, start in zip(told, starts, strict=True):
        assert line.startswith(start)


def test_values_that_only_the_model_knows_are_tried(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("models: [shufflenet]\nmodel_options: {groups: 7}\n")
    done = cli("recipes", "check", path)
    assert done.returncode == 2 and f"error: {path}:2: shufflenet: " in done.stderr
    path.write_text("models: [shufflenet]\nmodel_options: {groups: 2}\n")
    assert cli("recipes", "check", path).returncode == 0


@pytest.mark.parametrize("name", ["default", "ghostnetv2_digits"])
def test_our_own_are_right(name: str) -> None:
    assert name in builtin_recipes() and check_recipe(name).name == name


def test_an_export_names_the_first_and_says_where_all_are_named(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("a: 1\nb: 1\nc: 1\nd: 1\n")
    done = cli("export", "ghostnet", "--recipe", path, "-o", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.count("unknown key") == 3
    assert "`mobilekit recipes check` names all 4 faults." in done.stderr
    assert cli("recipes", "check", path).stderr.count("unknown key") == 4


GATED = """\
models: [ghostnet]
precision: [float32]
gates:
  float16: {max_partitions: 1}
  accuracy: {max_top1_drop: 0.1, precision: [float32, int8]}
  targets:
    cpu:
      precision: [dynamic]
      whole: true
    gpux: {whole: true}
    "vela:u55-256": {whole: true}
"""


def test_gates_name_targets_that_exist_and_files_that_are_made(tmp_path: Path, cli: Cli) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(GATED)
    with pytest.raises(UsageError) as refused:
        check_recipe(str(path))
    assert refused.value.what.splitlines() == [
        f"{path}:4: a gate on float16, which `precision` does not make.",
        f"{path}:5: a gate on int8, which `precision` does not make.",
        f"{path}:8: a gate on dynamic, which `precision` does not make.",
        f"{path}:10: There is no target 'gpux'. Did you mean gpu or cpu?",
        f"{path}:11: The target vela:u55-256 reads int8 .tflite files, and none is made that it could be asked about.",
    ]
    done = cli("export", "ghostnet", "--recipe", path, "-o", tmp_path / "out")
    assert (done.returncode, f"{path}:10: There is no target 'gpux'." in done.stderr) == (2, True)
