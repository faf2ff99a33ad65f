"""A content-addressed cache of conversion stages.

An entry is a folder named by the hash of everything that went into it. It appears by one rename, so two exports
may run at once: the second to finish throws its own copy away. An entry whose bytes changed on the disk counts
as missing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import platformdirs

from mobilekit.store.files import sha256_of, whole_folder, write_json

_INDEX = "entry.json"


def default_folder() -> Path:
    """Return the folder of all that is kept: MOBILEKIT_CACHE if set, else the platform's cache folder."""
    return Path(os.environ.get("MOBILEKIT_CACHE") or platformdirs.user_cache_dir("mobilekit"))


@dataclass(frozen=True)
class Cache:
    """Folders by key under one root; the least recently used go when they exceed `limit_bytes` together."""

    root: Path
    limit_bytes: int = 4 * 2**30

    @classmethod
    def default(cls) -> Cache:
        """Return the user's cache."""
        return cls(default_folder() / "stages")

    def take(self, key: str, folder: Path) -> bool:
        """Copy entry `key` into `folder`; where it is missing or damaged, return False and copy nothing."""
        entry = self.root / key
        if not entry.is_dir():
            return False
        with TemporaryDirectory(prefix=".taken-", dir=folder) as scratch:
            try:
                names = _copy_checked(entry, Path(scratch))
            except PermissionError:
                return False
            except (FileNotFoundError, IsADirectoryError, ValueError, AttributeError):
                shutil.rmtree(entry, ignore_errors=True)
                return False
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(scratch) / name).replace(folder / name)
        with suppress(OSError):  # a cache that may only be read serves as well
            os.utime(entry)
        return True

    def put(self, key: str, folder: Path, names: Iterable[str]) -> None:
        """Keep copies of the files `names` of `folder` as entry `key`."""
        names = sorted(names)
        try:
            with whole_folder(self.root / key) as entry:
                for name in names:
                    (entry / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / name, entry / name)
                write_json(entry / _INDEX, {name: sha256_of(entry / name) for name in names})
        except OSError:
            # Another export may have been faster, or the cache is full or read-only: neither must stop this one.
            return
        with suppress(OSError):  # another export may be pruning
            self._prune(keep=key)

    def anew(self) -> Cache:
        """Return this cache as one that gives nothing, and keeps what is made."""
        return _Anew(self.root, self.limit_bytes)

    def _prune(self, keep: str) -> None:
        entries = [path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith(".")]
        sizes = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in entries}
        excess = sum(sizes.values()) - self.limit_bytes
        for path in sorted(entries, key=lambda entry: entry.stat().st_mtime):
            if excess <= 0:
                return
            if path.name != keep:
                shutil.rmtree(path, ignore_errors=True)
                excess -= sizes[path]


def _copy_checked(entry: Path, folder: Path) -> list[str]:
    """Copy the files of an entry and return their names.

    Raises:
        ValueError: A copy is not what was put there.
    """
    index: dict[str, str] = json.loads((entry / _INDEX).read_text())
    for name, digest in index.items():
        copy = folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(entry / name, copy)
        if sha256_of(copy) != digest:
            raise ValueError(f"{entry / name} is changed")
    return list(index)


class _Anew(Cache):
    """Gives nothing, and keeps what is made."""

    def take(self, key: str, folder: Path) -> bool:
        """Return False: everything is made anew."""
        return False


class NoCache(Cache):
    """Makes every entry anew and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def take(self, key: str, folder: Path) -> bool:
        """Return False: nothing is ever there."""
        return False

    def put(self, key: str, folder: Path, names: Iterable[str]) -> None:
        """Keep nothing."""

    def anew(self) -> Cache:
        """Return itself, which gives nothing as it is."""
        return self
