"""A small Android: the files and programs that a client of adb asks for.

The programs are shell scripts under /system/bin. What they say is data in this file, or in files of the device that
a test may change: /system/build.prop, /system/etc/battery.txt, /sys, /proc/cpuinfo, and /proc/self/exe, the program
of the shell.
"""

from __future__ import annotations

import shutil
from pathlib import Path

_MODEL = "Pinecone 8"
_LITTLE_KHZ, _BIG_KHZ, _PRIME_KHZ = 1_785_600, 2_496_000, 2_995_200
CORES_KHZ = (*[_LITTLE_KHZ] * 4, *[_BIG_KHZ] * 3, _PRIME_KHZ)
"""Of each core, its highest frequency."""
CORES_IDLE_KHZ = 614_400

PROPERTIES = {
    "ro.build.fingerprint": "acorn/pinecone/pinecone:14/UQ1A.240105.004/11206848:user/release-keys",
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.board.platform": "oak",
    "ro.hardware": "pinecone",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi",
    "ro.product.device": "pinecone",
    "ro.product.manufacturer": "Acorn",
    "ro.product.model": _MODEL,
    "ro.product.name": "pinecone",
    "ro.serialno": "FAKE0123456789",
    "ro.soc.manufacturer": "Acorn",
    "ro.soc.model": "Oak G3",
    "sys.boot_completed": "1",
}
BANNER = ";".join(f"{name}={PROPERTIES[name]}" for name in ("ro.product.name", "ro.product.model", "ro.product.device"))

_BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3264000
  status: 2
  health: 2
  present: true
  level: 81
  scale: 100
  voltage: 4187
  temperature: 274
  technology: Li-ion
"""

_POWER = """\
POWER MANAGER (dumpsys power)

Power Manager State:
  mDirty=0x0
  mWakefulness=Awake
  mWakefulnessChanging=false
Display Power: state=ON
"""

# Counts by appending a byte: readers that come at once cannot lose one.
_DUMPSYS = """\
#!/bin/sh
case $1 in
battery) cat "$FAKE_ROOT/system/etc/battery.txt" ;;
thermalservice)
    printf x >>"$FAKE_STATE/thermal"
    reading=$(wc -c <"$FAKE_STATE/thermal")
    set -- $FAKE_THERMAL
    while [ $# -gt 1 ] && [ "$reading" -gt 1 ]; do shift; reading=$((reading - 1)); done
    [ "$1" = none ] && { echo "Can't find service: thermalservice"; exit 0; }
    cat <<END
IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
	killed: false
	broadcasts count: -1
ThermalStatusListeners:
	callbacks: 3
	killed: false
	broadcasts count: -1
Thermal Status: $1
Cached temperatures:
	Temperature{mValue=38.1, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=31.4, mType=3, mName=skin, mStatus=$1}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=38.3, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=31.4, mType=3, mName=skin, mStatus=$1}
Current cooling devices from HAL:
	CoolingDevice{mValue=0, mType=2, mName=cpufreq-cpu0}
END
    ;;
power) cat "$FAKE_ROOT/system/etc/power.txt" ;;
*) echo "Can't find service: $1" ;;
esac
"""
_GETPROP = """\
#!/bin/sh
file=$FAKE_ROOT/system/build.prop
if [ $# -eq 0 ]; then sed 's/^\\([^=]*\\)=\\(.*\\)$/[\\1]: [\\2]/' "$file"; exit; fi
value=$(sed -n "s/^$1=//p" "$file")
echo "${value:-$2}"
"""
_DF = """\
#!/bin/sh
size=114302976
cat <<END
Filesystem      1K-blocks     Used Available Use% Mounted on
/dev/block/dm-5 $size $((size - FAKE_FREE_KIB)) $FAKE_FREE_KIB  $((100 * (size - FAKE_FREE_KIB) / size))% /data
END
"""
# The mask is checked against the device's cores; the host's may be fewer, so nothing is bound.
_TASKSET = f"""\
#!/bin/sh
[ "$1" = -p ] && {{ shift; only_set=1; }}
mask=$1
shift
case $mask in *[!0-9a-fA-F]* | '') echo "taskset: bad mask '$mask'" >&2; exit 1 ;; esac
if [ $((0x$mask & {(1 << len(CORES_KHZ)) - 1})) -eq 0 ]; then
    echo "taskset: failed to set pid $$'s affinity: Invalid argument" >&2
    exit 1
