"""The project for Android, compiled by Kotlin's compiler and run where it needs no Android."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mobilekit.artifacts.litert import LiteRTTensor, encode
from mobilekit.jobs.app_project.facts import scales_exactly
from mobilekit.jobs.app_project.write import rendered
from mobilekit.recipes.inputs.preprocess import preprocess
from mobilekit.recipes.picture import Input
from tests.conftest import ROOT
from tests.jobs.app_project.facts import SPECS, make_facts, picture_module

COMPILER = "kotlin-compiler@2.4.20"
"""Of npm; it holds the one for the JVM as well."""
STUBS = ROOT / "tests" / "jobs" / "app_project" / "android_stubs.txt"
SIZES = [(97, 64), (50, 83), (640, 427), (1411, 1411), (33, 4000)]
PICTURES = [(83, 150), (97, 64), (9, 8)]
"""Of the first Pillow takes the rows first; the last is enlarged."""
VARIANTS: dict[str, dict[str, Any]] = {
    **{kind: {"spec": spec} for kind, spec in SPECS.items()},
    "bytes": {"spec": {**SPECS["center crop"], "dtype": "uint8"}, "labels": ("a", "b", "c", "d")},
    "a map": {"spec": SPECS["padded"], "outputs": (1, 3, 8, 8)},
}
PROGRAM = """
package {package}
fun main(arguments: Array<String>) {{
    val sizes = listOf({sizes})
    val kept = sizes.map {{ (width, height) -> keptPart(width, height) }}
    println(kept.map {{ listOf(it.left, it.top, it.right, it.bottom) }})
    val seen = listOf({pictures}).map {{ (width, height) ->
        val colors = IntArray(width * height) {{ (it * 7919 % 16777216) or (255 shl 24) }}
        channelsOf(seenColors(colors, width, height)).toList()
    }}
    println(seen)
    val bytes = IntArray(256 * CHANNELS) {{ it / CHANNELS }}
    val facts = TensorFacts("input", Numbers.INT8, 0.0187, -14)
    println(tensorOf(bytes, FILES[0].input).toList())
    println(tensorOf(bytes, facts).toList())
    println(arguments.map {{ readNpy(java.io.File(it).readBytes()).toList() }})
}}
"""

pytestmark = [
    pytest.mark.zoo,
    pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm, which has Kotlin's compiler"),
    pytest.mark.skipif(shutil.which("java") is None, reason="needs Java"),
]


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of Kotlin's compiler."""
    folder = tmp_path_factory.mktemp("kotlin")
    words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder), COMPILER]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        pytest.skip(f"npm gets no compiler: {done.stderr.strip().splitlines()[-1:]}")
    return folder / "node_modules" / "kotlin-compiler"


def write_sources(folder: Path) -> None:
    """Write the stubs, and the project of each variant in a package of its own, with a program that tries it."""
    for part in re.split(r"^== ", STUBS.read_text(), flags=re.MULTILINE)[1:]:
        name, text = part.split("\n", 1)
        path = folder / "stubs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    sizes, pictures = (", ".join(f"{width} to {height}" for width, height in each) for each in (SIZES, PICTURES))
    for number, facts in enumerate(VARIANTS.values()):
        package = f"variant{number}"
        files = dict(rendered("android", make_facts("android", **facts)))
        files["Try.kt"] = PROGRAM.format(package=package, sizes=sizes, pictures=pictures)
        for name, text in files.items():
            if name.endswith(".kt"):
                path = folder / package / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text.replace("package com.example.app", f"package {package}"))


@pytest.fixture(scope="module")
def compiled(compiler: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The class path of what was compiled: all variants at once, as the compiler takes long to start."""
    folder = tmp_path_factory.mktemp("android")
    write_sources(folder / "sources")
    out = folder / "out"
    options = ["-no-stdlib", "-no-reflect", "-cp", str(compiler / "lib" / "kotlin-stdlib.jar"), "-d", str(out)]
    program = [
        "java",
        "-cp",
        str(compiler / "lib" / "kotlin-compiler.jar"),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
    ]
    roots = sorted(map(str, (folder / "sources").iterdir()))
    done = subprocess.run([*program, *options, *roots], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    own = [line for line in done.stderr.splitlines() if "warning:" in line and "/stubs/" not in line]
    assert own == []
    return [str(out), str(compiler / "lib" / "kotlin-stdlib.jar")]


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_it_computes_is_what_the_recipe_says(variant: str, compiled: list[str], tmp_path: Path) -> None:
    spec = Input.model_validate(VARIANTS[variant]["spec"])
    arrays = [
        np.array([[0, 1, 5], [7, 100, 3]]).astype(kind) for kind in ("float32", "int8", "uint8", "int32", "int64")
    ]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    paths = [str(tmp_path / f"{number}.npy") for number in range(len(arrays))]
    name = f"variant{list(VARIANTS).index(variant)}.TryKt"
    done = subprocess.run(["java", "-cp", ":".join(compiled), name, *paths], capture_output=True, text=True, check=True)
    kept, seen, tensor, quantized, read = map(json.loads, done.stdout.splitlines())
    expected = [picture_module(VARIANTS[variant]["spec"]).kept_part(*size) for size in SIZES]
    np.testing.assert_allclose(kept, expected, rtol=1e-12, atol=1e-9)
    for (width, height), made in zip(PICTURES, seen, strict=True):
        colors = np.arange(width * height) * 7919 % 2**24
        pixels = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], 1).astype(np.uint8)
        picture = Image.fromarray(pixels.reshape(height, width, 3)).convert("RGBA")
        whole = preprocess(picture, spec.model_copy(update={"dtype": "uint8"})).transpose(1, 2, 0).reshape(-1)
        assert np.abs(np.array(made) - whole).max() <= 2 or not scales_exactly(spec)
    levels = np.arange(256).repeat(spec.channel_count).reshape(256, -1)
    values = levels if spec.takes_levels else (levels / 255 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(tensor, values.reshape(-1), rtol=0, atol=1e-12)
    info = LiteRTTensor("input", dtype="int8", shape=(), index=0, scale=0.0187, zero_point=-14)
    off = np.abs(np.array(quantized) - encode(values.reshape(-1).astype(np.float32), info))
    assert off.max() <= 1 and off.mean() < 0.01  # float32 may fall to the other side of a half
    assert read == [array.reshape(-1).astype(float).tolist() for array in arrays]
