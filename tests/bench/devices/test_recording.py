"""A recorded session repeats itself without a device, and says where another one differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.devices.android import AdbDevice
from mobilekit.bench.devices.base import DeviceFacts, DeviceState, Finished
from mobilekit.bench.devices.names import Names, Session, safe_name, unique_safe_name
from mobilekit.bench.devices.recording import RecordingConnection, ReplayConnection, recordings
from mobilekit.bench.devices.select import find_devices
from mobilekit.errors import DeviceError, UsageError
from tests.bench.devices.test_workspace import HostConnection

SESSION = Session("another seed", "0123abcd")
Seen = tuple[DeviceFacts, DeviceState, Finished, bytes, str, str]


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def host(tmp_path: Path) -> HostConnection:
    root = tmp_path / "device"
    root.mkdir()
    return HostConnection(root)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"weights")
    return path


def _bench(device: AdbDevice, model: Path) -> Seen:
    facts, state = device.facts, device.read_state()
    with device.open_workspace() as workspace:
        path = workspace.install(model)
        done = workspace.run(["sh", "-c", "date +%s%N; printf 'a\\377b' >out; echo é >&2; exit 3", path])
        content = workspace.read("out")
        with pytest.raises(DeviceError) as missing:
            workspace.read("none")
        with pytest.raises(DeviceError) as slow:
            workspace.run(["sleep", "5"], timeout=0.2)
    return facts, state, done, content, str(missing.value), str(slow.value)


@pytest.fixture
def recorded(host: HostConnection, model: Path, tmp_path: Path) -> tuple[Path, Seen]:
    folder = tmp_path / "recordings"
    device = AdbDevice(RecordingConnection(host, SESSION, folder), SESSION, lock="SERIAL")
    return folder, _bench(device, model)


def _file(folder: Path) -> Path:
    return folder / "SERIAL" / "conversation.jsonl"


def test_a_replay_is_the_same_session(recorded: tuple[Path, Seen], model: Path) -> None:
    folder, seen = recorded
    (device,) = find_devices(f"replay:{folder}").devices
    assert isinstance(device, AdbDevice)
    assert _bench(device, model) == seen
    assert seen[2].exit_code == 3 and seen[3] == b"a\xffb"
    (device,) = find_devices(f"replay:{folder / 'SERIAL'}").devices
    assert device.facts == seen[0]


def test_the_header_says_what_it_is(recorded: tuple[Path, Seen]) -> None:
    header = json.loads(_file(recorded[0]).read_text().splitlines()[0])
    assert header == {
        "format": 2,
        "mobilekit": header["mobilekit"],
        "serial": "SERIAL",
        "features": ["shell_v2"],
        "seed": "another seed",
        "owner": "0123abcd",
        "who": "",
    }


def test_another_file_is_not_answered(recorded: tuple[Path, Seen], model: Path) -> None:
    model.write_bytes(b"other weights")
    (device,) = find_devices(f"replay:{recorded[0]}").devices
    assert isinstance(device, AdbDevice)
    with pytest.raises(DeviceError, match=r"has no answer: line 6 has command .* asked was ") as caught:
        _bench(device, model)
    assert "the same files and settings" in caught.value.hint


def test_another_push_is_not_answered(recorded: tuple[Path, Seen], model: Path) -> None:
    replay = ReplayConnection(_file(recorded[0]))
    lines = [json.loads(line) for line in _file(recorded[0]).read_text().splitlines()]
    place = next(index for index, line in enumerate(lines) if line.get("question", {}).get("do") == "push")
    replay._place = place - 1
    model.write_bytes(b"WEIGHTS")
    with pytest.raises(DeviceError, match=rf"line {place + 1} has sha256 '[0-9a-f]+…', asked was '[0-9a-f]+…'"):
        replay.push(model, lines[place]["question"]["target"])


def test_more_than_was_recorded_is_not_answered(recorded: tuple[Path, Seen], model: Path) -> None:
    (device,) = find_devices(f"replay:{recorded[0]}").devices
    assert isinstance(device, AdbDevice)
    _bench(device, model)
    with pytest.raises(DeviceError, match="ends before this: shell 'echo \"section=thermal"):
        device.read_state()


def test_what_an_interruption_leaves_is_whole(host: HostConnection, model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    device = AdbDevice(RecordingConnection(host, SESSION, folder), SESSION, lock=None)
    host.fault = {"push": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        _bench(device, model)
    (replay,) = find_devices(f"replay:{folder}").devices
    assert isinstance(replay, AdbDevice)
    with pytest.raises(DeviceError, match="The recording was interrupted here"):
        _bench(replay, model)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "cut off or damaged in line 1"),
        ('{"format": 2, "serial"', "cut off or damaged in line 1"),
        ("[]\n", "no recording that this version"),
        ('{"format": 3}\n', "no recording that this version"),
        ('{"format": 2}\n', "is damaged in line [12]"),
        ('{"format": 2, "serial": "S", "features": [], "seed": "", "owner": ""}\n7\n', "is damaged in line [12]"),
        ('{"format": 2, "serial": null, "features": [], "seed": "", "owner": ""}\n', "is damaged in line [12]"),
        ('{"format": 2, "serial": "S", "features": 7, "seed": "", "owner": ""}\n', "is damaged in line [12]"),
        ("[" * 100_000, "cut off or damaged in line 1"),
    ],
)
def test_half_a_recording_says_so(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "conversation.jsonl").write_text(content)
    with pytest.raises(DeviceError, match=words):
        find_devices(f"replay:{tmp_path}")


def test_a_recording_cut_in_a_line(recorded: tuple[Path, Seen]) -> None:
    path = _file(recorded[0])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines)[:-5])
    with pytest.raises(DeviceError, match=f"cut off or damaged in line {len(lines)}"):
        ReplayConnection(path)


def test_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no recording in"):
        recordings(tmp_path / "none")


def test_a_recording_is_not_written_over(recorded: tuple[Path, Seen], host: HostConnection) -> None:
    before = _file(recorded[0]).read_bytes()
    with pytest.raises(UsageError, match="There is a recording at"):
        RecordingConnection(host, SESSION, recorded[0])
    assert _file(recorded[0]).read_bytes() == before


def test_names_come_from_the_seed() -> None:
    first, again, other = Names("a"), Names("a"), Names("b")
    names = [first.fresh() for _ in range(100)]
    assert names == [again.fresh() for _ in range(100)]
    assert len({*names, *(other.fresh() for _ in range(100))}) == 200
    assert Session.new().seed != Session.new().seed
    assert Session.new().owner == Session.new().owner


def test_safe_names() -> None:
    assert safe_name("a b/../$(x).tflite") == "a_b_..___x_.tflite"
    assert safe_name("") == safe_name("...") == "_"
    assert safe_name("-" + "x" * 200 + ".tflite") == "x" * 73 + ".tflite"
    assert unique_safe_name("R5X") == "R5X"
    assert unique_safe_name("10.0.0.7:5555") != unique_safe_name("10.0.0.7/5555")


@pytest.mark.parametrize(
    "exchange",
    [
        {"question": "shell"},
        {"question": {"do": "shell", "command": "id"}, "answer": {"exit_code": 0, "stdout": ""}},
        {"question": {"do": "shell", "command": "id"}, "answer": {"exit_code": None, "stdout": "", "stderr": ""}},
        {"question": {"do": "shell", "command": "id"}, "answer": "text"},
        {"question": {"do": "shell", "command": "id"}, "answer": {"exit_code": "0", "stdout": "", "stderr": ""}},
        {"question": {"do": "shell", "command": "id"}, "answer": {"exit_code": 0, "stdout": 1, "stderr": ""}},
        {"question": {"do": "shell", "command": "id"}},
        {"question": {"do": "shell", "command": "id"}, "error": "gone"},
        {"question": {"do": "pull", "path": "id"}, "answer": {"exit_code": 0, "stdout": "", "stderr": ""}},
        {"question": {"do": "pull", "path": "id"}, "answer": "=base64="},
    ],
    ids=str,
)
def test_an_exchange_that_is_none_is_damage(tmp_path: Path, exchange: dict[str, Any]) -> None:
    header = {"format": 2, "serial": "S", "features": [], "seed": "", "owner": ""}
    path = tmp_path / "conversation.jsonl"
    path.write_text(f"{json.dumps(header)}\n{json.dumps(exchange)}\n")
    with pytest.raises(DeviceError, match=r"is damaged in line 2\.") as caught:
        connection = ReplayConnection(path)
        connection.shell("id", 1) if "pull" not in str(exchange) else connection.pull("id")
    assert "--record" in caught.value.hint
