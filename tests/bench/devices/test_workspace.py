"""Work on a device: real shell commands run by this machine's shell in place of the device's, faults included."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mobilekit.bench.devices.android import AdbDevice
from mobilekit.bench.devices.base import Finished, Workspace
from mobilekit.bench.devices.connection import Connection, DeviceTimeout
from mobilekit.bench.devices.names import Names, Session
from mobilekit.bench.devices.shell import DeviceShell
from mobilekit.bench.devices.store import (
    LIMIT_BYTES,
    LIMIT_SECONDS,
    ROOT,
    STORE,
    Entry,
    entries_to_evict,
    parse_entries,
    parse_free,
)
from mobilekit.bench.devices.workspace import AndroidWorkspace, leftovers
from mobilekit.errors import DeviceError, UsageError

SESSION = Session("seed", "0123abcd")
LOST = DeviceError("gone", "")


class HostConnection(Connection):
    """A device whose /data/local/tmp is a folder here, and whose shell is this machine's."""

    def __init__(self, root: Path, path: str = os.environ["PATH"]) -> None:
        self.serial = "SERIAL"
        self.features = frozenset({"shell_v2"})
        self.root = root
        self.path = path
        self.commands: list[str] = []
        self.pushed: list[str] = []
        self.fault: dict[str, BaseException] = {}
        """What happens instead of a command or push that has this text in it."""

    def shell(self, command: str, timeout: float) -> Finished:
        self.commands.append(command)
        self._fail(command)
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", self.here(command)],
                capture_output=True,
                timeout=timeout,
                env={"PATH": self.path},
                cwd="/",
            )
        except subprocess.TimeoutExpired as error:
            raise DeviceTimeout("slow", "") from error
        return Finished(done.returncode, self.there(done.stdout.decode()), self.there(done.stderr.decode()))

    def push(self, source: Path, target: str) -> None:
        self.pushed.append(source.name)
        shutil.copyfile(source, self.here(target))
        self._fail(f"push {source.name}")

    def pull(self, path: str) -> bytes:
        try:
            return Path(self.here(path)).read_bytes()
        except OSError as error:
            raise DeviceError(f"{path}: {error.strerror}") from error

    def wait(self, seconds: float) -> None:
        self.fault = {}

    def here(self, text: str) -> str:
        return text.replace(ROOT, str(self.root))

    def there(self, text: str) -> str:
        return text.replace(str(self.root), ROOT)

    def files(self) -> list[str]:
        """Return the files but for those of the lock."""
        files = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
        return sorted(str(path) for path in files if path.parts[0] != "mobilekit-lock")

    def _fail(self, text: str) -> None:
        for part, error in self.fault.items():
            if part in text:
                raise error


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def host(tmp_path: Path) -> HostConnection:
    root = tmp_path / "device"
    root.mkdir()
    return HostConnection(root)


@pytest.fixture
def device(host: HostConnection) -> AdbDevice:
    return AdbDevice(host, SESSION, lock="SERIAL")


@pytest.fixture
def workspace(device: AdbDevice) -> Iterator[Workspace]:
    with device.open_workspace() as workspace:
        yield workspace


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model's.tflite"
    path.write_bytes(bytes(range(256)) * 400)
    return path


def test_the_folder_is_private_and_goes(device: AdbDevice, host: HostConnection) -> None:
    with device.open_workspace() as workspace:
        folder = host.here(workspace.run(["pwd"]).stdout.strip())
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
        assert Path(folder).name.startswith("mobilekit-0123abcd-")
    assert [path.name for path in host.root.iterdir()] == ["mobilekit-store"]


def test_exit_status_and_outputs_stay_apart(workspace: Workspace) -> None:
    assert workspace.run(["sh", "-c", "echo out; echo err >&2; exit 7"]) == Finished(7, "out\n", "err\n")
    assert workspace.run(["printf", "no newline"]) == Finished(0, "no newline", "")
    assert workspace.run(["/nothing/here"]).exit_code == 127
    assert workspace.run(["sh", "-c", "kill -SEGV $$"]).exit_code == 139


def test_nothing_is_read_from_standard_input(workspace: Workspace) -> None:
    assert workspace.run(["cat"], timeout=5) == Finished(0, "", "")


