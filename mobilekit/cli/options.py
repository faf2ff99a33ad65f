"""The arguments and options that several commands have, each declared once.

What a name or a path must be is checked as it is read, before torch is imported; where an option means something only
with another (`only_with`), whether it belongs there is asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from mobilekit.cli import complete
from mobilekit.cli.option_values import existing_pictures, split_frame, split_size, split_words
from mobilekit.errors import UsageError, nearest
from mobilekit.store.stages import check_forms, check_precisions

_MODEL = "A registered model, timm:NAME, torchvision:NAME, hf:FOLDER, hf:NAME, or FILE.py:FACTORY"
_CALIBRATION = (
    "Folder of images, or .npz by input names, that int8 is calibrated on; the recipe's built-in data without."
)
_REFERENCE = "The model's FILE.py:FACTORY, for a bundle that was exported from one."
_PRECISIONS = "Of float32, float16, dynamic, int8, int16x8, separated by commas; {without} without."
_LOOKED_INTO = (
    "Of float32, float16, dynamic, int8, int16x8, pte-float32, pte-float16, pte-int8, separated by commas; "
    "all of the bundle's without."
)
_FORMS = (
    "Of float32, float16, dynamic, int8, int16x8, onnx-int8 and onnx-int16x8 as quantized ONNX files, pte-float32, "
    "pte-float16 and pte-int8 for ExecuTorch, mlpackage for Core ML, separated by commas; the recipe's without."
)
_WEIGHTS = (
    "Checkpoint: .safetensors, or PyTorch's without code; `none` draws weights anew, and calibrates the batch norms; "
    "`pretrained` takes those of timm, torchvision or the hub, and downloads what is not there."
)
_RECIPE = "Name or YAML file of a recipe; the model's own without."
_INPUTS = (
    "Folder of images, or of a folder for each class; CSV of files and labels; or .npz with arrays by input names, "
    "perhaps `labels`."
)
_BINARY = (
    "A benchmark_model, or the version of one to download; without, the one on the device or on PATH. For .pte files "
    "an executor_runner."
)


def _known_model(name: str) -> str:
    from mobilekit.models.names import check_name

    check_name(name)
    return name


def _known_model_or_bundle(name: str) -> str:
    return name if Path(name).is_dir() else _known_model(name)


def _known_recipe(name: str | None) -> str | None:
    if name is not None:
        from mobilekit.recipes.load import load_recipe

        load_recipe(name)
    return name


def _known_precisions(text: str | None) -> str | None:
    words = split_words(text)
    if words is not None:
        check_precisions(words)
    return text


def _known_forms(text: str | None) -> str | None:
    words = split_words(text)
    if words is not None:
        check_forms(words)
    return text


def _size(text: str | None) -> str | None:
    split_size(text)
    return text


def _frame(text: str | None) -> str | None:
    split_frame(text)
    return text


def _known_rewrite(name: str | None) -> str | None:
    if name is not None:
        from mobilekit.rewrites.names import installed_names, own_names

        known = [*own_names(), *installed_names()]
        if name not in known:
            raise UsageError(f"There is no rewrite {name}.", nearest(name, known))
    return name


def _weights_file(path: Path | None) -> Path | None:
    from mobilekit.models.names import NO_WEIGHTS, PRETRAINED

    if path is not None and path not in (NO_WEIGHTS, PRETRAINED) and not path.is_file():
        raise UsageError(f"There is no weights file {path}.")
    return path


def _writable(path: Path | None) -> Path | None:
    """See before the work that a file can be written after it."""
    if path is not None and not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent} for {path.name}.", "Make it first, or give another path.")
    if path is not None and path.is_dir():
        raise UsageError(f"{path} is a folder.", "Give the path of a file.")
    return path


def _plottable(path: Path | None) -> Path | None:
    if path is not None:
        from mobilekit.cli.render.plots import check_place

        check_place(path)
    return path


def _checked(check: Callable[[Any], Any]) -> Callable[[typer.Context, Any], Any]:
    """Return a callback that checks a value, unless it is only looked at to complete a command line."""

    def callback(context: typer.Context, value: Any) -> Any:
        return value if context.resilient_parsing else check(value)

    return callback


def only_with(switch: str, text: str) -> str:
    """Return the help of an option that means nothing without another: `With --layers: ...`."""
    return f"With {switch}: {text[0].lower()}{text[1:]}"


Model = Annotated[
    str, typer.Argument(help=f"{_MODEL}.", callback=_checked(_known_model), autocompletion=complete.models)
]
ModelOrBundle = Annotated[
    str,
    typer.Argument(
        help=f"{_MODEL}, or a bundle's folder.",
        callback=_checked(_known_model_or_bundle),
        autocompletion=complete.models,
    ),
]
BundleFolder = Annotated[Path, typer.Argument(help="Folder that `mobilekit export` made.")]
Recipe = Annotated[
    str | None,
    typer.Option(
        help=_RECIPE,
        callback=_checked(_known_recipe),
        autocompletion=complete.recipes,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(help=_WEIGHTS, callback=_checked(_weights_file)),
]
CandidateRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help=only_with("--candidate", _RECIPE),
        autocompletion=complete.recipes,
    ),
]
CandidateWeights = Annotated[
    Path | None,
    typer.Option("--weights", help=only_with("--candidate", _WEIGHTS)),
]
Inputs = Annotated[Path | None, typer.Option(help=_INPUTS, callback=_checked(existing_pictures))]
InputsOrCount = Annotated[str | None, typer.Option("--inputs", metavar="PATH", help=_INPUTS)]
LayersInputs = Annotated[Path | None, typer.Option("--inputs", help=only_with("--layers", _INPUTS))]
Pictures = Annotated[
    Path,
    typer.Option(
        help="Folder of images, or .npz by input names, to train on; labels are not read, and one of five is kept back "
        "to measure on.",
        callback=_checked(existing_pictures),
    ),
]
Calibration = Annotated[Path | None, typer.Option(help=_CALIBRATION, callback=_checked(existing_pictures))]
Precisions = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help=_FORMS,
        callback=_checked(_known_forms),
        autocompletion=complete.forms,
    ),
]
GoldenPrecisions = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help=_PRECISIONS.format(without="all"),
        callback=_checked(_known_precisions),
        autocompletion=complete.precisions,
    ),
]
GoldenForms = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help=_FORMS.replace("the recipe's", "all that the runtime runs"),
        callback=_checked(_known_forms),
        autocompletion=complete.forms,
    ),
]
OneRewrite = Annotated[
    str | None,
    typer.Option(
        "--rewrite",
        help="This rewrite alone, whether the recipe names it or not.",
        callback=_checked(_known_rewrite),
        autocompletion=complete.rewrites,
    ),
]
ApproximateRewrite = Annotated[
    str,
    typer.Option(
        "--rewrite",
        help="An approximate rewrite.",
        callback=_checked(_known_rewrite),
        autocompletion=complete.rewrites,
    ),
]
InputSize = Annotated[
    str | None,
    typer.Option(
        metavar="N|HEIGHTxWIDTH",
        help="In pixels: one number for both, or height and width, such as 256x192.",
        callback=_checked(_size),
    ),
]
Batch = Annotated[int | None, typer.Option(min=1, max=1024, help="How many inputs the files take at once; 1 without.")]
Labels = Annotated[
    Path | None, typer.Option(help="File with the names of the classes, a line each, in the order of the outputs.")
]
Channels = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="Of inputs that are no pictures: --calibration and --inputs are .npz."),
]
Color = Annotated[str | None, typer.Option(help="Order of a picture's channels: rgb, bgr, gray or rgba.")]
Crop = Annotated[
    float | None,
    typer.Option(min=0.01, max=1, help="Share of a picture's shorter side that is kept; 1 is the whole side."),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help="How a picture gets its size: crop, stretch or pad; bilinear, bicubic, area, nearest or lanczos; plain "
        "for no antialiasing. Words with commas: stretch,bilinear,plain.",
    ),
]
Mean = Annotated[str | None, typer.Option(help="Of values in 0..1, a channel each, 0.485,0.456,0.406; or one for all.")]
InputDtype = Annotated[
    str | None,
    typer.Option(help="What files take of a picture: float32, as mean and std make it; or uint8, its bytes 0 to 255."),
]
InputFrom = Annotated[
    str | None,
    typer.Option(
        metavar="frame:HEIGHTxWIDTH",
        help="The picture that files take, as an app has it: they crop, scale and normalize it themselves.",
        callback=_checked(_frame),
    ),
]
Std = Annotated[str | None, typer.Option(help="Likewise: 0.229,0.224,0.225; or one for all.")]
MaxTop1Drop = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Fail where a file is right on this share of labeled inputs less: 0.01 is 1 %."),
]
Targets = Annotated[
    str | None,
    typer.Option(
        "--target",
        help="Ask these targets' own compilers what they take: `cpu,gpu`; `npu` is qnn:SM8650 and vela:u55-256.",
        autocompletion=complete.targets,
    ),
]
Reference = Annotated[str | None, typer.Option(help=_REFERENCE)]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists there; an export is made anew.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Take nothing from earlier exports.")]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="Leave nothing where a file cannot be made, opened or run; fail where a stage is unjudged."
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", min=1, help="Processors to use: 1 takes less memory; without, 2 where there are as many."),
]
StrictDiff = Annotated[bool, typer.Option("--strict", help="Fail where a stage is unjudged.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="With the figures of proofs, and where each limit is from.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Junit = Annotated[
    Path | None, typer.Option(help="Write a JUnit file, with a test for each comparison.", callback=_checked(_writable))
]
Markdown = Annotated[
    Path | None, typer.Option(help="Write a summary as Markdown, as CI jobs show it.", callback=_checked(_writable))
]
Sarif = Annotated[
    Path | None,
    typer.Option(help="Write SARIF 2.1.0: a result for each failed comparison.", callback=_checked(_writable)),
]
Fleet = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML file of a fleet: `mobilekit schema fleet`."),
]
Core = Annotated[
    str | None,
    typer.Option(
        help=only_with("--device emulated", "Count the instructions of a53, a55, a76, x1 or x2, and measure no time."),
        autocompletion=complete.cores,
    ),
]
SaveBaseline = Annotated[
    Path | None, typer.Option(help="Keep the figures for --baseline.", callback=_checked(_writable))
]
Plot = Annotated[Path | None, typer.Option(help="Draw the figures: .png or .svg.", callback=_checked(_plottable))]

Threads = Annotated[int, typer.Option(min=1, max=64, help="Threads of the runtime.")]
Runs = Annotated[int, typer.Option(min=1, max=10000, help="Inferences of a run.")]
Seed = Annotated[int, typer.Option(help="Of the order in which files run.")]
AdbServer = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Another adb server.")]
BenchmarkBinary = Annotated[str | None, typer.Option(metavar="FILE|VERSION", help=_BINARY)]
DeviceBenchmarkBinary = Annotated[
    str | None,
    typer.Option("--benchmark-binary", metavar="FILE|VERSION", help=only_with("--device adb", _BINARY)),
]

Layers = Annotated[
    bool,
    typer.Option("--layers", help="Look inside too: convert a tapped copy, and compare every module's values."),
]
LayersCalibration = Annotated[
    Path | None,
    typer.Option("--calibration", help=only_with("--layers", _CALIBRATION)),
]
DiffCalibration = Annotated[
    Path | None,
    typer.Option("--calibration", help=only_with("--layers or --candidate", _CALIBRATION)),
]
LayersPrecisions = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help=only_with("--layers", _LOOKED_INTO),
        autocompletion=complete.forms,
    ),
]
LayersReference = Annotated[str | None, typer.Option("--reference", help=only_with("--layers", _REFERENCE))]
RebuildCalibration = Annotated[
    Path | None,
    typer.Option("--calibration", help=only_with("--rebuild", _CALIBRATION)),
]
RebuildReference = Annotated[str | None, typer.Option("--reference", help=only_with("--rebuild", _REFERENCE))]
