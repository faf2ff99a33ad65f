"""`mobilekit models`: what there is, measured beside published."""

from __future__ import annotations

from typing import Annotated

import typer

from mobilekit.cli import complete, options
from mobilekit.cli.output import print_json, print_whole


def models(
    name: Annotated[
        str | None, typer.Argument(help="One model; all of them without.", autocompletion=complete.models)
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List the reference models: parameters and multiply-accumulates, published beside measured.

    Of one model, its stages are listed too, with the kinds of operations that they are made of.

    Examples: `mobilekit models` · `mobilekit models ghostnetv2 --json`
    """
    from mobilekit.models.names import check_registered

    if name:
        check_registered(name)
    from mobilekit.cli.render.models import model_report, models_table
    from mobilekit.models.analysis.summary import summarize
    from mobilekit.models.registry import find_model, model_names

    names = [name] if name else model_names()
    found = [summarize(find_model(each), with_stages=bool(name)) for each in names]
    if as_json:
        print_json([each.to_json() for each in found])
    else:
        print_whole(model_report(found[0]) if name else models_table(found))
