"""Which benchmark_model a bench takes, and which cores: on a device that is made up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mobilekit.bench.artifacts import find_artifacts
from mobilekit.bench.bench import ON_DEVICE, BenchRequest, bench
from mobilekit.bench.cores import big_cores
from mobilekit.bench.devices.base import Core, Device, DeviceFacts, DeviceState, Finished, Workspace
from mobilekit.bench.engine import EngineFacts, RunSettings
from mobilekit.errors import DeviceError, UsageError
from mobilekit.store.versions import tool_versions
from tests.bench.test_binary import ARM64, X86_64, Store, serve, write

PHONE = DeviceFacts(
    name="adb:1",
    model="Phone 5",
    abi="arm64-v8a",
    soc=None,
    os="Android 14",
    fingerprint=None,
    cores=(Core(0, 1_800_000), Core(1, 1_800_000), Core(2, 2_400_000), Core(3, 2_400_000)),
    governor=None,
    emulated=False,
)
PRINTED = """\
INFO: STARTING!
INFO: Graph: [{graph}]
INFO: count=3 first=1000 curr=1000 min=1000 max=1000 avg=1000 std=0
INFO: count=5 first=1000 curr=1010 min=990 max=1020 avg=1000 std=9

INFO: Inference timings in us: Init: 500, First inference: 1000, Warmup (avg): 1000, Inference (avg): 1000
"""


class Phone(Device, Workspace):
    """A device with some programs on it, which all behave as benchmark_model."""

    facts = PHONE

    def __init__(self, *programs: str, facts: DeviceFacts = PHONE, printed: str = PRINTED) -> None:
        self.programs = set(programs)
        self.facts = facts
        self.printed = printed
        self.installed: list[tuple[str, bool]] = []
        self.runs: list[tuple[list[str], str | None]] = []
        self.lost = False

    def read_state(self) -> DeviceState:
        return DeviceState(0, 80, 30.0, ())

    @contextmanager
    def open_workspace(self) -> Iterator[Workspace]:
        yield self

    def install(self, file: Path, executable: bool = False) -> str:
        self.installed.append((file.name, executable))
        return f"/store/{file.name}"

    def run(self, arguments: Sequence[str], *, cpu_mask: str | None = None, timeout: float = 600) -> Finished:
        if self.lost:
            raise DeviceError("adb:1 is gone.")
        if arguments[0] == "test":
            return Finished(0 if arguments[2] in self.programs else 1, "", "")
        if arguments[0] == "sha256sum":
            return Finished(0, f"{'d' * 64}  {arguments[1]}\n", "")
        if "--help=true" in arguments:
            return Finished(1, "", "usage: benchmark_model <flags>\nFlags:\n\t--use_xnnpack=true\tbool\toptional\n")
        self.runs.append((list(arguments), cpu_mask))
        graph = next(word for word in arguments if word.startswith("--graph=")).removeprefix("--graph=")
        return Finished(0, self.printed.format(graph=graph), "")

    def read(self, path: str) -> bytes:
        raise NotImplementedError


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    yield from serve(monkeypatch)


def request_of(tmp_path: Path, **changes: object) -> BenchRequest:
    path = write(tmp_path / "a.tflite", b"\x1c\0\0\0TFL3" + bytes(30))
    return replace(BenchRequest(tuple(find_artifacts([path])), rounds=1), **changes)  # type: ignore[arg-type]


def test_the_tool_on_the_phone_is_taken(tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE)
    result = bench(phone, request_of(tmp_path))
    assert result.engine == EngineFacts(
        name="benchmark_model",
        version=None,
        sha256="d" * 64,
        source="adb:1:/data/local/tmp/benchmark_model",
        kind="TensorFlow Lite",
    )
    assert phone.installed == [("a.tflite", False)]
    assert phone.runs[0][0][:2] == [ON_DEVICE, "--graph=/store/a.tflite"]
    assert result.results[0].raw_ms == (1.0,)
    assert result.results[0].statistic == "mean"


def test_a_file_is_taken_before_the_tool_on_the_phone(tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE)
    tool = write(tmp_path / "my_tool", ARM64)
    result = bench(phone, request_of(tmp_path, binary=str(tool)))
    assert phone.installed[0] == ("my_tool", True)
    assert phone.runs[0][0][0] == "/store/my_tool"
    assert result.engine.sha256 == hashlib.sha256(ARM64).hexdigest()


def test_a_tool_for_another_machine_is_refused_before_the_push(tmp_path: Path) -> None:
    phone = Phone()
    with pytest.raises(UsageError, match="is for x86_64, and the device is arm64-v8a"):
        bench(phone, request_of(tmp_path, binary=str(write(tmp_path / "tool", X86_64))))
    assert phone.installed == []


def test_a_phone_without_a_tool_gets_the_published_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEKIT_CACHE", str(tmp_path / "cache"))
    version = tool_versions()["ai-edge-litert"]
    store.files = {f"/{version}/android_arm64/benchmark_model": ARM64}
    phone = Phone()
    result = bench(phone, request_of(tmp_path))
    assert (result.engine.source or "").endswith(f"/{version}/android_arm64/benchmark_model")
    assert phone.installed[0] == (f"benchmark_model-{version}-android_arm64", True)


def test_a_version_is_downloaded_also_where_the_phone_has_a_tool(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEKIT_CACHE", str(tmp_path / "cache"))
    phone = Phone(ON_DEVICE)
    bench(phone, request_of(tmp_path, binary="2.1.0"))
    assert phone.installed[0] == ("benchmark_model-2.1.0-android_arm64", True)


def test_a_phone_that_is_lost_is_not_taken_for_one_without_a_tool(store: Store, tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE)
    phone.lost = True
    with pytest.raises(DeviceError, match=r"adb:1 is gone\."):
        bench(phone, request_of(tmp_path))
    assert store.asked == []


@pytest.mark.parametrize("word", ["benchmark_mdoel", "v3"])
def test_a_word_that_is_neither_file_nor_version(tmp_path: Path, word: str) -> None:
    with pytest.raises(UsageError, match=f"There is no benchmark_model {word}"):
        bench(Phone(), request_of(tmp_path, binary=word))


def test_a_path_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="gone/tool cannot be read: No such file"):
        bench(Phone(), request_of(tmp_path, binary="gone/tool"))


def test_an_inference_shorter_than_the_clock_tells_is_no_latency(tmp_path: Path) -> None:
    printed = PRINTED.replace("avg=1000 std=9", "avg=0.4 std=0 p5=0 median=0 p95=1")
    printed = printed.replace("first=1000 curr=1010 min=990 max=1020", "first=1 curr=0 min=0 max=1")
    printed = printed.replace("Inference (avg): 1000", "Inference (avg): 0.4")
    (result,) = bench(Phone(ON_DEVICE, printed=printed), request_of(tmp_path)).results
    assert result.accepted is False
    assert (result.why_not or "").startswith("An inference is shorter than benchmark_model's clock tells")


def test_runs_are_pinned_to_the_big_cores(tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE)
    result = bench(phone, request_of(tmp_path, big_cores=True))
    assert phone.runs[0][1] == "c"
    assert result.settings.cpu_mask == "c"


def test_a_mask_goes_to_the_device_as_it_is(tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE)
    bench(phone, request_of(tmp_path, settings=RunSettings(cpu_mask="5")))
    assert phone.runs[0][1] == "5"


@pytest.mark.parametrize(
    ("frequencies", "mask"),
    [([1, 1, 1, 1, 2, 2, 2, 2], "f0"), ([3, 1, 2], "1"), ([7, 7], "3"), ([1, 1, 1, 1, 2, 2, 2, 3], "80")],
)
def test_the_big_cores(frequencies: list[int | None], mask: str) -> None:
    assert big_cores([Core(index, khz) for index, khz in enumerate(frequencies)]) == mask


def test_cores_that_do_not_tell_their_frequencies(tmp_path: Path) -> None:
    phone = Phone(ON_DEVICE, facts=replace(PHONE, cores=(Core(0, None),)))
    with pytest.raises(UsageError, match="does not tell which of its cores are the big ones"):
        bench(phone, request_of(tmp_path, big_cores=True))
    assert phone.runs == []


def test_an_emulated_device_gets_two_rounds(tmp_path: Path) -> None:
    emulated = Phone(ON_DEVICE, facts=replace(PHONE, emulated=True))
    assert bench(emulated, request_of(tmp_path, rounds=None)).settings.rounds == 2
    assert bench(Phone(ON_DEVICE), request_of(tmp_path, rounds=None)).settings.rounds == 12


def test_a_tool_without_a_profiler_does_not_cost_the_latencies(digits_bundle: Path, tmp_path: Path) -> None:
    artifacts = tuple(find_artifacts([digits_bundle / "model.int8.tflite"]))
    phone = Phone(ON_DEVICE)
    result = bench(phone, request_of(tmp_path, artifacts=artifacts, profile=True))
    assert result.results[0].accepted is True
    assert result.profiles == {}
    assert result.notes == (
        f"No profile of {digits_bundle.name}/model.int8.tflite: "
        "benchmark_model printed no profile of model.int8.tflite.",
    )
