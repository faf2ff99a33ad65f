"""The main job: from a reference model and a recipe to a bundle of proven artifacts, unless it is there already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mobilekit.convert.installed import check_installed
from mobilekit.errors import ToolError, UsageError
from mobilekit.jobs.given import TellGiven
from mobilekit.jobs.request import ExportRequest, request_digest
from mobilekit.models.names import is_registered
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle, find_changes, open_bundle, refuse_inside_bundle
from mobilekit.store.cache import Cache
from mobilekit.store.files import whole_folder

if TYPE_CHECKING:
    from mobilekit.jobs.build import Opened

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """The bundle, and whether it was there already."""

    bundle: Bundle
    up_to_date: bool = False
    from_cache: bool = False


def export(
    request: ExportRequest,
    cache: Cache,
    progress: Progress = lambda _message: None,
    tell_given: TellGiven = lambda _given: None,
) -> Exported:
    """Export a model: rewrite it, convert it, measure every stage, and close the bundle.

    A bundle whose parity failed is closed too, with the verdict in its ledger, so that it can be looked into; and so is
    one without a TFLite file that could not be made, opened or run, with the reason in its ledger. Anything else that
    fails leaves nothing behind.

    Args:
        request: What to export, and how.
        cache: Of earlier exports.
        progress: Is told what goes on.
        tell_given: Is told, as work starts, what the export is given and what it has to assume.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: A rewrite's proof failed.
        ToolError: The ONNX file, of which all others are made, could not be made, the disk is full, or a converter is
            not installed; with `strict`, any file could not be made, opened or run.
    """
    opened = None if is_registered(request.source.model) else _opened(request)
    digest = request_digest(request, opened)
    found = _find(request, digest, cache)
    return found or _make(request, opened or _opened(request), digest, cache, progress, tell_given)


def find_exported(request: ExportRequest, cache: Cache) -> Exported | None:
    """Return what is there of a reference model, or in the cache: for that neither torch nor the model is needed.

    Raises:
        UsageError: The request cannot be carried out.
        ToolError: A converter is not installed; with `strict`, what is there lacks a file that could not be made.
    """
    if not is_registered(request.source.model):
        return None
    return _find(request, request_digest(request), cache)


def _find(request: ExportRequest, digest: str, cache: Cache) -> Exported | None:
    """Return what is there already, or comes out of the cache; None where it has to be made, and may be."""
    if not request.force and (bundle := _unchanged(request.output, digest)):
        if request.strict:
            _check_whole(bundle)
        return Exported(bundle, up_to_date=True)
    from mobilekit.jobs.target_gates import check_named

    _check_output(request, digest)
    check_installed()
    check_named(request.source.recipe)
    if request.force:
        return None
    with suppress(_NotInCacheError):
        with whole_folder(request.output) as folder:
            if not cache.take(digest, folder):
                raise _NotInCacheError
        return Exported(open_bundle(request.output), from_cache=True)
    return None


class _NotInCacheError(Exception):
    """The cache does not have it, so that no folder is made."""


def _opened(request: ExportRequest) -> Opened:
    from mobilekit.jobs.build import open_source

    return open_source(request.source)


def _make(
    request: ExportRequest, opened: Opened, digest: str, cache: Cache, progress: Progress, tell_given: TellGiven
) -> Exported:
    """Make the bundle, and keep it in the cache."""
    from mobilekit.jobs.fill_bundle import check_space, fill_bundle

    check_space(opened.model, request)
    cache = cache.anew() if request.force else cache
    with whole_folder(request.output, replace=request.force) as folder:
        failed = fill_bundle(folder, opened, digest, cache, progress, tell_given, request)
        if not failed:  # what failed may well succeed another time
            names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
            cache.put(digest, folder, names)
    return Exported(open_bundle(request.output))


def _check_whole(bundle: Bundle) -> None:
    """Refuse a bundle that was there already, without a file that could not be made.

    Raises:
        ToolError: It is such a one.
    """
    for each in bundle.failed_stages:
        raise ToolError(
            f"{bundle.path} was exported without {each.stage}: {each.reason}.",
            "`mobilekit export ... --strict --force` tries again.",
        )


def _unchanged(output: Path, digest: str) -> Bundle | None:
    """Return the bundle that is there if it is the one asked for, and as it was written."""
    with suppress(UsageError):  # nothing is there, or what is damaged
        found = open_bundle(output)
        if found.manifest.get("request") == digest and not find_changes(output):
            return found
    return None


def _check_output(request: ExportRequest, digest: str) -> None:
    """Refuse a place where something else is that may not or should not be replaced.

    Raises:
        UsageError: It is such a one.
    """
    output = request.output
    refuse_inside_bundle(output)
    blocked = next((parent for parent in output.absolute().parents if parent.exists() and not parent.is_dir()), None)
    if blocked:
        raise UsageError(f"{blocked} is a file, so {output} cannot be made.", "Choose another place with -o.")
    if output.is_symlink() and not output.exists():
        raise UsageError(
            f"{output} is a link to {output.readlink()}, where nothing is.",
            "Remove the link, make the folder that it names, or choose another place with -o.",
        )
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / bundles.MANIFEST).is_file():
        raise UsageError(f"{output} exists and is not a bundle.", "Choose another place with -o.")
    if not request.force:
        raise UsageError(
            f"{output} holds {_what_is_in(output, digest)}; it is kept.",
            "Replace it with --force, or choose another place with -o.",
        )


def _what_is_in(output: Path, digest: str) -> str:
    with suppress(UsageError):  # it is damaged
        if open_bundle(output).manifest.get("request") == digest:
            return f"this export, changed since ({find_changes(output)[0]})"
    return "another export"
