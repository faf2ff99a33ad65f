"""What apps run on: which files its runtimes take, and where a project has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata

from mobilekit.store.manifest import File


@dataclass(frozen=True)
class Platform:
    """One platform. Its templates lie in the folder of its name."""

    runtime: str
    """What opens TFLite files there."""
    versions: Mapping[str, str]
    """Of the packages that a project asks for."""
    next_steps: str
    """What to do in the project's folder, a line."""
    dtypes: tuple[str, ...] = ()
    """Number formats that the runtime takes and gives; all of a bundle's without."""
    formats: tuple[str, ...] = ("tflite",)
    """Of the files that a project gets."""
    models: str = "model"
    """Folder of the files in a project."""
    labels: str = "labels.txt"
    """Where the names of the classes are."""
    goldens: str = "goldens"
    """Folder of the goldens."""
    has_gpu: bool = False
    """Whether its golden test runs files on a GPU, too."""
    note: str = ""
    """What to know of every such project."""

    def why_not(self, file: File) -> str | None:
        """Return why the runtime does not take a file; None where it does. ONNX files are for one that takes all."""
        other = [each for each in (*file.inputs, *file.outputs) if self.dtypes and each.dtype not in self.dtypes]
        if file.format != "tflite" or not other:
            return None
        known = f"{self.runtime} takes and gives {', '.join(self.dtypes)}, and its {other[0].name} is {other[0].dtype}"
        if other[0].dtype not in ("int8", "int16"):
            return known
        other_file = ", or take model.onnx" if "onnx" in self.formats else ""
        return f"{known}; export with `int8: {{io: float32}}`{other_file}"


def _installed() -> dict[str, str]:
    """Return the versions that the files were measured with here, as the lowest of their major version."""
    there = {name: metadata.version(name) for name in ("ai-edge-litert", "numpy", "pillow")}
    return {name: f">={version},<{int(version.split('.')[0]) + 1}" for name, version in there.items()}


PLATFORMS: Mapping[str, Platform] = {
    "python": Platform(
        "LiteRT",
        _installed(),
        "pip install -r requirements.txt && python -m unittest",
    ),
    "web": Platform(
        "LiteRT.js",
        # With which the golden test was seen to pass.
        {"@litertjs/core": "2.5.3", "@litertjs/wasm-utils": "2.5.3", "onnxruntime-web": "1.30.0"},
        "npm install && npm test && npm start",
        dtypes=("float32", "int32", "uint8"),  # of LiteRT.js 2.5
        formats=("tflite", "onnx"),
    ),
    "android": Platform(
        "LiteRT's Kotlin API",
        # What has a `:` the app or its test depends on. Nothing was built with these here.
        {
            "com.android.application": "9.3.1",
            "org.jetbrains.kotlin.android": "2.4.10",
            "gradle": "9.5.0",
            "com.google.ai.edge.litert:litert": "2.3.0",
            "com.google.ai.edge.litert:litert-gpu": "2.3.0",
            "androidx.test:runner": "1.7.0",
            "androidx.test.ext:junit": "1.3.0",
        },
        "gradle connectedAndroidTest",
        dtypes=("float32", "int8", "uint8", "int32", "int64", "bool"),  # of LiteRT 2.3
        models="app/src/main/assets",
        labels="app/src/main/assets/labels.txt",
        goldens="app/src/androidTest/assets/goldens",
        has_gpu=True,
        note="It was not built here: that needs the Android SDK and Google's Maven repository, as its README.md says.",
    ),
}
