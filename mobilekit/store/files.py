"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekit.errors import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MANY = 1000
"""Of files, as environments of Python have: one by one they would take the disk minutes."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_all(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder that of JSON that has each file's by its path in it."""
    if not path.is_dir():
        return sha256_of(path)
    files = sorted(each for each in path.rglob("*") if each.is_file())
    return sha256_of_json({each.relative_to(path).as_posix(): sha256_of(each) for each in files})


def sha256_of_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.stat().st_size for file in files if file.is_file())


def sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename after it cannot outlive its contents."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def shown(path: Path) -> str:
    """Return a path as errors have it: in a folder that does not stand yet, which nobody has named, the file alone."""
    return path.name if any(".partial-" in part for part in path.parts) else str(path)


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file through a temporary one beside it: readers see the old or the new, never a part."""
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        part.write_bytes(data.encode() if isinstance(data, str) else data)
        sync(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value as readable text with sorted keys kept in the order given."""
    write_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays by name as an .npz."""
    import numpy as np  # here, as all commands import this module

    np.savez(path, **arrays)


def read_numbers(path: Path) -> NDArray[Any]:
    """Read an .npy file of integers, floats or booleans.

    Raises:
        ValueError: It is none, as the message says in the middle of a sentence.
    """
    import tokenize

    import numpy as np

    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)  # np.load takes archives and pickles by content
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    except (ValueError, MemoryError, tokenize.TokenError) as error:  # all three come of a damaged header
        raise ValueError(f"it is no .npy of numbers: {first_line(error)}") from error
    if array.dtype.kind not in "fiub":
        raise ValueError(f"it holds {array.dtype}, which are no numbers")
    return array


@contextmanager
def whole_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give a scratch folder beside `target` that becomes `target` when the block ends well.

    Everything in it is flushed to the disk before the rename. If the block raises, nothing is left. A process
    that was killed leaves a hidden folder, which the next call for the same target removes.

    Args:
        target: The folder to make.
        replace: Put the new folder in place of one that exists already.

    Raises:
        FileExistsError: `target` exists at the end and `replace` is false.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    part = target.parent / f".{target.name}.partial-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    part.mkdir()
    try:
        yield part
        _flush(part)
        _put_in_place(part, target, replace)
        sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Flush all that a folder has."""
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]  # such may lead nowhere
    if len(paths) > _MANY and sys.platform == "linux":  # elsewhere this does not wait for the disk
        os.sync()
        paths.clear()
    for path in (*paths, folder):
        sync(path)


def _put_in_place(part: Path, target: Path, replace: bool) -> None:
    if not replace or not target.exists():
        try:
            part.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise FileExistsError(errno.EEXIST, "something else made it in the meantime", str(target)) from error
            raise
        return
    old = part.with_name(f"{part.name}-old")
    target.rename(old)
    try:
        part.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _remove_abandoned(target: Path) -> None:
    """Remove what killed processes left beside `target`; put back a folder that was being replaced."""
    for path in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
        words = path.name.removeprefix(f".{target.name}.partial-").split("-")
        if not words[0].isdigit() or _is_running(int(words[0])):
            continue
        if words[-1] == "old" and not target.exists():
            path.rename(target)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
