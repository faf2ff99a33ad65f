"""Files and folders appear whole or not at all: errors, kills, full disks and half-done replacements."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mobilekit.store import files
from mobilekit.store.files import sha256_of, sha256_of_json, shown, whole_folder, write_atomic, write_json
from tests.conftest import ROOT


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _fill(folder: Path, text: str) -> None:
    (folder / "below").mkdir()
    (folder / "below" / "a.txt").write_text(text)


def _dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def _hold_open(target: Path) -> subprocess.Popen[str]:
    """Start a process that waits inside whole_folder(target), and return once it is there."""
    code = """
        import sys, time
        from pathlib import Path
        from mobilekit.store.files import whole_folder
        with whole_folder(Path(sys.argv[1])) as folder:
            (folder / "half").write_text("half")
            print("inside", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(target)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout
    assert process.stdout.readline() == "inside\n"
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "bundle"
    with whole_folder(target) as folder:
        _fill(folder, "new")
        assert folder.parent == target.parent
        assert not target.exists()
    assert (target / "below" / "a.txt").read_text() == "new"
    assert _names(target.parent) == ["bundle"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_nothing_is_left_when_the_block_raises(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), whole_folder(tmp_path / "bundle") as folder:
        _fill(folder, "new")
        raise error
    assert _names(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_exists_is_kept(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "bundle"
    if kind == "folder":
        target.mkdir()
        _fill(target, "old")
    else:
        target.write_text("old")
    said = r"something else made it in the meantime: .*bundle"
    with pytest.raises(FileExistsError, match=said), whole_folder(target) as folder:
        _fill(folder, "new")
    kept = target / "below" / "a.txt" if kind == "folder" else target
    assert kept.read_text() == "old"
    assert _names(tmp_path) == ["bundle"]


def test_replace_swaps_the_whole_folder(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    _fill(target, "old")
    (target / "only-old").write_text("old")
    with whole_folder(target, replace=True) as folder:
        _fill(folder, "new")
        assert (target / "only-old").read_text() == "old"
    assert (target / "below" / "a.txt").read_text() == "new"
    assert _names(target) == ["below"]
    assert _names(tmp_path) == ["bundle"]


def test_replace_without_an_old_one(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "bundle", replace=True) as folder:
        _fill(folder, "new")
    assert (tmp_path / "bundle" / "below" / "a.txt").read_text() == "new"


def test_a_failed_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    _fill(target, "old")
    with pytest.raises(RuntimeError), whole_folder(target, replace=True) as folder:
        _fill(folder, "new")
        raise RuntimeError
    assert (target / "below" / "a.txt").read_text() == "old"
    assert _names(tmp_path) == ["bundle"]


def test_the_old_folder_comes_back_when_the_rename_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    _fill(target, "old")
    rename = Path.rename

    def refuse(path: Path, to: Path) -> Path:
        if ".partial-" in path.name and not path.name.endswith("-old"):
            raise OSError(errno.EIO, "broken disk")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="broken disk"), whole_folder(target, replace=True) as folder:
        _fill(folder, "new")
    assert (target / "below" / "a.txt").read_text() == "old"
    assert _names(tmp_path) == ["bundle"]


@pytest.mark.parametrize("name", ["bundle", "size[1]"])
def test_leftovers_of_a_killed_process_go_with_the_next_call(tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    process = _hold_open(target)
    _kill(process)
    assert not target.exists()
    assert len(_names(tmp_path)) == 1, "the killed process left its hidden folder"
    with whole_folder(target) as folder:
        assert _names(tmp_path) == [folder.name]
        _fill(folder, "new")
    assert _names(tmp_path) == [name]


def test_folders_of_a_live_process_and_of_other_targets_stay(tmp_path: Path) -> None:
    process = _hold_open(tmp_path / "bundle")
    (living,) = _names(tmp_path)
    other = tmp_path / f".bundle2.partial-{_dead_pid()}-0a"
    strange = tmp_path / ".bundle.partial-mine"
    other.mkdir()
    strange.mkdir()
    try:
        with whole_folder(tmp_path / "bundle") as folder:
            _fill(folder, "new")
        assert _names(tmp_path) == sorted(["bundle", living, other.name, strange.name])
        assert (tmp_path / living / "half").read_text() == "half"
    finally:
        _kill(process)


def test_an_interrupted_replacement_is_put_back(tmp_path: Path) -> None:
    pid = _dead_pid()
    (tmp_path / f".bundle.partial-{pid}-0a1b").mkdir()
    old = tmp_path / f".bundle.partial-{pid}-0a1b-old"
    old.mkdir()
    _fill(old, "old")
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "bundle", replace=True):
        assert (tmp_path / "bundle" / "below" / "a.txt").read_text() == "old"
        raise RuntimeError
    assert (tmp_path / "bundle" / "below" / "a.txt").read_text() == "old"
    assert _names(tmp_path) == ["bundle"]


def test_the_old_folder_of_a_finished_replacement_goes(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    _fill(tmp_path / "bundle", "new")
    old = tmp_path / f".bundle.partial-{_dead_pid()}-0a1b-old"
    old.mkdir()
    _fill(old, "old")
    with pytest.raises(FileExistsError), whole_folder(tmp_path / "bundle"):
        pass
    assert (tmp_path / "bundle" / "below" / "a.txt").read_text() == "new"
    assert _names(tmp_path) == ["bundle"]


def test_write_atomic_replaces_bytes_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, "grün\n")
    assert path.read_bytes() == b"gr\xc3\xbcn\n"
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert _names(tmp_path) == ["a"]


@pytest.mark.parametrize("fails", ["sync", "write"])
def test_write_atomic_leaves_the_old_file_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    write_bytes = Path.write_bytes

    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(part: Path, data: bytes) -> int:
        write_bytes(part, data[:1])
        return full()

    if fails == "sync":
        monkeypatch.setattr(files, "sync", full)
    else:
        monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "new")
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["a"]


def test_a_full_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "bundle") as folder:
        _fill(folder, "new")
    assert _names(tmp_path) == []


def test_json_is_readable_and_keeps_its_order(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": "ü", "a": [1]})
    assert (tmp_path / "a.json").read_text() == '{\n  "b": "ü",\n  "a": [\n    1\n  ]\n}\n'


def test_an_error_names_the_path_that_was_given_and_no_folder_in_the_making(tmp_path: Path) -> None:
    assert shown(tmp_path / "model.pte") == str(tmp_path / "model.pte")
    with whole_folder(tmp_path / "bundle") as folder:
        assert shown(folder / "model.pte") == "model.pte"


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": 2})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere files are flushed one by one")
def test_many_files_are_flushed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_by_one: list[Path] = []
    at_once: list[bool] = []
    monkeypatch.setattr(files, "_MANY", 2)
    monkeypatch.setattr(files, "sync", one_by_one.append)
    monkeypatch.setattr(files.os, "sync", lambda: at_once.append(True))
    for count, calls in ((2, 0), (3, 1)):
        one_by_one.clear()
        with whole_folder(tmp_path / str(count)) as folder:
            for name in range(count):
                (folder / str(name)).write_text("")
        assert (len(at_once), len(one_by_one)) == (calls, 2 + (0 if calls else count))
