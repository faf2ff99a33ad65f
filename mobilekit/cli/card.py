"""`mobilekit card`: a bundle as a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mobilekit.cli import options
from mobilekit.cli.output import check_place, fail, out
from mobilekit.errors import UsageError
from mobilekit.store.bundle import find_changes, open_bundle, sizes


def card(
    bundle: options.BundleFolder,
    output: Annotated[Path, typer.Option("--output", "-o", help="The card to write, .md.")],
    name: Annotated[str | None, typer.Option(help="What the model is called; without, as in the bundle.")] = None,
    license_id: Annotated[
        str,
        typer.Option("--license", metavar="ID", help="License of the weights, in the Hub's words, such as apache-2.0."),
    ] = "",
    bench: Annotated[
        list[Path] | None,
        typer.Option(help="A section that `mobilekit bench --markdown` wrote, of times or of counts; may be repeated."),
    ] = None,
) -> None:
    """Write a bundle's model card: Markdown with the front matter of the Hugging Face Hub.

    It has what goes in, the files with their digests, the ledger, latencies and counts where a bench is given, and what
    nobody measured. Exit code 1 if a file is not what the manifest says; no card is written then.

    Examples: `mobilekit card artifacts/ghostnetv2 -o README.md` ·
    `mobilekit card artifacts/mine -o README.md --license apache-2.0 --bench bench.md`
    """
    check_place(output, (".md",), "The card is Markdown; the Hub shows README.md.")
    from mobilekit.cli.render.card import card_markdown
    from mobilekit.cli.results import result_of
    from mobilekit.parity.ledger.result import ledger_of
    from mobilekit.store.files import write_atomic

    opened = open_bundle(bundle)
    costs = [_section(path) for path in bench or ()]
    changes = find_changes(bundle)
    if changes:
        fail(f"{bundle} is not as it was exported: {'; '.join(changes)}.", "Export it again.")
        raise typer.Exit(1)
    called = name or opened.manifest["model"]["name"]
    facts = (result_of(ledger_of(opened)), sizes(bundle), opened.outside)
    text = card_markdown(called, opened.manifest, *facts, license_id, costs)
    write_atomic(output, text)
    out.print(f"{output} is written: the card of {bundle}.")


def _section(path: Path) -> str:
    """Return what a bench wrote.

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.", "`mobilekit bench --markdown FILE` writes it.") from error
    from mobilekit.cli.render.card import COUNTS, TIMES

    if not text.startswith((TIMES, COUNTS)):
        raise UsageError(f"{path} is no section of a bench.", "`mobilekit bench --markdown FILE` writes it.")
    return text
