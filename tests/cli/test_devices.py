"""`mobilekit devices` and `mobilekit doctor`: what is there, what is not, and what then helps."""

from __future__ import annotations

import platform
import re
import shutil
import socket
import subprocess
import sys
import zipfile
from collections import namedtuple
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from mobilekit.convert import installed
from mobilekit.jobs import doctor
from tests.bench_cli import Bench, Said
from tests.conftest import ROOT
from tests.fake_device import FakeDevice

NOWHERE = "127.0.0.2:9"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeDevice]:
    with FakeDevice(tmp_path_factory.mktemp("device") / "root") as fake:
        yield fake


@pytest.fixture
def bench(
    fake: FakeDevice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Bench:
    return Bench(fake, tmp_path, monkeypatch, capsys)


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """Lead adb's clients to where no server is, and none is started."""
    monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:{NOWHERE}")


@pytest.fixture
def no_adb(monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path) -> None:
    """Hide every program, and the adb that comes with adbutils; no server runs."""
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.delenv("ADBUTILS_ADB_PATH", raising=False)
    monkeypatch.setattr("adbutils._utils._get_bin_dir", lambda: str(tmp_path / "nothing"))
    with socket.create_server(("127.0.0.1", 0)) as listener:  # a port that is free when it is closed
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(listener.getsockname()[1]))


# devices


def test_devices(bench: Bench) -> None:
    said = bench.run("devices", "--json")
    assert said.code == 0 and said.err == ""
    local = said.json["local"]
    assert local["name"] == "local" and local["os"].startswith(platform.system())
    assert said.json["adb"] == [
        {
            "serial": bench.fake.serial,
            "state": "device",
            "description": "Pinecone 8",
            "message": None,
            "hint": "",
            "ready": True,
        }
    ]
    shown = bench.run("devices")
    assert shown.code == 0 and re.search(rf"^adb:{bench.fake.serial} +Pinecone 8 +ready", shown.out, re.MULTILINE)
    assert bench.fake.commands == [], "the list asks nothing of a device"


@pytest.mark.parametrize(
    ("fault", "message", "hint"),
    [
        ("unauthorized", "has not allowed this computer to debug it.", "Allow USB debugging"),
        ("offline", "is offline: it is connected but does not answer.", "adb reconnect offline"),
    ],
)
def test_devices_that_are_not_ready(bench: Bench, fault: str, message: str, hint: str) -> None:
    with bench.fake.faulty(**{fault: True}):
        said, shown = bench.run("devices", "--json"), bench.run("devices")
    [entry] = said.json["adb"]
    assert said.code == 0 and (entry["state"], entry["ready"]) == (fault, False)
    assert entry["message"] == f"{bench.fake.serial} {message}" and hint in entry["hint"]
    assert shown.code == 0 and f"{bench.fake.serial} {message}" in shown.out and hint in shown.out


def test_devices_of_another_server(bench: Bench, no_server: None) -> None:
    said = bench.run("devices", "--json", "--adb-server", bench.fake.server)
    assert [entry["serial"] for entry in said.json["adb"]] == [bench.fake.serial]
    said = bench.run("devices", "--json", "--adb-server", NOWHERE)
    assert said.code == 3 and said.out == "" and f"No adb server answers at {NOWHERE}" in said.err


def test_without_a_server_this_machine_is_still_a_device(bench: Bench, no_server: None) -> None:
    said = bench.run("devices", "--json")
    assert said.code == 0 and said.json["adb"] == [] and said.json["local"]["name"] == "local"
    assert f"warning: No adb server answers at {NOWHERE}" in said.err


def test_without_adb_this_machine_is_still_a_device(bench: Bench, no_adb: None) -> None:
    said = bench.run("devices", "--json")
    assert said.code == 0 and said.json["adb"] == []
    assert "warning: There is no adb program.\nInstall Android's platform tools, or adbutils." in said.err
    said = bench.run("bench", "a.tflite", "--device", "adb", "--json")
    assert said.code == 3 and said.out == "" and "error: There is no adb program." in said.err


# doctor


def examine(bench: Bench) -> tuple[Said, dict[str, Any]]:
    """Run the doctor, and return what it said and its checks by name."""
    said = bench.run("doctor", "--json")
    checks = {check["name"]: check for check in said.json["checks"]}
    bad = [check for check in checks.values() if check["needed"] and check["state"] != "ok"]
    assert said.code == bool(bad) and said.json["verdict"] == ("fail" if bad else "pass")
    for check in checks.values():
        assert (check["cost"] != "" and check["fix"] != "") == (check["state"] != "ok"), check
    return said, checks


def test_doctor(bench: Bench) -> None:
    said, checks = examine(bench)
    assert said.code == 0, "this environment is the one that the lock says"
    assert checks["Python"]["found"] == platform.python_version()
    assert {"torch", "tensorflow", "onnx2tf", "ai-edge-litert"} <= set(checks)
    assert checks["torch"]["found"] == metadata.version("torch")
    assert checks["adb server"]["found"] == f"{bench.fake.serial} (ready)"
    assert "disk of the cache" in checks and "disk of this folder" in checks
    shown = bench.run("doctor")
    assert shown.code == 0 and re.search(r"^Python +ok +3\.1[123]", shown.out, re.MULTILINE)


