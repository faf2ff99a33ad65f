"""Where workers without a common disk find what others made: a folder behind an fsspec URL, such as s3://bucket/sweep.

```
sweep.json                   that a sweep is here
steps/KEY/STEP.json          what a step found; of an export, also where its bundle lies
bundles/NAME/UNIQUE/         the files of a bundle, all of them before the step's result is there
starts/KEY/STEP/UNIQUE       an empty object for each start of a step
rows/KEY.parquet             the rows of a cell
```

Every object is written once as a whole, under a name of its own, and then moved to where it is looked for: half of one
is never seen there, on object stores, where a PUT is whole or not at all, as on disks. Nothing is locked, as object
stores cannot: two workers that do one step at once do it twice, and one of the two
results stays, with the bundle that belongs to it.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.errors import FullDiskError, MobilekitError, ToolError, UsageError, first_line, without_secrets
from mobilekit.store.files import whole_folder

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_NOTE = "sweep.json"
_ON_DISK = ("file", "local")
_PLACES = "Write a URL, such as s3://BUCKET/SWEEP, or the absolute path of a folder."
_WITHOUT_FOLDERS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "memory")
"""Stores in which a folder is nothing but the beginning of names: to make one would ask for rights in vain."""


def check_store(url: str) -> None:
    """Refuse a store that workers cannot have in common, before the work.

    Raises:
        UsageError: It is neither a URL nor an absolute path, or lies in the memory of each process.
    """
    shown = f"--store {without_secrets(url)!r}"
    links = url.split("::")  # of a chain, as in simplecache::s3://bucket/sweep
    if any(link.partition("://")[0] == "memory" for link in links):
        raise UsageError(f"{shown} is the memory of each process, and no other process sees what is in it.", _PLACES)
    protocol, is_url, rest = links[-1].rpartition("://")
    path = rest if protocol in ("", *_ON_DISK) else "/"
    if not rest or not Path(path).is_absolute() or (is_url and not protocol):
        raise UsageError(f"{shown} is neither a URL nor an absolute path.", _PLACES)


@dataclass(frozen=True)
class Exchange:
    """The folder behind a URL, which `check_store` has looked at where a user gave it."""

    url: str

    @cached_property
    def _place(self) -> tuple[AbstractFileSystem, str]:
        import fsspec

        with self._told():
            file_system, root = fsspec.core.url_to_fs(self.url, **({"auto_mkdir": True} if self._is_on_disk else {}))
        return file_system, root.rstrip("/")

    @property
    def _is_on_disk(self) -> bool:
        from fsspec.utils import get_protocol

        return get_protocol(self.url) in _ON_DISK

    @property
    def _shown(self) -> str:
        return without_secrets(self.url)

    def begin(self, resume: bool) -> None:
        """Take the folder, and forget how often steps were started.

        Raises:
            ToolError: It cannot be reached.
            UsageError: A sweep is there that nobody asked to go on with.
        """
        if self.get_bytes(_NOTE) is None:
            self.put_bytes(_NOTE, b"{}\n")
            return
        if not resume:
            raise UsageError(f"{self._shown} holds a sweep.", "Go on with it by --resume, or choose another one.")
        self.remove("starts")

    def get_bytes(self, name: str) -> bytes | None:
        """Return an object; None where there is none."""
        file_system, root = self._place
        with self._told():
            try:
                content: bytes = file_system.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return None
        return content

    def put_bytes(self, name: str, content: bytes) -> None:
        """Write an object, whole or not at all."""
        with self._whole(name) as part:
            self._place[0].pipe_file(part, content)

    def get_file(self, name: str, path: Path) -> None:
        """Write an object to a file, whole or not at all."""
        file_system, root = self._place
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        with self._told():
            try:
                file_system.get_file(f"{root}/{name}", str(part))
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Return the names of all objects below a folder, from it on."""
        file_system, root = self._place
        with self._told():
            file_system.invalidate_cache()
            found = file_system.find(f"{root}/{folder}")
        return sorted(each.partition(f"{root}/{folder}/")[2] for each in found)

    def remove(self, name: str) -> None:
        """Remove an object or a folder, if it is there."""
        file_system, root = self._place
        with self._told():
            file_system.invalidate_cache()
            if file_system.exists(f"{root}/{name}"):
                file_system.rm(f"{root}/{name}", recursive=True)

    def put_folder(self, name: str, folder: Path) -> str:
        """Write all files of a folder under a name that nobody else has; return it."""
        place = f"{name}/{secrets.token_hex(8)}"
        with self._told():
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                self._place[0].put_file(str(path), self._target(f"{place}/{path.relative_to(folder).as_posix()}"))
        return place

    def get_folder(self, name: str, folder: Path) -> None:
        """Write all files below a name into a folder, which is there whole or not at all.

        Raises:
            ToolError: There are none, or they cannot be read.
        """
        found = self.names(name)
        if not found:
            raise ToolError(f"{self._shown} has no {name} any more.", "Run the sweep with --resume --failed.")
        if any(".." in each.split("/") for each in found):
            raise ToolError(f"{self._shown} has names in {name} that lead out of it.")
        with whole_folder(folder) as part:
            for each in found:
                self.get_file(f"{name}/{each}", part / each)

    @contextmanager
    def _whole(self, name: str) -> Iterator[str]:
        """Give a name to write to, and move what is there to where it is looked for."""
        with self._told():
            part = self._target(f"parts/{secrets.token_hex(8)}")
            yield part
            self._place[0].mv(part, self._target(name))

    def _target(self, name: str) -> str:
        """Return a path to write to, in a folder that is there."""
        from fsspec.utils import get_protocol

        file_system, root = self._place
        path = f"{root}/{name}"
        if get_protocol(self.url) not in _WITHOUT_FOLDERS:
            file_system.makedirs(path.rpartition("/")[0], exist_ok=True)
        return path

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in a sentence what goes wrong: each kind of store raises errors of its own."""
        try:
            yield
        except MobilekitError:
            raise
        except Exception as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FullDiskError(f"{self._shown} is full.", "Make room, and go on with --resume.") from error
            hint = "fsspec's documentation says how to install and reach such a store."
            if self._is_on_disk and isinstance(error, OSError):
                hint = "Choose a folder that can be written."
            raise ToolError(without_secrets(f"{self.url}: {first_line(error)}."), hint) from error
