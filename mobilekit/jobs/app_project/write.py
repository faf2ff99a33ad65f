"""Write a project from a bundle and the templates of a platform."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from mobilekit.errors import UsageError
from mobilekit.jobs.app_project.facts import AppFacts, facts_of
from mobilekit.jobs.app_project.platforms import PLATFORMS
from mobilekit.jobs.goldens.make import make_goldens
from mobilekit.jobs.goldens.result import GOLDENS, Goldens
from mobilekit.store.bundle import Bundle, refuse_inside_bundle
from mobilekit.store.files import whole_folder, write_atomic, write_json
from mobilekit.store.manifest import Tensor
from mobilekit.store.result import Result

Progress = Callable[[str], None]

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each platform, with the files of a project; and one with what several include."""
_SUFFIX = ".j2"
"""Of what depends on the model."""


@dataclass(frozen=True)
class AppProject(Result):
    """A project that was written."""

    platform: str
    folder: str
    name: str
    """What the app is called."""
    files: tuple[str, ...]
    """Of the bundle that it runs, the first if no other is chosen."""
    left_out: dict[str, str]
    """Why the platform's runtime does not take a file, by its name."""
    labels: int
    """How many classes have a name."""
    cases: int
    """Of the golden test."""
    notes: tuple[str, ...]
    """What to know of it."""


@dataclass(frozen=True)
class AppRequest:
    """What a project is to be.

    Args:
        platform: A name of `PLATFORMS`.
        output: The folder to make.
        precisions: Of the TFLite files, the first of which runs; all without.
        labels: A file with the names of the classes; the recipe's without.
        name: What the app is called; as the model without.
        count: Cases of the golden test.
        inputs: Pictures for it; the recipe's built-in evaluation data without.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one; for the tolerances of GPUs alone.
    """

    platform: str
    output: Path
    precisions: Sequence[str] | None = None
    labels: Path | None = None
    name: str | None = None
    count: int = 2
    inputs: Path | None = None
    reference: str | None = None


def write_project(bundle: Bundle, request: AppRequest, progress: Progress = lambda _message: None) -> AppProject:
    """Write a project whole or not at all.

    Raises:
        UsageError: Something is in the way, or the bundle does not say enough: see `facts_of` and `make_goldens`.
        ToolError: A file cannot be run.
    """
    output, platform = request.output, PLATFORMS[request.platform]
    _check_place(output)
    facts = facts_of(bundle, request.platform, request.count, request.precisions, request.labels, request.name)
    with whole_folder(output) as folder:
        made = _make_goldens(bundle, request, facts, folder, progress)
        facts = replace(facts, cases=len(made.cases))
        (folder / platform.models).mkdir(parents=True, exist_ok=True)
        for each in facts.files:
            shutil.copyfile(bundle.path / each.file, folder / platform.models / each.file)
        if facts.labels:
            text = "".join(f"{' '.join(label.split())}\n" for label in facts.labels)
            write_atomic(folder / platform.labels, text)
        for path, text in rendered(request.platform, facts):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(folder / path, text)
    notes = made.notes if platform.has_gpu else ()
    if platform.note:
        notes += (platform.note,)
    if facts.has_scores and not facts.labels:
        notes += ("Nobody named the classes: they are shown as numbers. --labels FILE names them.",)
    files = tuple(each.file for each in facts.files)
    return AppProject(
        request.platform,
        str(output),
        facts.name,
        files,
        dict(facts.left_out),
        len(facts.labels),
        facts.cases,
        notes,
    )


def _check_place(output: Path) -> None:
    refuse_inside_bundle(output)
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        what = "is not empty" if output.is_dir() else "is a file"
        raise UsageError(f"{output} {what}; it is kept.", "Choose another place with -o.")


def _make_goldens(bundle: Bundle, request: AppRequest, facts: AppFacts, folder: Path, progress: Progress) -> Goldens:
    """Write the goldens of the app's files, which name the project's own folder of files."""
    platform = PLATFORMS[request.platform]
    goldens = folder / platform.goldens
    files = [each.file for each in facts.files]
    made = make_goldens(
        bundle, goldens, request.count, request.inputs, request.reference, progress=progress, files=files
    )
    place = Path(os.path.relpath(folder / platform.models, goldens)).as_posix()
    write_json(goldens / GOLDENS, replace(made, bundle=place).to_json())
    return made


def rendered(platform: str, facts: AppFacts) -> Iterator[tuple[str, str]]:
    """Yield what the templates of a platform make of the facts: the path in the project, and the text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(("html.j2", "xml.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tensor"] = tensor_words
    for name in environment.list_templates(filter_func=lambda name: name.startswith(f"{platform}/")):
        path = name.removeprefix(f"{platform}/")
        if path.endswith(_SUFFIX):
            yield path.removesuffix(_SUFFIX), environment.get_template(name).render(vars(facts))
        else:  # the same for every model
            yield path, (TEMPLATES / name).read_text(encoding="utf-8")


def tensor_words(tensor: Tensor) -> str:
    """Return a tensor in words: its name, numbers and shape, and the scale of quantized numbers."""
    shape = "x".join("?" if size is None else str(size) for size in tensor.shape)
    scale = "" if tensor.scale is None else f", {tensor.scale:.6g} x (number - {tensor.zero_point})"
    layout = f" {tensor.layout}" if tensor.layout else ""
    return f"{tensor.name}: {tensor.dtype} {shape}{layout}{scale}"
