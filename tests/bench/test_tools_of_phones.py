"""What runs on a phone, and how: which benchmark_model, through which interface of the GPU, with which libraries."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.store.files import sha256_of
from tests.bench_cli import Bench
from tests.fake_device import FakeDevice, fake_benchmark_model

WORDS = ("a.tflite", "--rounds", "6", "--json")
LIBRARY = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00" + bytes(44)


@pytest.mark.parametrize(("litert", "kind"), [(False, "TensorFlow Lite"), (True, "LiteRT")])
def test_the_tool_s_kind_and_digest_are_told(bench: Bench, litert: bool, kind: str) -> None:
    digest = sha256_of(fake_benchmark_model())
    with bench.fake.faulty(litert=litert):
        said = bench(*WORDS)
        shown = bench("a.tflite", "--rounds", "1", "--markdown", "summary.md")
    assert (said.json["engine"]["kind"], said.json["engine"]["sha256"]) == (kind, digest)
    assert f"{kind}'s benchmark_model, SHA-256 {digest[:12]}" in shown.out.replace("\n", " ")
    assert f"{kind}'s benchmark_model, SHA-256 {digest[:12]}" in Path("summary.md").read_text()


def test_litert_s_tool_runs_xnnpack_and_profiles_in_its_own_words(tiny_bundle: Path, bench: Bench) -> None:
    model = tiny_bundle / "model.float32.tflite"
    with bench.fake.faulty(litert=True):
        said = bench(model, "--rounds", "1", "--delegate", "xnnpack", "--profile", "--json")
    assert said.code == 0, said.err
    [result] = said.json["results"]
    assert result["accepted"] and result["delegates"] == ["XNNPACK: completely, 7 of 7 ops in 1 partitions"]
    assert any("--use_profiler=true" in command for command in bench.fake.commands)
    assert not any("does not know" in note for note in said.json["notes"]), said.json["notes"]


def test_a_flag_that_a_build_lacks_is_hinted_at_rightly(bench: Bench) -> None:
    with bench.fake.faulty(litert=True):
        said = bench(*WORDS, "--delegate", "nnapi")
    assert said.code == 1
    why = said.json["results"][0]["why_not"]
    assert why.endswith("does not know --use_nnapi=true, and ran without; take a build that has this delegate.")


@pytest.mark.parametrize("litert", [False, True])
@pytest.mark.parametrize(("opengl", "interface"), [(False, "OpenCL"), (True, "OpenGL")])
def test_the_interface_of_the_gpu_is_told(bench: Bench, litert: bool, opengl: bool, interface: str) -> None:
    with bench.fake.faulty(litert=litert, opengl=opengl):
        said = bench(*WORDS, "--delegate", "gpu")
    assert said.code == 0, said.json["results"][0]["why_not"]
    assert said.json["results"][0]["delegates"][0].startswith(f"GPU through {interface}: completely")
    assert said.json["rounds"][0]["runs"]["a.tflite"]["gpu_interface"] == interface


def compared(bench: Bench, words: tuple[str, ...], then: dict[str, Any], now: dict[str, Any]) -> str:
    """Return what is said of two benches, with these faults, where the second is held to the first."""
    for faults, option in ((then, "--save-baseline"), (now, "--baseline")):
        with bench.fake.faulty(**faults):
            said = bench(*WORDS, *words, option, "base.json")
        assert said.code == 0, said.err
    [change] = said.json["baseline"]
    return f"{change['verdict']}: {change['why']}"


def test_figures_through_two_interfaces_are_not_compared(bench: Bench) -> None:
    words = ("--delegate", "gpu")
    assert compared(bench, words, {}, {"opengl": True}) == (
        "not-comparable: the GPU's interface was OpenCL and is OpenGL"
    )
    assert not compared(bench, words, {}, {}).startswith("not-comparable")


def test_figures_of_two_tools_are_not_compared(bench: Bench, tmp_path: Path) -> None:
    assert bench(*WORDS, "--save-baseline", "base.json").code == 0
    first = sha256_of(bench.program)
    bench.program = tmp_path / "benchmark_model"
    bench.program.write_bytes(fake_benchmark_model().read_bytes() + b"\n# another build\n")
    [change] = bench(*WORDS, "--baseline", "base.json").json["baseline"]
    assert change["verdict"] == "not-comparable"
    assert change["why"] == f"the tool's SHA-256 was {first[:12]} and is {sha256_of(bench.program)[:12]}"
    content = json.loads(Path("base.json").read_text())
    for entry in content["entries"]:
        del entry["tool"]  # of a time when none was kept
    Path("base.json").write_text(json.dumps(content))
    [change] = bench(*WORDS, "--baseline", "base.json").json["baseline"]
    assert change["verdict"] != "not-comparable"


def test_libraries_are_found_by_their_names(bench: Bench, tmp_path: Path) -> None:
    library = tmp_path / "lib $(x)'s.so"
    library.write_bytes(LIBRARY)
    bench.program = tmp_path / "tool"
    script = fake_benchmark_model().read_text().removeprefix("#!/bin/sh\n")
    bench.program.write_text(
        f"""#!/bin/sh\ncmp -s "$LD_LIBRARY_PATH/lib \\$(x)'s.so" {library.with_name("copy")} || exit 9\n{script}"""
    )
    library.with_name("copy").write_bytes(LIBRARY)
    said = bench(*WORDS, "--push-lib", library)
    assert said.code == 0, said.json["results"][0]["why_not"]
    digest = hashlib.sha256(LIBRARY).hexdigest()
    assert said.json["engine"]["libraries"] == {library.name: digest}
    assert bench(*WORDS).code == 1, "without, the tool does not find it"