@pytest.mark.parametrize("program", ["A=b", "if", "!", "my program; exit 3", "-x"])
def test_a_program_may_have_any_name(workspace: Workspace, host: HostConnection, program: str) -> None:
    path = Path(host.here(workspace.run(["pwd"]).stdout.strip())) / program
    path.write_text('#!/bin/sh\necho "$0 $1"\n')
    path.chmod(0o755)
    assert workspace.run([f"./{program}", "$HOME"]).stdout == f"./{program} $HOME\n"


def test_a_word_of_the_shell_is_no_program(workspace: Workspace) -> None:
    assert workspace.run(["A=b"]).exit_code == 127
    assert workspace.run(["if"]).exit_code == 127


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12), max_size=4))
def test_arguments_arrive_as_they_are(arguments: list[str]) -> None:
    shell = DeviceShell(HostConnection(Path("/nowhere")), Names("x"))
    workspace = AndroidWorkspace(HostConnection(Path("/nowhere")), shell, "/")
    done = workspace.run(["/usr/bin/env", "printf", "%s\\0", "first", *arguments])
    assert done.stdout.split("\0")[:-1] == ["first", *arguments]


def test_cores_are_chosen_with_taskset(workspace: Workspace) -> None:
    assert "0x1\n" in workspace.run(["sh", "-c", "taskset -p $$ | sed 's/.*: /0x/'"], cpu_mask="1").stdout
    with pytest.raises(UsageError, match="no mask of cores"):
        workspace.run(["true"], cpu_mask="1; reboot")


def test_a_device_without_taskset_says_so(host: HostConnection, tmp_path: Path) -> None:
    host.path = _tools(tmp_path, "mkdir", "rm", "ls", "date", "stat")
    device = AdbDevice(host, SESSION, lock=None)
    with device.open_workspace() as workspace, pytest.raises(DeviceError, match="no taskset"):
        workspace.run(["true"], cpu_mask="f0")


def test_a_file_is_sent_once(device: AdbDevice, host: HostConnection, model: Path) -> None:
    for _ in range(2):
        with device.open_workspace() as workspace:
            path = workspace.install(model)
            assert workspace.read(path) == model.read_bytes()
            assert path.startswith(f"{STORE}/") and path.endswith("-my_model_s.tflite")
            assert workspace.install(model) == path
    assert host.pushed == [model.name]


def test_a_changed_file_is_sent_again(workspace: Workspace, host: HostConnection, model: Path) -> None:
    path = Path(host.here(workspace.install(model)))
    path.write_bytes(bytes(len(model.read_bytes())))
    assert workspace.read(workspace.install(model)) == model.read_bytes()
    model.write_bytes(b"another model")
    assert workspace.read(workspace.install(model)) == b"another model"
    assert len(host.pushed) == 3


