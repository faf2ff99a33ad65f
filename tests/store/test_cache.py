"""The cache gives back what was put there or nothing, whatever happens to its files and whoever else uses it."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from threading import Barrier

import pytest

from mobilekit.store.cache import Cache, NoCache

CONTENT = {"model.onnx": b"graph" * 100, "stages/deep/weights.bin": bytes(range(256))}
ROUNDS = 25


def _write(folder: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def _read(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    cache = Cache(tmp_path / "cache")
    cache.put("key", _write(tmp_path / "source", CONTENT), CONTENT)
    return cache


@pytest.fixture
def taken(tmp_path: Path) -> Path:
    folder = tmp_path / "taken"
    folder.mkdir()
    return folder


def test_round_trip_with_subfolders(cache: Cache, taken: Path) -> None:
    assert cache.take("key", taken)
    assert _read(taken) == CONTENT
    assert sorted(path.name for path in taken.iterdir()) == ["model.onnx", "stages"]


def test_only_the_named_files_are_kept(tmp_path: Path, taken: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.put("key", _write(tmp_path / "source", CONTENT), ["model.onnx"])
    assert cache.take("key", taken)
    assert _read(taken) == {"model.onnx": CONTENT["model.onnx"]}


def test_an_unknown_key_is_missing(cache: Cache, taken: Path) -> None:
    assert not cache.take("other", taken)
    assert list(taken.iterdir()) == []


def test_the_first_entry_of_a_key_stays(cache: Cache, tmp_path: Path, taken: Path) -> None:
    cache.put("key", _write(tmp_path / "second", {"model.onnx": b"second"}), ["model.onnx"])
    assert cache.take("key", taken)
    assert _read(taken) == CONTENT


def _flip(entry: Path) -> None:
    path = entry / "stages" / "deep" / "weights.bin"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)


def _flip_name(entry: Path) -> None:
    text = (entry / "entry.json").read_text()
    (entry / "entry.json").write_text(text.replace("model.onnx", "model.onny"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a byte changed": _flip,
    "a file is gone": lambda entry: (entry / "stages" / "deep" / "weights.bin").unlink(),
    "a file is cut": lambda entry: (entry / "model.onnx").write_bytes(b""),
    "no index": lambda entry: (entry / "entry.json").unlink(),
    "index is not JSON": lambda entry: (entry / "entry.json").write_bytes(b"\xff\x00garbage"),
    "index is a list": lambda entry: (entry / "entry.json").write_text("[]"),
    "index is empty": lambda entry: (entry / "entry.json").write_text(""),
    "index names another file": _flip_name,
    "index has another digest": lambda entry: (entry / "entry.json").write_text(json.dumps({"model.onnx": "0" * 64})),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_entry_is_missing_and_removed(
    cache: Cache, tmp_path: Path, taken: Path, damage: Callable[[Path], object]
) -> None:
    damage(cache.root / "key")
    assert not cache.take("key", taken)
    assert list(taken.iterdir()) == [], "nothing of a damaged entry may reach the bundle"
    assert not (cache.root / "key").exists()
    cache.put("key", tmp_path / "source", CONTENT)
    assert cache.take("key", taken)
    assert _read(taken) == CONTENT


def test_put_of_a_missing_file_keeps_nothing(tmp_path: Path, taken: Path) -> None:
    cache = Cache(tmp_path / "cache")
    cache.put("key", _write(tmp_path / "source", CONTENT), ["model.onnx", "missing"])
    assert not cache.take("key", taken)
    assert list(cache.root.iterdir()) == []


def _put_rounds(root: str, source: str, limit: int, barrier: Barrier) -> None:
    for number in range(ROUNDS):
        barrier.wait(30)
        Cache(Path(root), limit).put(f"key{number}", Path(source), CONTENT)


@pytest.mark.parametrize("limit", [2**30, 2000])
def test_two_processes_put_the_same_key_at_once(tmp_path: Path, limit: int) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    root, source = tmp_path / "cache", _write(tmp_path / "source", CONTENT)
    workers = [context.Process(target=_put_rounds, args=(str(root), str(source), limit, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    kept = sorted(path.name for path in root.iterdir())
    assert f"key{ROUNDS - 1}" in kept
    assert not [name for name in kept if name.startswith(".")], "no leftovers"
    if limit > len(CONTENT) * 1000 * ROUNDS:
        assert kept == sorted(f"key{number}" for number in range(ROUNDS))
    for key in kept:
        folder = tmp_path / "taken" / key
        folder.mkdir(parents=True)
        assert Cache(root, limit).take(key, folder)
        assert _read(folder) == CONTENT


def _age(cache: Cache, key: str, seconds: int) -> None:
    then = (cache.root / key).stat().st_mtime - seconds
    os.utime(cache.root / key, (then, then))


def test_pruning_drops_the_least_recently_used(tmp_path: Path, taken: Path) -> None:
    source = _write(tmp_path / "source", {"a": b"x" * 1000})
    cache = Cache(tmp_path / "cache", limit_bytes=3500)
    for age, key in ((300, "first"), (200, "second"), (100, "third")):
        cache.put(key, source, ["a"])
        _age(cache, key, age)
    assert sorted(path.name for path in cache.root.iterdir()) == ["first", "second", "third"]
    assert cache.take("first", taken)
    cache.put("fourth", source, ["a"])
    assert sorted(path.name for path in cache.root.iterdir()) == ["first", "fourth", "third"]


def test_pruning_keeps_the_newest_even_if_it_alone_is_too_large(tmp_path: Path) -> None:
    source = _write(tmp_path / "source", {"a": b"x" * 1000, "b": b"x" * 9000})
    cache = Cache(tmp_path / "cache", limit_bytes=2000)
    cache.put("small", source, ["a"])
    cache.put("large", source, ["b"])
    assert [path.name for path in cache.root.iterdir()] == ["large"]


def test_a_root_that_cannot_be_made_is_no_error(tmp_path: Path, taken: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache")
    cache.put("key", _write(tmp_path / "source", CONTENT), CONTENT)
    assert not cache.take("key", taken)
    assert list(taken.iterdir()) == []


def test_a_read_only_cache_serves(cache: Cache, taken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.take("key", taken)
    assert _read(taken) == CONTENT


def test_no_cache_keeps_nothing(tmp_path: Path, taken: Path) -> None:
    cache = NoCache()
    cache.put("key", _write(tmp_path / "source", CONTENT), CONTENT)
    assert not cache.take("key", taken)
    assert list(taken.iterdir()) == []


def test_a_cache_asked_for_anew_gives_nothing_and_keeps_what_is_made(cache: Cache, tmp_path: Path, taken: Path) -> None:
    anew = cache.anew()
    assert anew.take("key", taken) is False and _read(taken) == {}
    anew.put("other", _write(tmp_path / "made", CONTENT), CONTENT)
    assert cache.take("other", taken) is True
    assert NoCache().anew().take("key", taken) is False


def test_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBILEKIT_CACHE", str(tmp_path / "mine"))
    assert Cache.default().root == tmp_path / "mine" / "stages"
    monkeypatch.delenv("MOBILEKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    root = Cache.default().root
    assert root.is_relative_to(tmp_path)
    assert root.parts[-2:] == ("mobilekit", "stages")