@pytest.mark.parametrize(
    ("content", "words"),
    [(LIBRARY.replace(b"\xb7", b"\x3e"), "is for x86_64, and the device is arm64-v8a"), (b"x", "is not a program")],
)
def test_libraries_that_do_not_fit(bench: Bench, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "lib.so").write_bytes(content)
    said = bench(*WORDS, "--push-lib", "lib.so")
    assert said.code == 2 and words in said.err and "Give a library built for" in said.err


def test_libraries_need_a_tool(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "lib.so").write_bytes(LIBRARY)
    said = bench.run("bench", "a.tflite", "--push-lib", "lib.so")
    assert said.code == 2 and "--push-lib is for benchmark_model" in said.err


def fixed(fake: FakeDevice) -> str:
    path = fake.state / "fixed_performance"
    return path.read_text().strip() if path.exists() else "never set"


def test_performance_is_fixed_and_given_back(bench: Bench, tmp_path: Path) -> None:
    bench.program = tmp_path / "tool"
    script = fake_benchmark_model().read_text()
    bench.program.write_text(
        script.replace("#!/bin/sh\n", '#!/bin/sh\ncat "$FAKE_STATE/fixed_performance" >>"$FAKE_STATE/seen"\n', 1)
    )
    said = bench(*WORDS, "--save-baseline", "base.json")
    assert said.json["fixed_performance"] is True and fixed(bench.fake) == "false"
    assert set((bench.fake.state / "seen").read_text().split()) == {"true"}
    (bench.fake.state / "fixed_performance").unlink()
    said = bench(*WORDS, "--free-clocks", "--baseline", "base.json")
    assert said.json["fixed_performance"] is False and fixed(bench.fake) == "never set"
    assert said.json["baseline"][0]["why"] == "fixed-performance mode was on and is off"


def test_performance_is_given_back_where_a_bench_fails(bench: Bench) -> None:
    with bench.fake.faulty(kill_process=True):
        assert bench(*WORDS).code == 1
        assert fixed(bench.fake) == "false"


def test_a_phone_without_that_mode(bench: Bench) -> None:
    path = bench.fake.root / "system/bin/cmd"
    text = path.read_text()
    path.write_text("#!/bin/sh\necho 'Failed to set FIXED_PERFORMANCE mode' >&2; exit 255\n")
    try:
        said = bench(*WORDS)
    finally:
        path.write_text(text)
    assert said.code == 0 and said.json["fixed_performance"] is False


def test_a_dark_screen_is_noted(bench: Bench) -> None:
    assert bench(*WORDS).json["rounds"][0]["before"]["screen"] == "on"
    path = bench.fake.root / "system/etc/power.txt"
    text = path.read_text()
    path.write_text(text.replace("Awake", "Dozing"))
    try:
        said = bench(*WORDS)
    finally:
        path.write_text(text)
    assert said.json["notes"] == ["The screen was off in 6 of 6 rounds; some phones slow programs then. Keep it on."]