fi
[ -n "$only_set" ] && exit 0
exec "$@"
"""
_UNAME = """\
#!/bin/sh
case $1 in
-m) echo aarch64 ;;
-r) echo 6.1.43-android14-11 ;;
-a) echo "Linux localhost 6.1.43-android14-11 #1 SMP PREEMPT aarch64 Toybox" ;;
*) echo Linux ;;
esac
"""
_ID = """\
#!/bin/sh
[ "$1" = -u ] && { echo 2000; exit; }
echo "uid=2000(shell) gid=2000(shell) groups=2000(shell),1004(input),1007(log) context=u:r:shell:s0"
"""
_CMD = """\
#!/bin/sh
case "$1 $2" in
"power set-fixed-performance-mode-enabled") echo "$3" >"$FAKE_STATE/fixed_performance" ;;
*) echo "cmd: Can't find service: $1" >&2; exit 20 ;;
esac
"""
_NPROC = f"#!/bin/sh\necho {len(CORES_KHZ)}\n"
_PROGRAMS = {
    "cmd": _CMD,
    "df": _DF,
    "dumpsys": _DUMPSYS,
    "getprop": _GETPROP,
    "id": _ID,
    "nproc": _NPROC,
    "taskset": _TASKSET,
    "uname": _UNAME,
}


# The head of an ELF file: 64 bits, little-endian, an executable for AArch64 (0xB7).
_ARM_PROGRAM = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44)


def install(root: Path) -> None:
    """Make the device's files under `root`, which must be empty or missing."""
    for folder in ("data/local/tmp", "sdcard", "system/etc"):
        (root / folder).mkdir(parents=True)
    _write(root / "system/build.prop", "".join(f"{name}={value}\n" for name, value in PROPERTIES.items()))
    _write(root / "system/etc/battery.txt", _BATTERY)
    _write(root / "system/etc/power.txt", _POWER)
    _write(root / "sys/class/thermal/thermal_zone0/type", "cpu-0-0\n")
    _write(root / "sys/class/thermal/thermal_zone0/temp", "38100\n")
    _install_cores(root)
    for name, text in _PROGRAMS.items():
        _write(root / "system/bin" / name, text)
        (root / "system/bin" / name).chmod(0o755)
    (root / "system/bin/sh").symlink_to("/bin/sh")
    (root / "proc/self").mkdir()
    (root / "proc/self/exe").write_bytes(_ARM_PROGRAM)


def environment(root: Path, state: Path) -> dict[str, str]:
    """Return the environment of the device's processes.

    Args:
        root: The device's files.
        state: A folder where programs count how often they ran.
    """
    host = {str(Path(found).parent) for name in ("awk", "cat", "sha256sum") if (found := shutil.which(name))}
    return {
        "PATH": ":".join([f"{root}/system/bin", *sorted(host), "/usr/bin", "/bin"]),
        "HOME": str(root),
        "LC_ALL": "C",
        "TMPDIR": f"{root}/data/local/tmp",
        "FAKE_ROOT": str(root),
        "FAKE_STATE": str(state),
    }


def _install_cores(root: Path) -> None:
    folder = root / "sys/devices/system/cpu"
    last = len(CORES_KHZ) - 1
    for name in ("possible", "present", "online"):
        _write(folder / name, f"0-{last}\n")
    for index, highest in enumerate(CORES_KHZ):
        frequencies = folder / f"cpu{index}/cpufreq"
        _write(frequencies / "cpuinfo_max_freq", f"{highest}\n")
        _write(frequencies / "cpuinfo_min_freq", f"{CORES_IDLE_KHZ}\n")
        _write(frequencies / "scaling_cur_freq", f"{CORES_IDLE_KHZ}\n")
        _write(frequencies / "scaling_max_freq", f"{highest}\n")
        _write(frequencies / "scaling_governor", "schedutil\n")
    core = "BogoMIPS\t: 49.15\nFeatures\t: fp asimd fphp asimdhp asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd46\n"
    _write(root / "proc/cpuinfo", "\n".join(f"processor\t: {i}\n{core}" for i in range(last + 1)) + "\n")
    _write(
        root / "proc/meminfo", "MemTotal:        7813512 kB\nMemFree:         1530284 kB\nMemAvailable:    4211880 kB\n"
    )
    _write(root / "proc/version", "Linux version 6.1.43-android14-11 (build@host) #1 SMP PREEMPT\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