def test_a_stamp_spares_the_digest_until_the_file_changes(
    workspace: Workspace, host: HostConnection, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = Path(host.here(workspace.install(model)))
    assert not list(path.parent.glob("stamp-*"))  # it has just changed: a stamp would not tell a change from now on
    host.path = f"{_settable_stat(tmp_path)}:{host.path}"
    os.utime(path, (time.time() - 10,) * 2)
    workspace.install(model)
    (stamp,) = path.parent.glob("stamp-*")
    tools = _tools(tmp_path, "df", "chmod", "mv", "date", "rm", "ls", "tr")  # no sha256sum
    host.path = f"{tmp_path / 'settable'}:{tools}"
    os.utime(stamp, (1, 1))
    workspace.install(model)
    assert stamp.stat().st_mtime > time.time() - 60
    assert host.pushed == [model.name]
    path.write_bytes(bytes(len(model.read_bytes())))
    workspace.install(model)
    assert host.pushed == [model.name] * 2
    assert path.read_bytes() == model.read_bytes()


def test_a_device_without_tools_is_served(host: HostConnection, model: Path, tmp_path: Path) -> None:
    host.path = _tools(tmp_path, "mkdir", "rm", "mv", "chmod")
    with AdbDevice(host, SESSION, lock=None).open_workspace() as workspace:
        assert workspace.read(workspace.install(model)) == model.read_bytes()
        workspace.install(model)
    assert len(host.pushed) == 2
    assert [path.name for path in host.root.iterdir()] == ["mobilekit-store"]


def test_programs_may_be_executed(workspace: Workspace, tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho ran\n")
    assert workspace.run([workspace.install(program)]).exit_code == 126
    assert workspace.run([workspace.install(program, executable=True)]).stdout == "ran\n"


def test_a_file_that_arrives_changed_is_refused(
    workspace: Workspace, host: HostConnection, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "push", lambda source, target: Path(host.here(target)).write_bytes(b"half"))
    with pytest.raises(DeviceError, match="it arrived changed"):
        workspace.install(model)
    assert host.files() == []


@pytest.mark.parametrize("error", [DeviceError("no space", ""), KeyboardInterrupt()])
def test_no_part_stays_of_an_interrupted_transfer(
    workspace: Workspace, host: HostConnection, model: Path, error: BaseException
) -> None:
    host.fault = {"push": error}
    with pytest.raises(type(error)):
        workspace.install(model)
    assert host.files() == []
    host.fault = {}
    assert workspace.read(workspace.install(model)) == model.read_bytes()


def test_a_full_device_says_so_before_anything_is_sent(
    device: AdbDevice, host: HostConnection, model: Path, tmp_path: Path
) -> None:
    tools = _tools(tmp_path, "mkdir", "rm", "ls", "date", "stat", "sha256sum")
    df = Path(tools) / "df"
    df.write_text(
        "#!/bin/sh\necho 'Filesystem 1K-blocks Used Available Use% Mounted on'\necho '/dev/x 90 80 10 88% /'\n"
    )
    df.chmod(0o755)
    host.path = tools
    with device.open_workspace() as workspace, pytest.raises(DeviceError, match=r"0 MB left in .*my model's.tflite"):
        workspace.install(model)
    assert host.pushed == []


def test_a_missing_file_is_the_callers_fault(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        workspace.install(tmp_path / "none.tflite")


def test_what_takes_too_long_is_killed(workspace: Workspace) -> None:
    with pytest.raises(DeviceError, match=r"sh did not end within 0.5 s on SERIAL; it was killed"):
        workspace.run(["sh", "-c", "sleep 4321 & sleep 4321"], timeout=0.5)
    assert _ends("sleep 4321")


def test_ctrl_c_kills_the_program(workspace: Workspace, host: HostConnection) -> None:
    pwd = host.here(workspace.run(["pwd"]).stdout.strip())
    program = subprocess.Popen(["sleep", "4322"], cwd=pwd)
    host.fault = {"exec true": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        workspace.run(["true"])
    assert program.wait(5) == -9


def test_closing_kills_what_still_runs_there_and_nothing_else(
    device: AdbDevice, host: HostConnection, tmp_path: Path
) -> None:
    elsewhere = subprocess.Popen(["sleep", "4323"], cwd=tmp_path)
    with device.open_workspace() as workspace:
        workspace.run(["sh", "-c", "mkdir deep; cd deep; sleep 4324 >/dev/null 2>&1 &"])
        assert _running("sleep 4324") == 1
    assert _ends("sleep 4324")
    assert elsewhere.poll() is None
    elsewhere.kill()
    elsewhere.wait()


def test_the_next_session_removes_what_a_lost_device_kept(device: AdbDevice, host: HostConnection) -> None:
    with pytest.raises(DeviceError, match="gone"), device.open_workspace() as workspace:
        workspace.run(["sh", "-c", "echo x >left; sleep 4325 >/dev/null 2>&1 &"])
        host.fault = {"": LOST}
        workspace.run(["true"])
    assert any(name.endswith("/left") for name in host.files())
    host.fault = {}
    stranger = host.root / "mobilekit-fedcba98-00"
    stranger.mkdir()
    with device.open_workspace():
        assert not any(name.endswith("/left") for name in host.files())
        assert _ends("sleep 4325")
        assert stranger.exists()


def test_a_device_that_cannot_be_written_says_so(device: AdbDevice, host: HostConnection) -> None:
    (host.root / "mobilekit-store").write_text("a file in the way")
    with pytest.raises(DeviceError, match="no place to work in"), device.open_workspace():
        pass


def test_a_command_that_was_cut_off_is_no_success(host: HostConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = DeviceShell(host, Names("x"))
    for output in ("count=50 avg=1\n", "", f"end-{Names('x').fresh()}", "end-0000000000000000 0\n"):
        monkeypatch.setattr(host, "shell", lambda command, timeout, output=output: Finished(0, output, ""))
        with pytest.raises(DeviceError, match="SERIAL was lost in the middle of a command"):
            shell.run("benchmark")


def test_only_folders_of_ours_and_old_ones_are_leftovers() -> None:
    now = 10_000_000
    day = 24 * 3600
    mine, other = f"{ROOT}/mobilekit-0123abcd", f"{ROOT}/mobilekit-fedcba98"
    entries = [
        Entry(f"{mine}-01", 0, now),
        Entry(f"{mine}-02", 0, now),
        Entry(f"{other}-01", 0, now - day + 1),
        Entry(f"{other}-02", 0, now - day - 1),
        Entry(STORE, 0, 0),
        Entry(f"{ROOT}/mobilekit-notes", 0, 0),
        Entry(f"{STORE}/{'0' * 64}-a", 0, 0),
    ]
    assert leftovers(entries, now, f"{mine}-02", "0123abcd") == [f"{mine}-01", f"{other}-02"]


def test_the_store_is_bounded_in_age_and_size() -> None:
    now = 10_000_000

    def entry(name: str, size: int, age: int) -> Entry:
        return Entry(f"{STORE}/{name}", size, now - age)

    old = entry("a-old", 5, LIMIT_SECONDS + 1)
    used = entry("b-used", 5, LIMIT_SECONDS + 1)
    assert entries_to_evict([old, used, entry("stamp-b-used", 5, 10)], now) == [old.path]
    first, second = entry("c", LIMIT_BYTES - 10, 1), entry("d", 10, 2)
    third = entry("e", 1, 3)
    assert entries_to_evict([third, second, first], now) == [third.path]
    stamp = entry("stamp-e", 1, 3)
    assert entries_to_evict([third, stamp, second, first], now) == [third.path, stamp.path]


def test_what_opening_a_session_removes_of_the_store(device: AdbDevice, host: HostConnection) -> None:
    store = host.root / "mobilekit-store"
    store.mkdir()
    (store / "a-old").write_text("x")
    os.utime(store / "a-old", (1, 1))
    (store / "b-new").write_text("x")
    with device.open_workspace():
        assert [path.name for path in store.iterdir()] == ["b-new"]


def test_answers_of_df_and_stat() -> None:
    heads = "Filesystem     1K-blocks     Used Available Use% Mounted on\n"
    toybox = f"{heads}/dev/block/dm-9 112345678 45678901  66535705  41% /data\n"
    wrapped = f"{heads}/dev/block/a-long-name\n   100  60  40  60% /data\n"
    assert parse_free(toybox) == 66535705 * 1024
    assert parse_free(wrapped) == 40 * 1024
    assert parse_free("Filesystem Size Used Free Blksize\n/data 24G 3G 21G 4096\n") is None
    assert parse_entries(f"1795485317\n1700000000 42 {STORE}/a b\nstat: x\n") == [Entry(f"{STORE}/a b", 42, 1700000000)]


def _tools(folder: Path, *names: str) -> str:
    """Return a PATH that has these programs only."""
    path = folder / "-".join(["bin", *names])
    path.mkdir()
    for name in names:
        (path / name).symlink_to(shutil.which(name) or "")
    return str(path)


def _settable_stat(folder: Path) -> Path:
    """Return a folder with a `stat` that takes the time of the last write, which a test can set, for any change's."""
    program = folder / "settable" / "stat"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nformat=$(echo "$2" | tr Z Y)\nshift 2\nexec {shutil.which("stat")} -c "$format" "$@"\n'
    )
    program.chmod(0o755)
    return program.parent


def _ends(words: str) -> bool:
    """Return whether no process has this command line, at the latest in five seconds: a kill takes its time."""
    deadline = time.monotonic() + 5
    while _running(words) and time.monotonic() < deadline:
        time.sleep(0.02)
    return _running(words) == 0


def _running(words: str) -> int:
    """Return how many processes have this command line; a zombie has none."""
    count = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            count += path.read_bytes().replace(b"\0", b" ").strip() == words.encode()
        except OSError:
            continue
    return count
