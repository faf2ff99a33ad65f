"""ExecuTorch's executor_runner: what it prints, and what a bench makes of that, here and on a phone that logs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from mobilekit.bench.runner_output import RunnerOutput, parse_runner
from tests.bench_cli import Bench
from tests.conftest import Cli
from tests.programs import TWO_PARTS

# https://github.com/pytorch/executorch/issues/1231, of 2023
WITHOUT_TIMES = """\
I 00:00:00.382397 executorch:executor_runner.cpp:133] Model file ./resnet18.pte is loaded.
I 00:00:00.382473 executorch:executor_runner.cpp:142] Using method forward
I 00:00:00.437272 executorch:executor_runner.cpp:213] Method loaded.
I 00:00:00.437405 executorch:executor_runner.cpp:219] Inputs prepared.
I 00:02:23.767346 executorch:executor_runner.cpp:228] Model executed successfully.
I 00:02:23.767409 executorch:executor_runner.cpp:232] 1 outputs:
"""
TOGETHER = "I 00:00:00.2 executorch:executor_runner.cpp:385] Model executed successfully 5 time(s) in 22.500000 ms.\n"
EACH = """\
I 00:00:00.1 executorch:executor_runner.cpp:601] Model loaded in 7.250000 ms.
I 00:00:00.2 executorch:executor_runner.cpp:745] Iteration 1 of 3: 9.500000 ms
I 00:00:00.2 executorch:executor_runner.cpp:745] Iteration 2 of 3: 4.000000 ms
I 00:00:00.2 executorch:executor_runner.cpp:745] Iteration 3 of 3: 4.500000 ms
I 00:00:00.2 executorch:executor_runner.cpp:753] Model executed successfully 3 time(s) in 18.000000 ms.
"""
LOGGED = """\
--------- beginning of main
04-09 10:00:01.123  3388  3388 I ExecuTorch: Iteration 1 of 2: 5.125000 ms
04-09 10:00:01.129  3388  3388 I ExecuTorch: Iteration 2 of 2: 5.000000 ms
"""
# https://github.com/pytorch/executorch/issues/3528
REFUSED = "E 00:00:00.214101 executorch:method.cpp:939] Overriding output data pointer is not allowed.\n"
FAILED = "F 00:00:00.0 executorch:executor_runner.cpp:593] Loading of method forward failed with status 0x20\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (WITHOUT_TIMES, RunnerOutput()),
        (TOGETHER, RunnerOutput(total=22.5, count=5)),
        (EACH, RunnerOutput((9.5, 4.0, 4.5), 18.0, 3, 7.25)),
        (LOGGED, RunnerOutput((5.125, 5.0))),
        (EACH.replace("Iteration 2", "Iteration 7"), RunnerOutput((), 18.0, 3, 7.25)),
        (EACH.replace("4.000000 ms", "0.000000 ms"), RunnerOutput((), 18.0, 3, 7.25)),
        (EACH.replace("4.000000 ms", "4.00"), RunnerOutput((), 18.0, 3, 7.25)),
        (REFUSED + FAILED, RunnerOutput(trouble="Loading of method forward failed with status 0x20")),
        ("ERROR: unknown command line flag 'x'\n", RunnerOutput(trouble="unknown command line flag 'x'")),
        ("", RunnerOutput()),
    ],
)
def test_what_it_prints_is_read(text: str, found: RunnerOutput) -> None:
    assert parse_runner(text) == found


HELP = 'echo "    -model_path (a) type: string"; echo "    -num_executions (b) type: uint32"'
RUNNER = """\
#!/bin/sh
say() { {say} }
for each; do
    case $each in
    --help) {help}; exit 1 ;;
    --num_executions=*) count=${each#*=} ;;
    --model_path=*) model=${each#*=} ;;
    --cpu_threads=*) threads=${each#*=} ;;
    esac
done
{after}
say I "Model loaded in 2.500000 ms."
number=0
while [ $number -lt $count ]; do
    number=$((number + 1))
    {times}
done
say I "Model executed successfully $count time(s) in $((count * 4)).000000 ms."
"""
TO_STDERR = 'echo "$1 00:00:00.1 executorch:executor_runner.cpp:1] $2" >&2;'
TIMES = 'say I "Iteration $number of $count: $((9 - number)).500000 ms"'
THREADS = '; echo "    -cpu_threads (c) type: int32"'


def runner(
    folder: Path, say: str = TO_STDERR, flags: str = HELP + THREADS, times: str = TIMES, after: str = ""
) -> Path:
    """Write a script in place of the tool."""
    path = folder / "executor_runner"
    parts = {"say": say, "help": flags, "times": times or ":", "after": after}
    text = RUNNER
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    path.write_text(text)
    path.chmod(0o755)
    return path


def words(program: Path, *more: str) -> list[str | Path]:
    counts = ["--rounds", "2", "--runs", "3", "--warmup-runs", "2", "--json"]
    return ["bench", TWO_PARTS, "--benchmark-binary", program, *counts, *more]


def test_inferences_before_those_that_count_are_left_out(cli: Cli, tmp_path: Path) -> None:
    done = cli(*words(runner(tmp_path)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"]["name"] == "executor_runner"
    run = next(iter(json.loads(done.stdout)["rounds"][0]["runs"].values()))
    assert run["raw_ms"] == [6.5, 5.5, 4.5]
    assert (run["latency_ms"], run["statistic"], run["init_ms"], run["first_ms"]) == (5.5, "median", 2.5, 8.5)


def test_where_only_the_sum_is_told_it_is_a_mean(cli: Cli, tmp_path: Path) -> None:
    done = cli(*words(runner(tmp_path, times="")), cwd=tmp_path)
    run = next(iter(json.loads(done.stdout)["rounds"][0]["runs"].values()))
    assert (run["latency_ms"], run["statistic"], run["count"]) == (4.0, "mean", 5)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"say": ":;"}, "it told no time"),
        (
            {"after": 'say F "Loading of method forward failed with status 0x20"; exit 134'},
            "exit code 134: Loading of method forward failed with status 0x20",
        ),
    ],
)
def test_a_run_without_figures_is_refused_with_its_words(
    changes: dict[str, str], why: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli(*words(runner(tmp_path, **changes)), cwd=tmp_path)
    assert done.returncode == 1
    assert why in json.loads(done.stdout)["results"][0]["why_not"]


@pytest.mark.parametrize(
    ("flags", "more", "what"),
    [
        ("echo usage", (), "has no --model_path and --num_executions"),
        (HELP, ("--threads", "2"), "has no --cpu_threads"),
    ],
)
def test_a_build_that_cannot_do_it_is_refused(
    flags: str, more: tuple[str, ...], what: str, cli: Cli, tmp_path: Path
) -> None:
    done = cli(*words(runner(tmp_path, flags=flags), *more), cwd=tmp_path)
    assert done.returncode == 4
    assert what in done.stderr


def test_a_phone_tells_it_in_its_log_behind_what_was_there(bench: Bench, tmp_path: Path) -> None:
    programs = bench.fake.root / "system/bin"
    for name, does in (
        ("log", 'echo "04-09 10:00:01.1  1  1 I $2: $3" >>"$FAKE_ROOT/log.txt"'),
        ("logcat", 'cat "$FAKE_ROOT/log.txt"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    old = "04-09 09:00:00.0  1  1 I ExecuTorch: Iteration 1 of 5: 0.100000 ms\n"
    (bench.fake.root / "log.txt").write_text(old)
    bench.program = runner(tmp_path, say='log -t ExecuTorch "$2";')
    shutil.copy(TWO_PARTS, tmp_path / "net.pte")
    said = bench("net.pte", "--rounds", "2", "--runs", "3", "--warmup-runs", "2", "--json")
    assert said.code == 0, said.err
    assert next(iter(said.json["rounds"][1]["runs"].values()))["raw_ms"] == [6.5, 5.5, 4.5]
    missing = bench.run("bench", "net.pte", "--device", "adb")
    assert missing.code == 2 and "need an executor_runner that was built for it" in missing.err
