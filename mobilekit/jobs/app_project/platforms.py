"""What apps run on: which files its runtimes take, and where a project has them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata

from mobilekit.store.manifest import File


@dataclass(frozen=True)
class Platform:
    """One platform. Its templates lie in the folder of its name."""

    formats: tuple[str, ...]
    """Of the files that its runtimes open."""
    why_not: Callable[[File], str | None]
    """Return why they do not take one of these."""
    versions: Callable[[], Mapping[str, str]]
    """Return the packages that a project asks for."""
    models: str
    """Folder of the files in a project."""
    labels: str
    """Where the names of the classes are."""
    goldens: str
    """Folder of the goldens."""
    next_steps: str
    """What to do in the project's folder, a line."""
    has_gpu: bool = False
    """Whether its golden test runs files on a GPU, too."""
    note: str = ""
    """What to know of every such project."""


_WEB_DTYPES = ("float32", "int32", "uint8")
"""That LiteRT.js 2.5 takes and gives."""
_WEB_PACKAGES = {"@litertjs/core": "2.5.3", "@litertjs/wasm-utils": "2.5.3", "onnxruntime-web": "1.30.0"}
"""With which the project's golden test was seen to pass."""

_ANDROID_PACKAGES = {
    "com.android.application": "9.3.1",
    "org.jetbrains.kotlin.android": "2.4.10",
    "gradle": "9.5.0",
    "com.google.ai.edge.litert:litert": "2.3.0",
    "com.google.ai.edge.litert:litert-gpu": "2.3.0",
    "androidx.test:runner": "1.7.0",
    "androidx.test.ext:junit": "1.3.0",
}
"""With a `:` what an app or its test depends on. Nothing was built with them here."""


def _not_on_the_web(file: File) -> str | None:
    """Return what LiteRT.js refuses in a TFLite file; ONNX Runtime Web takes all that is exported."""
    other = [each for each in (*file.inputs, *file.outputs) if each.dtype not in _WEB_DTYPES]
    if file.format != "tflite" or not other:
        return None
    advice = "; export with `int8: {io: float32}`, or take model.onnx" if other[0].dtype in ("int8", "int16") else ""
    return f"LiteRT.js takes and gives {', '.join(_WEB_DTYPES)}, and its {other[0].name} is {other[0].dtype}{advice}"


def _installed() -> dict[str, str]:
    """Return the versions that the files were measured with here, as the lowest of their major version."""
    there = {name: metadata.version(name) for name in ("ai-edge-litert", "numpy", "pillow")}
    return {name: f">={version},<{int(version.split('.')[0]) + 1}" for name, version in there.items()}


PLATFORMS: Mapping[str, Platform] = {
    "python": Platform(
        ("tflite",),
        lambda _file: None,
        _installed,
        "model",
        "labels.txt",
        "goldens",
        "pip install -r requirements.txt && python -m unittest",
    ),
    "web": Platform(
        ("tflite", "onnx"),
        _not_on_the_web,
        lambda: _WEB_PACKAGES,
        "model",
        "labels.txt",
        "goldens",
        "npm install && npm test && npm start",
    ),
    "android": Platform(
        ("tflite",),
        lambda _file: None,
        lambda: _ANDROID_PACKAGES,
        "app/src/main/assets",
        "app/src/main/assets/labels.txt",
        "app/src/androidTest/assets/goldens",
        "gradle connectedAndroidTest",
        has_gpu=True,
        note="It was not built here: that needs the Android SDK and Google's Maven repository, as its README.md says.",
    ),
}