def test_doctor_without_adb(bench: Bench, no_adb: None) -> None:
    said, checks = examine(bench)
    assert said.code == 1
    assert checks["adb"]["state"] == "missing" and checks["adb"]["cost"] == "no phone can be reached"
    assert checks["adb"]["fix"] == "pip install --force-reinstall adbutils"
    assert checks["adb server"]["state"] == "missing" and "no adb program" in checks["adb server"]["found"]
    for name in ("benchmark_model", "qemu-aarch64"):
        assert checks[name]["state"] == "missing" and not checks[name]["needed"]
    shown = bench.run("doctor")
    assert shown.code == 1
    line = "adb: no phone can be reached. Fix: pip install --force-reinstall adbutils"
    assert line in shown.out.splitlines()


def test_doctor_with_an_adb_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/nowhere/adb")
    assert examine(bench)[1]["adb"]["state"] == "missing"


@pytest.mark.parametrize("address", [f"tcp:{NOWHERE}", "local:adb"])
def test_doctor_without_a_server(bench: Bench, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("ADB_SERVER_SOCKET", address)
    said, checks = examine(bench)
    assert said.code == 0, "all but phones can be used"
    assert checks["adb server"]["state"] == "missing" and not checks["adb server"]["needed"]
    assert checks["adb server"]["cost"] == "no phone can be reached"


def test_doctor_with_other_versions(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name == "onnxsim":
            raise metadata.PackageNotFoundError(name)
        return "1.0.0" if name == "numpy" else there(name)

    monkeypatch.setattr(metadata, "version", version)
    said, checks = examine(bench)
    assert said.code == 1
    locked = doctor.locked_versions()
    numpy, onnxsim = checks["numpy"], checks["onnxsim"]
    assert (numpy["state"], numpy["found"]) == ("differs", "1.0.0")
    assert numpy["cost"].startswith(f"older than the tested {locked['numpy']}: ")
    assert numpy["fix"] == f"pip install 'numpy=={locked['numpy']}'" and locked["numpy"] in numpy["cost"]
    assert (onnxsim["state"], onnxsim["fix"]) == ("missing", f"pip install 'onnxsim=={locked['onnxsim']}'")
    assert all(check["state"] == "ok" for check in checks.values() if check["needed"] and check not in (numpy, onnxsim))


def test_doctor_with_another_python(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PYTHONS", ((3, 99),))
    said, checks = examine(bench)
    assert said.code == 0, "what was exported elsewhere can be used"
    assert checks["Python"]["state"] == "differs" and checks["Python"]["fix"] == "install Python 3.99"


def test_doctor_without_converters(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    there = metadata.version

    def version(name: str) -> str:
        if name.removesuffix("-cpu") in installed.CONVERTERS:
            raise metadata.PackageNotFoundError(name)
        return there(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", lambda _name: ["numpy>=1", "onnx2tf>=1; extra == 'convert'"])
    said, checks = examine(bench)
    assert said.code == 0, "what was exported elsewhere can be used"
    assert (checks["converters"]["state"], checks["converters"]["needed"]) == ("missing", False)
    assert checks["converters"]["fix"] == "In mobilekit's folder: pip install '.[convert]', or make setup"
    assert "numpy" in checks and "onnx2tf" not in checks


def test_doctor_without_what_sweeps_need(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _name: ["numpy>=1", "no-such-dask; extra == 'sweep'"])
    said, checks = examine(bench)
    assert said.code == 0, "all but sweeps can be used"
    assert (checks["sweeps"]["state"], checks["sweeps"]["needed"]) == ("missing", False)
    assert checks["sweeps"]["fix"] == "pip install '.[sweep]' in mobilekit's folder"
    monkeypatch.setattr(metadata, "requires", lambda _name: ["numpy>=1", "filelock>=3; extra == 'sweep'"])
    assert "sweeps" not in examine(bench)[1] and examine(bench)[1]["filelock"]["state"] == "ok"


def test_doctor_where_mobilekit_is_not_installed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def requires(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", requires)
    said, checks = examine(bench)
    assert said.code == 1 and checks["mobilekit"]["state"] == "missing"


def test_doctor_on_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**12, 10**12 - 10**8, 10**8))
    said, checks = examine(bench)
    assert said.code == 0
    for name in ("disk of the cache", "disk of this folder"):
        assert checks[name]["state"] == "missing" and "0.1 GB free at" in checks[name]["found"]
        assert "MOBILEKIT_CACHE" in checks[name]["fix"]


def test_the_wheel_carries_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    folder = tmp_path / "site" / "mobilekit"
    pins = sorted((ROOT / "constraints").iterdir())
    assert [(folder / "constraints" / path.name).read_bytes() for path in pins] == [path.read_bytes() for path in pins]
    here = doctor.locked_versions()
    monkeypatch.setattr(doctor, "__file__", str(folder / "jobs" / "doctor.py"))
    assert doctor.locked_versions() == here and here["torch"] == "2.13.0"
