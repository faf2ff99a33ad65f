"""The pages that `mobilekit report` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import ValidationError

from mobilekit.cli.bench_results import Bench, benches_in, read_about
from mobilekit.cli.render.report.bundle import Facts, bundle_html
from mobilekit.cli.results import DiffResult, result_of
from mobilekit.errors import MobilekitError, UsageError
from mobilekit.parity.layers.result import Layers
from mobilekit.parity.ledger.result import ledger_of
from mobilekit.store.bundle import MANIFEST, Bundle, find_changes, open_bundle
from mobilekit.store.files import size_of, write_atomic
from mobilekit.sweep.folder import SweepFolder


@dataclass(frozen=True)
class Page:
    """The page of a bundle."""

    html: str
    words: str
    """The verdict, with what is doubtful of the inputs: `pass, on assumed inputs`."""
    changes: list[str]
    """What differs from the manifest."""

    @property
    def verdict(self) -> str:
        """`pass`, `fail` or `inconclusive`."""
        return self.words.partition(",")[0]


def page_of(
    bundle: Bundle,
    benches: Sequence[Bench],
    tested: DiffResult | None = None,
    layers: Layers | None = None,
    answers: Sequence[Mapping[str, Any]] = (),
    sweep: str | None = None,
) -> Page:
    """Return the page of a bundle.

    Args:
        bundle: The bundle.
        benches: What was measured of its files; what is about others is left out.
        tested: What a diff measured on other inputs.
        layers: The values inside.
        answers: What targets said of its files, as JSON.
        sweep: Link to the page of the sweep that it is of.

    Raises:
        UsageError: Its ledger is missing or damaged.
    """
    folder = bundle.path
    result, changes = result_of(ledger_of(bundle), layers=layers), find_changes(folder)
    sizes = {path.relative_to(folder).as_posix(): size_of(path) for path in folder.rglob("*")}
    name = folder.resolve().name
    facts = Facts(name, bundle.manifest, result, sizes, changes, benches, tested, answers, sweep, bundle.outside)
    return Page(bundle_html(facts), facts.verdict[0], changes)


def read_diff(path: Path, bundle: Bundle) -> DiffResult:
    """Return what a diff of a bundle's files measured.

    Raises:
        UsageError: It cannot be read, or is about other files.
    """
    hint = f"`mobilekit diff {bundle.path} --inputs DIR --json` prints one."
    try:
        tested: DiffResult = DiffResult.from_json(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        why = "it is no result of a diff" if isinstance(error, ValidationError) else error
        raise UsageError(f"{path} cannot be read: {why}.", hint) from error
    own = ledger_of(bundle).artifacts
    shared = tested.artifacts.keys() & own.keys()
    if not shared or any(tested.artifacts[name] != own[name] for name in shared):
        raise UsageError(f"{path} is about other files than those of {bundle.path}.", hint)
    return tested


@dataclass(frozen=True)
class WrittenSweep:
    """What was written of a sweep."""

    sweep: Path
    report: Path
    pages: list[Path]
    """Of its bundles."""
    rows: int
    failed: int
    changed: dict[Path, list[str]]
    """What differs from a bundle's manifest, by its folder; or why it has no page."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        pages = [str(page) for page in self.pages]
        counts = {"rows": self.rows, "failed": self.failed}
        changed = {str(bundle): changes for bundle, changes in self.changed.items() if changes}
        return {"sweep": str(self.sweep), "report": str(self.report), "pages": pages, **counts, "changed": changed}


def write_sweep(sweep: Path, output: Path, results: Sequence[Path], with_pages: bool) -> WrittenSweep:
    """Write the page of a sweep, and those of its bundles in a folder beside it.

    Raises:
        UsageError: A result of a bench cannot be read, or is about other files.
        ToolError: What sweeps need is not installed, or rows are damaged.
    """
    from mobilekit.cli.render.report.sweep import sweep_html
    from mobilekit.sweep.cluster import check_installed
    from mobilekit.sweep.show import show

    check_installed()
    shown = show(sweep)
    benches = read_about(results, [row["sha256"] for row in shown.rows if row["sha256"]], sweep)
    folder = output.with_name(f"{output.stem}_pages")
    pages: dict[str, Path] = {}
    changed: dict[Path, list[str]] = {}
    index = _by_digest([*benches, *_steps(sweep)]) if with_pages else {}
    for bundle, rows in _by_bundle(sweep, shown.rows).items() if with_pages else ():
        try:
            page = _page_of_sweep(sweep / bundle, rows, index, f"../{quote(output.name)}")
        except MobilekitError as error:
            changed[sweep / bundle] = [error.what.rstrip(".")]
            continue
        folder.mkdir(exist_ok=True)
        pages[bundle] = folder / f"{Path(bundle).name}.html"
        write_atomic(pages[bundle], page.html)
        changed[sweep / bundle] = page.changes
    links = {bundle: quote(f"{folder.name}/{page.name}") for bundle, page in pages.items()}
    write_atomic(output, sweep_html(sweep.resolve().name, shown, links, benches))
    failed = sum(row["status"] == "failed" for row in shown.rows)
    return WrittenSweep(sweep, output, [*pages.values()], len(shown.rows), failed, changed)


def _by_bundle(sweep: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the rows of each bundle that is there; of one that somebody took away the rows say what it was."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["bundle"] and (sweep / row["bundle"] / MANIFEST).is_file():
            found.setdefault(row["bundle"], []).append(row)
    return found


def _page_of_sweep(
    folder: Path, rows: Sequence[Mapping[str, Any]], index: Mapping[str, Sequence[Bench]], sweep: str
) -> Page:
    """Return the page of a bundle of a sweep, with what its benches and targets said."""
    bundle = open_bundle(folder)
    about = {id(each): each for digest in bundle.manifest["files"].values() for each in index.get(digest, ())}
    answers = [json.loads(answer) for row in rows for answer in row["targets"] or ()]
    return page_of(bundle, [*about.values()], answers=answers, sweep=sweep)


def _steps(sweep: Path) -> Iterator[Bench]:
    """Yield what the benches of a sweep found; one that a killed worker left unfinished has nothing."""
    for path in sorted((SweepFolder(sweep).path / "steps").glob("*/bench.json")):
        try:
            yield from benches_in(json.loads(path.read_text())["found"]["bench"])
        except (OSError, ValueError, LookupError, TypeError):
            continue


def _by_digest(benches: Sequence[Bench]) -> Mapping[str, list[Bench]]:
    found: dict[str, list[Bench]] = {}
    for bench in benches:
        for digest in {each.sha256 for each in bench.results}:
            found.setdefault(digest, []).append(bench)
    return found
