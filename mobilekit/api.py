"""What Python code calls: the jobs of the command line, with the same rules and errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mobilekit.jobs import diff as differ
from mobilekit.jobs import export as exporter
from mobilekit.jobs.adjust import adjust
from mobilekit.jobs.build import as_tensors, build
from mobilekit.jobs.examples import Examples, for_examples
from mobilekit.jobs.notebook import show_steps
from mobilekit.jobs.request import ExportRequest
from mobilekit.jobs.source import Source, choose_recipe
from mobilekit.models.names import folder_name
from mobilekit.models.user import live_name
from mobilekit.parity.ledger.result import Ledger
from mobilekit.recipes import load as recipes
from mobilekit.recipes.inputs.apps import find_apps
from mobilekit.recipes.inputs.calibration import read_calibration
from mobilekit.recipes.load import DEFAULT, LoadedRecipe
from mobilekit.rewrites import engine
from mobilekit.rewrites.fx.state import with_unused
from mobilekit.store.bundle import INPUT, Bundle
from mobilekit.store.bundle import open_bundle as open_folder
from mobilekit.store.cache import Cache, NoCache

PathLike = str | Path


def load_model(
    name: str,
    weights: PathLike | None = None,
    *,
    recipe: LoadedRecipe | PathLike | None = None,
    calibration: PathLike | None = None,
    **options: Any,
) -> nn.Module:
    """Return a model with weights, float32 and in evaluation mode.

    Args:
        name: A registered name, `timm:NAME`, `torchvision:NAME`, `hf:FOLDER`, `hf:NAME`, or `FILE.py:FACTORY` (whose
            code then runs).
        weights: A checkpoint; without one, the weights that come with the model, that its library has on the disk or
            that FACTORY gives it, or seeded random ones; "none" for seeded random ones in any case, "pretrained" for
            the library's, which are downloaded where they are not on the disk.
        recipe: A recipe, its name, or its file: what the model's inputs are; the model's own without.
        calibration: Folder of images, or an .npz with arrays by the names of the inputs, that the batch norms of random
            weights are set on; the recipe's built-in data without.
        options: Options of the model, such as `num_classes`.

    Raises:
        UsageError: There is no such model, option or checkpoint, or they do not fit.

    Examples:
        >>> import torch, mobilekit
        >>> model = mobilekit.load_model("ghostnetv2_digits")
        >>> model(torch.zeros(1, 1, 32, 32)).shape
        torch.Size([1, 10])
    """
    loaded = choose_recipe(name, recipe, _path(weights))
    changed = loaded.recipe.model_copy(update={"model_options": {**loaded.recipe.model_options, **options}})
    source = Source(name, replace(loaded, recipe=changed), _path(weights), _path(calibration))
    return build(source).reference.model


def load_recipe(name: PathLike) -> LoadedRecipe:
    """Return a built-in recipe by name, or the one in a YAML file.

    Raises:
        UsageError: There is none, or it is wrong; the message names file, line and nearest key.

    Examples:
        >>> import mobilekit
        >>> [step.name for step in mobilekit.load_recipe("ghostnetv2").recipe.rewrites][:3]
        ['dfc-shared', 'gate-before-upsample', 'fold-batch-norm']
    """
    return recipes.load_recipe(str(name))


def export(
    model: str | nn.Module,
    *,
    example_inputs: Examples | None = None,
    recipe: LoadedRecipe | PathLike | None = None,
    weights: PathLike | None = None,
    input_size: int | tuple[int, int] | None = None,
    num_classes: int | None = None,
    precision: Sequence[str] | None = None,
    calibration: PathLike | None = None,
    inputs: PathLike | None = None,
    color: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_dtype: str | None = None,
    frame: tuple[int, int] | None = None,
    batch: int | None = None,
    crop: float | None = None,
    resize: Sequence[str] | None = None,
    channels: int | None = None,
    labels: Sequence[str] | None = None,
    max_top1_drop: float | None = None,
    rewrites: bool = True,
    output: PathLike | None = None,
    force: bool = False,
    cache: bool = True,
    strict: bool = False,
    jobs: int | None = None,
) -> Bundle:
    """Export a model, as `mobilekit export` does, and return the bundle.

    Parity that failed is no exception, nor is a TFLite file that could not be made: `bundle.ledger["verdict"]` tells.

    Args:
        model: A module; or a registered name, `timm:NAME`, `torchvision:NAME`, `hf:FOLDER`, `hf:NAME`, or
            `FILE.py:FACTORY` (whose code then runs). A module is copied, and left as it is: the copy is exported on
            the CPU, in float32 and in evaluation mode, with its weights.
        example_inputs: A tensor (N, C, H, W), further ones in the order of forward's parameters, or a dict by their
            names. Their shapes say what the inputs are, and their values nothing.
        recipe: A recipe, its name, or its file; the model's own without.
        weights: A checkpoint, "none" or "pretrained", as in `load_model`.
        input_size: Height and width in pixels, one number for both or (height, width).
        num_classes: Number of classes of the model.
        precision: Of float32, float16, dynamic, int8, int16x8, onnx-int8, onnx-int16x8.
        calibration: Folder of pictures for int8, or an .npz with arrays by the names of the inputs.
        inputs: What stages are measured on, likewise, with labels where there are any; built-in data without.
        color: Order of a picture's channels: rgb, bgr, gray or rgba.
        mean: Of values in 0..1, for each channel, or one for all.
        std: As `mean`.
        input_dtype: What files take of a picture: float32, as mean and std make it, or uint8, its bytes 0 to 255.
        frame: Height and width of the picture that files take, and crop, scale and normalize themselves.
        batch: How many inputs the files take at once; 1 without.
        crop: Share of a picture's shorter side that is kept.
        resize: How a picture gets its size: crop, stretch or pad; bilinear, bicubic, area, nearest or lanczos; plain
            for no antialiasing.
        channels: Of inputs that are no pictures; `calibration` and `inputs` are .npz then.
        labels: Names of the model's classes, in the order of its outputs.
        max_top1_drop: The share of labeled inputs by which a file may be right less often than the reference.
        rewrites: Whether the recipe's rewrites are applied.
        output: Folder to make; `artifacts/MODEL` without.
        force: Replace a bundle that exists.
        cache: Take unchanged stages from earlier exports.
        strict: Leave nothing where a file cannot be made, opened or run.
        jobs: Processors to use: 1 takes less memory; without, 2 where there are as many.

    Raises:
        UsageError: The request cannot be carried out.
        GateError: A rewrite's proof failed.
        ToolError: The ONNX file could not be made; with `strict`, any file could not be made, opened or run.
    """
    picture = {
        "color": color,
        "mean": mean,
        "std": std,
        "dtype": input_dtype,
        "frame": frame,
        "batch": batch,
        "crop": crop,
        "resize": resize,
        "channels": channels,
    }
    module = model if isinstance(model, nn.Module) else None
    name = model if isinstance(model, str) else live_name(model)
    chosen = choose_recipe(name, recipe, _path(weights))
    if example_inputs is not None:
        chosen = for_examples(chosen, example_inputs, module)
    loaded = adjust(chosen, input_size, num_classes, precision, rewrites, picture, labels, max_top1_drop)
    request = ExportRequest(
        Source(name, loaded, _path(weights), _path(calibration), _path(inputs), module=module),
        output=Path(output) if output else Path("artifacts") / folder_name(name),
        force=force,
        strict=strict,
        jobs=jobs,
    )
    return exporter.export(request, Cache.default() if cache else NoCache()).bundle


def rewrite(
    model: nn.Module,
    recipe: LoadedRecipe | PathLike = DEFAULT,
    calibration: torch.Tensor | Mapping[str, torch.Tensor] | PathLike | None = None,
    prove: bool = True,
    *,
    example_inputs: Examples | None = None,
) -> nn.Module:
    """Apply a recipe's rewrites to a model, and return it as a module that can be trained.

    The result is a torch.fx.GraphModule in float32 and in evaluation mode; `train()` puts its batch norms and dropout
    layers to work, and every parameter takes gradients. What the model's code decided in evaluation mode, such as a
    dropout that it calls as a function, stays decided. It takes inputs of the recipe's height and width, of any batch
    where the model takes any: rewrite the model anew for another size.

    Its state has the keys of the model's own, but for the layers that a rewrite changed: `meta["state_changes"]` lists
    which `step` took which keys away (`gone`) and made which others of them (`new`). So `load_state_dict` gives a model
    that is rewritten again the trained weights, and where nothing is listed, the original's class as well.

    Args:
        model: The model, float32; left as it is.
        recipe: A recipe, its name, or its file; the exact rewrites of `default` without. Leave `fold-batch-norm` and
            `merge-branches` to the export: a model trains better with its batch norms and its branches.
        calibration: float32 images (N, C, H, W), inputs (N, ...) by name, or a folder or .npz of them, for fits and
            drifts; the recipe's built-in data without.
        prove: Prove what is exact, and hold what is approximate to the recipe's limits.
        example_inputs: As `export` takes them; without, the recipe says the shapes of the inputs.

    Raises:
        GateError: A proof failed, or a drift is above its limit.
        UsageError: The recipe or the model cannot be used.

    Examples:
        >>> import torch, mobilekit
        >>> model = mobilekit.load_model("ghostnetv2_digits")
        >>> rewritten = mobilekit.rewrite(model, "ghostnetv2_digits").train()
        >>> [sum(isinstance(part, torch.nn.BatchNorm2d) for part in net.modules()) for net in (model, rewritten)]
        [122, 0]
        >>> rewritten(torch.zeros(2, 1, 32, 32)).sum().backward()
        >>> all(parameter.grad is not None for parameter in rewritten.parameters())
        True
    """
    loaded = recipe if isinstance(recipe, LoadedRecipe) else load_recipe(recipe)
    if example_inputs is not None:
        loaded = for_examples(loaded, example_inputs, model)
    if calibration is None or isinstance(calibration, str | Path):
        calibration = as_tensors(read_calibration(loaded.recipe, _path(calibration)))
    inputs = {INPUT: calibration} if isinstance(calibration, torch.Tensor) else dict(calibration)
    rewritten = engine.rewrite(model, loaded, inputs, prove=prove)
    graph = with_unused(rewritten.graph)
    graph.meta["state_changes"] = rewritten.state_changes
    show_steps(graph, rewritten.steps)
    return graph.requires_grad_(True)


def diff(
    bundle: Bundle | PathLike,
    inputs: PathLike | None = None,
    reference: str | nn.Module | None = None,
    *,
    app: str | None = None,
) -> Ledger:
    """Measure every stage of a bundle anew, as `mobilekit diff` does.

    Args:
        bundle: A bundle or its folder.
        inputs: Folder of pictures, or .npz with arrays by name; the recipe's built-in data without.
        reference: The module, or `FILE.py:FACTORY`, for a bundle that was exported from one.
        app: Software that scales the pictures in an app, and mistakes, separated by commas, or "all": `apps` of the
            ledger has a row of each.

    Raises:
        UsageError: The bundle or the inputs cannot be used, or there is no such app.
        ToolError: An artifact cannot be run.
    """
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    apps = find_apps(app) if app else ()
    return differ.diff(opened, Path(inputs) if inputs else None, reference=reference, apps=apps)


def open_bundle(path: PathLike) -> Bundle:
    """Open the folder that an export made.

    Raises:
        UsageError: It is not a bundle.
    """
    return open_folder(Path(path))


def _path(path: PathLike | None) -> Path | None:
    return Path(path) if path else None
