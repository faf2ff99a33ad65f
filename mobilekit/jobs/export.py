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
    existing = _existing(request, digest)
    return existing or _export(request, opened or _opened(request), digest, cache, progress, tell_given)


def find_exported(request: ExportRequest) -> Exported | None:
    """Return what is there already of a reference model, for which neither torch nor the model is needed.

    Raises:
        ToolError: With `strict`, it lacks a file that could not be made.
    """
    return _existing(request, request_digest(request)) if is_registered(request.source.model) else None


def _existing(request: ExportRequest, digest: str) -> Exported | None:
    found = None if request.force else _unchanged(request.output, digest)
    if found and request.strict:
        _check_whole(found)
    return Exported(found, up_to_date=True) if found else None


def _opened(request: ExportRequest) -> Opened:
    from mobilekit.jobs.build import open_source

    return open_source(request.source)


def _export(
    request: ExportRequest, opened: Opened, digest: str, cache: Cache, progress: Progress, tell_given: TellGiven
) -> Exported:
    """Export what is not there yet, or take it out of the cache."""
    from mobilekit.jobs.fill_bundle import check_space, fill_bundle
    from mobilekit.jobs.target_gates import check_named

    _check_output(request, digest)
    check_installed()
    check_named(request.source.recipe)
    check_space(opened.model, request)
    cache = cache.anew() if request.force else cache
    with whole_folder(request.output, replace=request.force) as folder:
        from_cache = cache.take(digest, folder)
        if not from_cache:
            failed = fill_bundle(folder, opened, digest, cache, progress, tell_given, request)
            if not failed:  # what failed may well succeed another time
                names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
                cache.put(digest, folder, names)
    return Exported(open_bundle(request.output), from_cache=from_cache)


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
