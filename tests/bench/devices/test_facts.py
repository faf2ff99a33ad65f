"""What devices say of themselves, and what is made of it."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.devices.android_facts import READ_FACTS, READ_STATE, parse_cpu_list, parse_facts, parse_state
from mobilekit.bench.devices.base import Core, DeviceState

CPU = "/sys/devices/system/cpu"
PHONE = f"""ro.product.cpu.abi=arm64-v8a
ro.product.model=Ficus 9 Pro
ro.soc.manufacturer=Quince
ro.soc.model=QX9120
ro.board.platform=plum
ro.build.version.release=14
ro.build.fingerprint=grove/ficus9/ficus9:14/AB1C.240101.002/11223344:user/release-keys
ro.hardware=ficus
ro.kernel.qemu=
ro.boot.qemu=
{CPU}/present=0-3
{CPU}/cpu0/cpufreq/cpuinfo_max_freq=1804800
{CPU}/cpu1/cpufreq/cpuinfo_max_freq=1804800
{CPU}/cpu3/cpufreq/cpuinfo_max_freq=2995200
{CPU}/cpu0/cpufreq/scaling_governor=schedutil
{CPU}/cpu1/cpufreq/scaling_governor=schedutil
{CPU}/cpu3/cpufreq/scaling_governor=schedutil
machine=\ufffd
"""
THERMAL = (
    "section=thermal\nIsStatusOverride: false\nThermal Status: 2\nCached temperatures:\n\tTemperature{mValue=41.5}\n"
)
BATTERY = (
    "section=battery\nCurrent Battery Service state:\n  present: true\n  level: 61\n  scale: 100\n  temperature: 334\n"
)
FREQUENCIES = f"section=frequencies\n{CPU}/cpu0/cpufreq/scaling_cur_freq=576000\n"
CORES = (Core(0, 1804800), Core(1, 1804800), Core(2, None), Core(3, 2995200))


def test_a_phone() -> None:
    facts = parse_facts(PHONE, "R5X")
    assert facts.to_json() == {
        "name": "adb:R5X",
        "model": "Ficus 9 Pro",
        "abi": "arm64-v8a",
        "soc": "Quince QX9120",
        "os": "Android 14",
        "fingerprint": "grove/ficus9/ficus9:14/AB1C.240101.002/11223344:user/release-keys",
        "cores": [{"index": core.index, "max_khz": core.max_khz} for core in CORES],
        "governor": "schedutil",
        "emulated": False,
    }


def test_an_old_phone_names_only_its_board() -> None:
    answer = PHONE.replace("ro.soc.model=QX9120\n", "ro.soc.model=\n").replace("ro.soc.manufacturer=Quince\n", "")
    assert parse_facts(answer, "R5X").soc == "plum"


def test_clusters_with_different_governors() -> None:
    answer = PHONE.replace("cpu3/cpufreq/scaling_governor=schedutil", "cpu3/cpufreq/scaling_governor=performance")
    assert parse_facts(answer, "R5X").governor == "performance, schedutil"


def test_cores_without_a_list_of_those_present() -> None:
    assert parse_facts(PHONE.replace(f"{CPU}/present=0-3\n", ""), "R5X").cores == (CORES[0], CORES[1], CORES[3])


def test_a_device_that_says_nothing() -> None:
    facts = parse_facts("", "R5X")
    assert (facts.model, facts.abi, facts.soc, facts.os) == ("R5X", "unknown", None, "unknown")
    assert (facts.fingerprint, facts.cores, facts.governor, facts.emulated) == (None, (), None, False)
    assert parse_state("", CORES) == DeviceState(None, None, None, (None, None, None, None))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ro.kernel.qemu=", "ro.kernel.qemu=1"),
        ("ro.boot.qemu=", "ro.boot.qemu=1"),
        ("ro.hardware=ficus", "ro.hardware=ranchu"),
        ("ro.hardware=ficus", "ro.hardware=goldfish"),
        ("machine=\ufffd", "machine=>"),
        ("machine=\ufffd", "machine=\x03"),
        ("machine=\ufffd", "machine=\ufffd\nvendor=vendor_id\t: MadeUpIntel"),
        ("ro.product.cpu.abi=arm64-v8a", "ro.product.cpu.abi=x86_64"),
    ],
)
def test_translated_instructions_are_noticed(old: str, new: str) -> None:
    assert not parse_facts(PHONE, "R5X").emulated
    assert parse_facts(PHONE.replace(old, new), "R5X").emulated


def test_an_x86_tablet_is_not_emulated() -> None:
    answer = PHONE.replace("arm64-v8a", "x86_64").replace("machine=\ufffd", "machine=>\nvendor=vendor_id\t: MadeUp")
    assert not parse_facts(answer, "R5X").emulated


def test_a_32_bit_phone_is_not_emulated() -> None:
    assert not parse_facts(PHONE.replace("arm64-v8a", "armeabi-v7a").replace("\ufffd", "("), "R5X").emulated


def test_a_reading() -> None:
    state = parse_state(THERMAL + BATTERY + FREQUENCIES, CORES)
    assert state == DeviceState(2, 61, 33.4, (576000, None, None, None))


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (THERMAL + "section=battery\n" + FREQUENCIES, (2, None, None)),
        ("section=thermal\nCan't find service: thermalservice\n" + BATTERY + FREQUENCIES, (None, 61, 33.4)),
        (THERMAL + BATTERY.replace("scale: 100", "scale: 200").replace("61", "122"), (2, 61, 33.4)),
        (THERMAL + BATTERY.replace("334", "-35"), (2, 61, -3.5)),
        (THERMAL + BATTERY.replace("present: true", "present: false"), (2, None, None)),
        (THERMAL.replace("2\n", "none\n") + BATTERY.replace("61", "??"), (None, None, 33.4)),
    ],
)
def test_readings_that_lack_something(answer: str, expected: tuple[int | None, int | None, float | None]) -> None:
    state = parse_state(answer, CORES)
    assert (state.thermal_status, state.battery_percent, state.battery_celsius) == expected


def test_a_battery_s_other_figures_are_not_taken_for_these() -> None:
    """Android 16 has more lines that begin alike, and a log with temperatures of earlier."""
    more = (
        "  Capacity level: 3\n  mSavedBatteryMaxTemp: 412\n  mSavedBatteryMaxCurrent: 3000\n"
        "  log: 11-02 level:12, temperature:399 status 2\n"
    )
    state = parse_state(THERMAL + BATTERY.replace("  level", f"{more}  level") + more + FREQUENCIES, CORES)
    assert (state.battery_percent, state.battery_celsius) == (61, 33.4)


@pytest.mark.parametrize(
    "said", ["*** SERVICE 'thermalservice' DUMP TIMEOUT (10000ms) EXPIRED ***\n", "Permission Denial: can't dump\n"]
)
def test_a_service_that_does_not_answer_says_nothing(said: str) -> None:
    assert parse_state(f"section=thermal\n{said}" + BATTERY, CORES).thermal_status is None


@pytest.mark.parametrize(
    ("wakefulness", "screen"), [("Awake", "on"), ("Dreaming", "on"), ("Asleep", "off"), ("Dozing", "off"), ("?", None)]
)
def test_the_screen(wakefulness: str, screen: str | None) -> None:
    power = f"section=power\nmWakefulness={wakefulness}\n"
    assert parse_state(THERMAL + BATTERY + power + FREQUENCIES, CORES).screen == screen


@pytest.mark.parametrize(
    ("said", "abi", "system"),
    [
        ("machine-name=aarch64\nkernel=6.6.1\nmachine=\ufffd\n", "arm64-v8a", "Linux 6.6.1"),
        ("machine-name=aarch64\nkernel=6.6.1\nmachine=(\n", "armeabi-v7a", "Linux 6.6.1"),
        ("machine-name=armv7l\n", "armeabi-v7a", "unknown"),
        ("machine-name=riscv64\nkernel=6.6.1\n", "unknown", "Linux 6.6.1"),
        ("ro.product.cpu.abi=armeabi-v7a\nmachine-name=aarch64\nkernel=6.6.1\n", "armeabi-v7a", "Android"),
    ],
)
def test_a_board(said: str, abi: str, system: str) -> None:
    facts = parse_facts(f"board=Some Board\n{said}", "R5X")
    assert (facts.model, facts.abi, facts.os) == ("Some Board", abi, system)


def test_cores_that_are_off() -> None:
    online = parse_facts(PHONE + f"{CPU}/online=0,3\n", "R5X").cores
    assert [core.online for core in online] == [True, False, False, True]


@pytest.mark.parametrize(
    ("tenths", "celsius"), [(-2147483648, None), (2731, None), (-400, -40.0), (1001, None), (0, 0.0)]
)
def test_a_temperature_that_no_battery_has(tenths: int, celsius: float | None) -> None:
    answer = THERMAL + BATTERY.replace("temperature: 334", f"temperature: {tenths}") + FREQUENCIES
    assert parse_state(answer, CORES).battery_celsius == celsius


def test_a_status_that_nothing_measures() -> None:
    """Where the driver is missing, as on boards and emulators, it is 0 for ever, unless somebody set it."""
    idle = THERMAL.replace("Thermal Status: 2", "Thermal Status: 0") + "HAL Ready: false\n"
    assert parse_state(idle + BATTERY, CORES).thermal_status is None
    assert parse_state(THERMAL + "HAL Ready: true\n" + BATTERY, CORES).thermal_status == 2
    by_hand = THERMAL.replace("IsStatusOverride: false", "IsStatusOverride: true") + "HAL Ready: false\n"
    assert parse_state(by_hand + BATTERY, CORES).thermal_status == 2


@given(st.text())
def test_no_answer_is_an_error(answer: str) -> None:
    parse_facts(answer, "R5X")
    parse_state(answer, CORES)
    parse_cpu_list(answer.replace("-", ""))


def test_lists_of_processors() -> None:
    assert parse_cpu_list("0-3,6") == (0, 1, 2, 3, 6)
    assert parse_cpu_list("0") == (0,)
    assert parse_cpu_list("") == parse_cpu_list("none") == ()


def test_the_commands_run_where_no_tool_is_there() -> None:
    """This machine's shell has neither getprop nor dumpsys, and no other program: all is empty, nothing fails."""
    for command in (READ_FACTS, READ_STATE):
        done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, env={"PATH": "/nowhere"})
        assert done.stderr == b""
    facts = subprocess.run(["/bin/sh", "-c", READ_FACTS], capture_output=True, env={"PATH": "/nowhere"}).stdout
    assert parse_facts(facts.decode(errors="replace"), "R5X").model == "R5X"


def test_the_commands_read_this_machine() -> None:
    """On a machine that runs its own code, the shell's program is for the machine's own processor."""
    done = subprocess.run(["/bin/sh", "-c", READ_FACTS], capture_output=True)
    said = done.stdout.decode(errors="replace")
    machine = said.rsplit("machine=", 1)[1].rstrip("\n")[-1:]
    with open("/bin/sh", "rb") as file:  # noqa: PTH123 - the byte itself
        assert machine == file.read(19)[18:].decode(errors="replace")
