"""What all pages have: style, scripts, charts, and the policy that lets a browser load and run nothing else."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from mobilekit.cli.render.format import NOTHING, figure, megabytes, percent
from mobilekit.cli.render.report.marks import SIGNS, Mark
from mobilekit.cli.render.report.themes import THEMES

_TEMPLATES = "templates"


@dataclass(frozen=True)
class Chart:
    """A picture, which its page's script draws."""

    name: str
    """Its id on the page."""
    words: str
    """What it shows, in a sentence, for who does not see it."""
    spec: Mapping[str, Any]
    """Of Vega-Lite, with its data."""


def render(template: str, **content: Any) -> str:
    """Return a page.

    Args:
        template: Name of its template.
        content: What that shows. `Chart`s may be anywhere in it.
    """
    environment = Environment(
        loader=PackageLoader(__package__, _TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "figure": figure,
        "percent": percent,
        "megabytes": megabytes,
        "mark": _mark,
        "prose": _prose,
        "chart": _chart,
        "data": _data,
    }
    scripts = [charts_library(), _resource("page.js")]
    shared = {
        "style": Markup(_resource("page.css")),  # noqa: S704  (our own file)
        "scripts": [Markup(script) for script in scripts],  # noqa: S704  (as above, and the library's)
        "policy": _policy(scripts),
        "themes": THEMES,
        "nothing": NOTHING,
    }
    return environment.get_template(template).render(**shared, **content)


@cache
def charts_library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which defines `vegaEmbed`."""
    import vl_convert  # loads 60 MB of code

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return script.replace("</script", "<\\/script")  # which would end the element that it stands in


def _policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy: these scripts run, no other does, and nothing is loaded."""
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:"


def _resource(name: str) -> str:
    return (files(__package__) / _TEMPLATES / name).read_text(encoding="utf-8")


def _prose(text: str) -> Markup:
    """Return a sentence whose parts in backticks are code."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(each) if odd % 2 else each for odd, each in enumerate(parts)
    )


def _mark(mark: Mark) -> Markup:
    """Return a sign that screen readers speak as words."""
    return Markup('<span class="mark {}" title="{}"><span aria-hidden="true">{}</span>{}</span>').format(
        mark.verdict,
        mark.words,
        mark.sign or SIGNS[mark.verdict],
        Markup('<span class="spoken">{}</span>').format(mark.words),
    )


def _chart(chart: Chart) -> Markup:
    """Return the place of a chart, and its data. Vega names the element that it draws into, so its words are around."""
    place = Markup('<div role="img" aria-label="{}"><div class="chart" id="{}" aria-hidden="true"></div></div>')
    return place.format(chart.words, chart.name) + _data(chart.spec, f"{chart.name}-spec")


def _data(content: Any, name: str) -> Markup:
    """Return JSON for the page's script, by the id that it has there; no character in it ends an element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup('<script type="application/json" id="{}">{}</script>').format(name, Markup(text))  # noqa: S704
