"""All consumers: what each reads, and the packages that it is."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.consumers.programs import PROGRAMS
from mobilekit.jobs.app_project.platforms import PLATFORMS


@dataclass(frozen=True)
class Consumer:
    """Something that reads files of others."""

    name: str
    """As its makers write it."""
    module: str
    """Of this package, without `_consumer`: it opens a file, and has all that is about this consumer."""
    packages: tuple[str, ...]
    """As pip takes them, the consumer's own first, unless that stands alone."""
    files: tuple[str, ...]
    """Of a bundle, those that it reads, or programs of its models."""
    alone: tuple[str, ...] = ()
    """Packages without what they ask for."""
    npm: tuple[str, ...] = ()
    """Packages of npm's, written as pip writes them: the consumer's own first."""
    cause: str = ""
    """Finds what it says of a refusal before its last words, where that tells more."""
    tells: str = ""
    """Finds what it says of a file that it takes, as the tables have it."""
    compiles: bool = False
    """Whether it compiles a file and does not run it."""
    limit: float = 240.0
    """Seconds of processor time for a file."""

    @property
    def own(self) -> str:
        """The package that it is."""
        return (*self.npm, *self.alone, *self.packages)[0]

    @property
    def environment(self) -> str:
        """The name of its environment: that of its own package, which others may share."""
        name, _, version = self.own.partition("==")
        return f"{name.partition('[')[0].strip('@').replace('/', '-')}-{version}"


def _tflite(*precisions: str) -> tuple[str, ...]:
    return tuple(f"model.{precision}.tflite" for precision in precisions)


_ALL = _tflite("float32", "float16", "dynamic", "int8")
_ONNX = ("model.onnx", "model.int8.onnx", "model.int16x8.onnx")
_NUMPY = "numpy==2.4.6"
_RKNN = (  # what it asks for, but a torch for processors alone, newer than it names, and not CUDA's 5 GB
    *(
        "setuptools==80.9.0",
        "protobuf==4.25.4",
        "psutil==7.2.2",
        "ruamel.yaml==0.19.1",
        "scipy==1.17.1",
        "tqdm==4.70.1",
    ),
    *("opencv-python-headless==4.11.0.86", "fast-histogram==0.14", "numpy==1.26.4", "onnx==1.18.0"),
    *("onnxruntime==1.26.0", "torch==2.13.0"),
)


def _npm(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}=={PLATFORMS['web'].versions[name]}" for name in names)


CONSUMERS = (
    Consumer("ONNX Runtime", "onnxruntime", ("onnxruntime==1.32.0", _NUMPY), _ONNX),
    Consumer("ONNX Runtime Web", "onnxruntime_web", (_NUMPY,), _ONNX, npm=_npm("onnxruntime-web")),
    Consumer(
        "LiteRT.js",
        "litert_js",
        (_NUMPY,),
        _ALL,
        cause="Element type .* is not supported",
        npm=_npm("@litertjs/core", "@litertjs/wasm-utils"),
    ),
    Consumer("OpenVINO", "openvino", ("openvino==2026.4.1", _NUMPY), (*_ONNX, *_ALL)),
    Consumer("OpenVINO, LP_TRANSFORMS_MODE=NO", "openvino_exact", ("openvino==2026.4.1", _NUMPY), _tflite("int8")),
    Consumer("ncnn, by pnnx", "ncnn", ("ncnn==1.0.20261020", _NUMPY), _ONNX, ("pnnx==20261020",)),
    Consumer(
        "MNN",
        "mnn",
        ("MNN==3.6.1", _NUMPY),
        (*_ONNX, *_ALL),
        cause="^(Error for|Create execution error|Compute Shape Error).*",
    ),
    Consumer("TVM", "tvm", ("apache-tvm==0.27.0.post1", "onnx==1.23.2", _NUMPY), _ONNX),
    Consumer("IREE", "iree", ("iree-base-compiler[onnx]==3.13.0", "iree-base-runtime==3.13.0", _NUMPY), _ONNX),
    Consumer("Rockchip's simulator, rk3588", "rknn", _RKNN, _ONNX, ("rknn-toolkit2==2.5.0",)),
    Consumer(
        "tflite-micro",
        "tflite_micro",
        ("tflite-micro==0.dev20261023182759", _NUMPY),
        _ALL,
        cause="^.*(not supported on|was not true).*",
    ),
    Consumer(
        "Vela, u55-256",
        "vela",
        ("ethos-u-vela==5.2.0",),
        _tflite("int8"),
        cause="Compilation failed.*",
        tells=r"CPU operators = \d+(?= \()",
        compiles=True,
    ),
    Consumer(
        "ExecuTorch, XNNPACK",
        "executorch",
        ("executorch==1.5.1", "torch==2.13.0", _NUMPY),
        ("model.float32.pte", *PROGRAMS),
        tells="delegates: .*",
        limit=480.0,
    ),
    Consumer(
        "coremltools, iOS 15",
        "coremltools",
        ("coremltools==9.0", "torch==2.13.0", _NUMPY),
        PROGRAMS,
        cause="^NotImplementedError: .*",
        tells="operations: .*",
        compiles=True,
    ),
)
