"""Install mobilekit's packages, in the exact versions of constraints/, into the environment that runs this.

The argument says what for: `export`, `timm`, `torchvision` or `hf` (models of that library besides), `docs` (the
documentation's site besides), or `development` (tests and checks besides).
`export` leaves out what onnx2tf asks for and mobilekit's use of it never imports: some 40 packages, and the CUDA build
of TensorFlow where there is one for processors alone, which makes the same files.
"""

import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Each asks for more than mobilekit's use of it needs, and onnx2tf for older versions than those it works with.
WITHOUT_DEPENDENCIES = ("onnx2tf", "tf-keras")
ONNX2TF_IMPORTS = ("h5py", "onnx-graphsurgeon; python_version < '3.12'", "psutil", "requests", "sng4onnx")
SIZES = {
    "export": "about 95 packages, 3.0 GB with a CPU build of PyTorch",
    "timm": "about 10 packages more",
    "torchvision": "1 package more",
    "hf": "about 15 packages more",
    "docs": "about 20 packages more",
    "development": "about 75 packages more",
}


def tensorflow() -> str:
    """Return the name of the TensorFlow to install: the one that is there, or the smallest for this machine."""
    try:
        metadata.version("tensorflow")
    except metadata.PackageNotFoundError:
        small = (platform.system(), platform.machine()) == ("Linux", "x86_64")
        return "tensorflow-cpu" if small else "tensorflow"
    return "tensorflow"


def phases(purpose: str) -> list[tuple[str, list[str]]]:
    """Return what is installed, step by step: what to call it, and pip's arguments."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    if purpose == "timm":
        return [("timm and torchvision", extras["timm"])]
    if purpose == "torchvision":
        return [("torchvision", extras["torchvision"])]
    if purpose == "hf":
        return [("transformers and torchvision", extras["transformers"])]
    if purpose == "docs":
        return [("MkDocs", extras["docs"])]
    if purpose == "development":
        names = ("timm", "sweep", "docs", "dev")
        return [("timm, dask, pytest, ruff, mypy and the rest", [each for name in names for each in extras[name]])]
    wanted = [*project["dependencies"], *extras["convert"]]
    alone = [each for each in wanted if name_of(each) in WITHOUT_DEPENDENCIES]
    apart = (*WITHOUT_DEPENDENCIES, "tensorflow", "torch")
    rest = [each for each in wanted if name_of(each) not in apart]
    return [
        ("TensorFlow", [tensorflow()]),
        ("PyTorch", ["torch"]),
        ("onnx2tf", ["--no-deps", *alone]),
        ("ONNX, LiteRT and the rest", [*rest, *ONNX2TF_IMPORTS]),
        ("mobilekit", ["--no-deps", "--editable", str(ROOT)]),
    ]


def name_of(requirement: str) -> str:
    """Return the name of the package that a requirement asks for."""
    return re.split(r"[^\w.-]", requirement)[0]


def installer() -> list[str]:
    """Return the command that installs: uv's where there is one, which is faster, or else pip's."""
    if uv := shutil.which("uv"):
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-warn-conflicts"]


def main(purpose: str) -> int:
    """Install phase by phase; each is a line before it starts. Return the exit code."""
    began = time.monotonic()
    steps, install = phases(purpose), installer()
    version, tool = platform.python_version(), "uv" if install[1] == "pip" else "pip"
    print(
        f"Setting up {sys.prefix} with Python {version} and {tool}, for {purpose}, once: {SIZES[purpose]}.", flush=True
    )
    pins = ROOT / "constraints" / "python{}.{}.txt".format(*sys.version_info)
    for number, (name, arguments) in enumerate(steps, start=1):
        print(f"[{number}/{len(steps)}] {name} ...", flush=True)
        done = subprocess.run([*install, "-c", str(pins), *arguments], check=False)
        if done.returncode:
            print(f"{name} could not be installed; {tool} says why above. `make` goes on from there.", file=sys.stderr)
            return done.returncode
    count = len({found.name for found in metadata.distributions()})
    size = sum(path.lstat().st_size for path in Path(sys.prefix).rglob("*") if path.is_file())
    print(f"{count} packages, {size / 1e9:.1f} GB, in {time.monotonic() - began:.0f} s.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
