"""A bundle as a model card: Markdown behind the front matter that the Hugging Face Hub reads.

Its fields: https://huggingface.co/docs/hub/model-cards#model-card-metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from mobilekit.cli.render.format import count
from mobilekit.cli.render.ledger_markdown import diff_markdown
from mobilekit.cli.render.markdown import plain, table
from mobilekit.cli.results import DiffResult

TIMES, COUNTS = "## Bench on ", "## Instructions of "
"""How the sections begin that a card takes."""
_FORMATS = {
    "tflite": ("TFLite", ("tflite", "litert")),
    "onnx": ("ONNX", ("onnx",)),
    "pte": ("ExecuTorch", ("executorch",)),
    "mlpackage": ("Core ML", ("coreml",)),
}
"""What each suffix of a bundle's files is called, and the Hub's tags of it."""
_MB = 1e6
_FOLDERS = re.compile(r"(?<![\w./])(?:/[^\s/|]+)+/(?=[^\s/|])")
"""Of absolute paths: a card is public, and whose disk it was is nobody's business."""


def card_markdown(
    name: str,
    manifest: Mapping[str, Any],
    result: DiffResult,
    sizes: Mapping[str, int],
    outside: Mapping[str, int],
    license_id: str,
    costs: Sequence[str],
) -> str:
    """Return the card of a bundle.

    Args:
        name: What it is called on the card.
        manifest: As in the bundle.
        result: Its ledger.
        sizes: Bytes of each file by its name.
        outside: How many ops no delegate runs, of files that say so.
        license_id: The Hub's word for the weights' license; empty where nobody said it.
        costs: Sections that `mobilekit bench --markdown` wrote, of times and of counts.
    """
    head = yaml.safe_dump(_front_matter(manifest, license_id), sort_keys=False, allow_unicode=True)
    sections = (
        f"# {plain(name)}\n\n" + "\n".join(_what(manifest, license_id)),
        "## What goes in\n\n" + "\n".join(_input(manifest)),
        "## Files\n\n" + "\n".join(_files(manifest, result, sizes, outside)),
        diff_markdown(result, name),
        *costs,
        "## What it is not\n\n" + "\n".join(f"- {each}" for each in _limits(manifest, result, license_id, costs)),
        "## Made with\n\n" + _tools(manifest),
    )
    body = "\n\n".join(part.strip() for part in sections if part.strip())
    return f"---\n{head}---\n\n{_FOLDERS.sub('', body)}\n"


def _front_matter(manifest: Mapping[str, Any], license_id: str) -> dict[str, Any]:
    task = {"pipeline_tag": "image-classification"} if manifest["recipe"]["content"].get("labels") else {}
    tags = [tag for suffix in _suffixes(manifest) for tag in _FORMATS[suffix][1]]
    return {**({"license": license_id} if license_id else {}), **task, "tags": ["mobilekit", *tags]}


def _what(manifest: Mapping[str, Any], license_id: str) -> Iterator[str]:
    model = manifest["model"]
    *others, last = [_FORMATS[suffix][0] for suffix in _suffixes(manifest)]
    formats = f"{', '.join(others)} and {last}" if others else last
    yield f"`{model['name']}` as {formats} files, exported by mobilekit and measured against PyTorch."
    yield ""
    yield f"- weights: {plain(model['weights']['source'])} (SHA-256 `{model['weights']['sha256']}`)"
    yield f"- license: {plain(license_id) if license_id else 'nobody said it'}"
    labels = manifest["recipe"]["content"].get("labels") or ()
    if labels:
        yield f"- classes: {len(labels)}, {plain(labels[0])} to {plain(labels[-1])}"


def _suffixes(manifest: Mapping[str, Any]) -> list[str]:
    """Return the suffixes of a bundle's files, in the order of the table; `model.onnx` is always there."""
    found = {name.rpartition(".")[2] for name in manifest["artifacts"]}
    return [suffix for suffix in _FORMATS if suffix in found]


def _input(manifest: Mapping[str, Any]) -> list[str]:
    """Return how a picture becomes the input, as the manifest has it, and where each thing is from."""
    rows = [(str(key).replace("_", " "), _value(value)) for key, value in manifest["input"].items()]
    given = [(each["what"], each["value"], each["origin"]) for each in manifest.get("given", ())]
    lines = table(("preprocessing", "value"), rows)
    return [*lines, "", *table(("said of", "value", "by"), given)] if given else lines


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _files(
    manifest: Mapping[str, Any], result: DiffResult, sizes: Mapping[str, int], outside: Mapping[str, int]
) -> list[str]:
    """Return a line for each file: what it takes and gives, how XNNPACK cuts it, and its digest."""
    rows = []
    for name, entry in manifest["artifacts"].items():
        facts = result.artifacts.get(name)
        partitions = facts.partitions if facts else None
        beside = f", {count(outside[name], 'op')} outside" if outside.get(name) else ""
        rows.append(
            (
                name,
                f"{sizes[name] / _MB:.2f}" if name in sizes else "missing",
                ", ".join(map(_tensor, entry["inputs"])),
                ", ".join(map(_tensor, entry["outputs"])),
                "" if partitions is None else f"{partitions}{beside}",
                manifest["files"].get(name) or "of each file in it: manifest.json",
            )
        )
    return table(("file", "MB", "takes", "gives", "XNNPACK partitions", "SHA-256"), rows)


def _tensor(tensor: Mapping[str, Any]) -> str:
    return f"{tensor['name']} {tensor['dtype']} {'x'.join(map(str, tensor['shape']))}"


def _limits(manifest: Mapping[str, Any], result: DiffResult, license_id: str, costs: Sequence[str]) -> Iterator[str]:
    """Yield what a reader must not take for granted."""
    if not manifest["model"]["weights"]["trained"]:
        yield "The weights were not trained: what it says of a picture means nothing."
    if result.reference_top1 is None:
        yield "Nobody measured how often it is right: the figures above are differences from PyTorch."
    for failed in result.failed_stages:
        yield plain(f"{failed.stage} could not be made: {failed.reason}")
    for each in result.not_run:
        yield plain(f"{each.stage} was not run: {each.reason}. Nothing is known of its outputs.")
    if not any(section.startswith(TIMES) for section in costs):
        yield "Nobody measured its latency: `mobilekit bench` does."
    if not license_id:
        yield "Its license is not known here: `mobilekit card --license` says it."


def _tools(manifest: Mapping[str, Any]) -> str:
    recipe, tools = manifest["recipe"]["name"], manifest["tools"]
    return f"Recipe {plain(recipe)}; " + ", ".join(f"{plain(k)} {plain(str(v))}" for k, v in tools.items()) + "."
