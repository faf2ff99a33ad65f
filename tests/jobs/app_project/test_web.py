"""The project for the web: what can be tried without a browser. tests/zoo/test_app_web.py runs it in one."""

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
from mobilekit.store.manifest import Tensor
from tests.command_line import Cli
from tests.jobs.app_project.facts import SPECS, make_facts, picture_module

node = pytest.mark.skipif(shutil.which("node") is None, reason="needs Node")


def project(folder: Path, **facts: Any) -> Path:
    """Write what the templates make, without files of a model."""
    folder.mkdir(exist_ok=True)
    for path, text in rendered("web", make_facts("web", **facts)):
        (folder / path).write_text(text)
    return folder


def evaluate(folder: Path, code: str) -> Any:
    """Return what JavaScript gives to `print`, in a folder. Starting Node takes longer than all that it does here."""
    program = f"const print = (value) => console.log(JSON.stringify(value)); {code}"
    done = subprocess.run(
        ["node", "--input-type=module", "-e", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@node
def test_the_part_that_is_kept_is_the_recipes(tmp_path: Path) -> None:
    sizes = [(97, 64), (50, 83), (61, 61), (640, 427), (427, 640), (1411, 1411), (33, 4000)]
    for kind in SPECS:
        project(tmp_path / kind, spec=SPECS[kind])
    made = evaluate(
        tmp_path,
        f"""const made = {{}};
for (const kind of {json.dumps(list(SPECS))}) {{
  const {{ keptPart }} = await import(`./${{kind}}/picture.js`);
  made[kind] = {json.dumps(sizes)}.map((size) => keptPart(...size));
}}
print(made);""",
    )
    for kind in SPECS:
        expected = [picture_module(SPECS[kind]).kept_part(*size) for size in sizes]
        np.testing.assert_allclose(made[kind], expected, rtol=1e-12, atol=1e-9)


@node
@pytest.mark.parametrize("kind", ["center crop", "padded bgr", "gray", "rgba, not turned"])
def test_pixels_become_the_files_numbers(kind: str, tmp_path: Path) -> None:
    """The picture is of the input's size already, so that nothing is scaled."""
    spec = Input.model_validate({**SPECS[kind], "crop": 1.0})
    height, width = spec.sides
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 4), np.uint8)
    expected = preprocess(Image.fromarray(pixels), spec)[None]
    nchw, nhwc = list(expected.shape), list(expected.transpose(0, 2, 3, 1).shape)
    scale, zero_point = 0.0187, -14
    tensors = [
        Tensor("input", [*nchw], "NCHW", "float32"),
        Tensor("input", [*nhwc], "NHWC", "float32"),
        Tensor("input", [*nhwc], "NHWC", "int8", scale, zero_point),
    ]
    code = f"""
import {{ tensorOf }} from "./model.js";
import {{ channelsOf }} from "./picture.js";
const image = {{ data: Uint8ClampedArray.from({pixels.reshape(-1).tolist()}) }};
const bytes = channelsOf(image);
print({json.dumps([each.to_json() for each in tensors])}.map((input) => [...tensorOf(bytes, {{ input }})]));
"""
    first, second, third = evaluate(project(tmp_path, spec=SPECS[kind]), code)
    np.testing.assert_allclose(np.reshape(first, nchw), expected, rtol=0, atol=1e-6)
    moved = expected.transpose(0, 2, 3, 1)
    np.testing.assert_allclose(np.reshape(second, nhwc), moved, rtol=0, atol=1e-6)
    info = LiteRTTensor("input", dtype="int8", shape=tuple(nhwc), index=0, scale=scale, zero_point=zero_point)
    off = np.abs(np.reshape(third, nhwc) - encode(moved, info))
    assert off.max() <= 1 and off.mean() < 0.001  # halves are rounded to even there


@node
def test_arrays_of_numpy_are_read(tmp_path: Path) -> None:
    kinds = ["float32", "uint8", "int8", "int32", "int64", "bool"]
    values = np.array([[0, 1, 5], [7, 100, 3]])
    for kind in kinds:
        np.save(tmp_path / f"{kind}.npy", values.astype(kind))
    code = f"""
import {{ readFileSync }} from "node:fs";
import {{ decode, readNpy }} from "./model.js";
globalThis.fetch = async (path) => new Response(readFileSync(path));
const read = async (kind) => [...decode(await readNpy(`${{kind}}.npy`), {{}})];
print(await Promise.all({json.dumps(kinds)}.map(read)));
"""
    made = evaluate(project(tmp_path, spec=SPECS["gray"]), code)
    assert made == [values.reshape(-1).astype(kind).astype(float).tolist() for kind in kinds]


@node
def test_each_file_is_javascript(tmp_path: Path) -> None:
    for path in sorted(project(tmp_path, spec=SPECS["padded"]).glob("*.js")):
        done = subprocess.run(["node", "--check", path], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@node
def test_facts_are_the_models(tmp_path: Path) -> None:
    project(tmp_path / "scores", spec=SPECS["center crop"], labels=("a", "b", "c", "d"))
    project(tmp_path / "bytes", spec={**SPECS["wide crop"], "dtype": "uint8"}, outputs=(1, 3, 8, 8))
    code = "print(await Promise.all(['scores', 'bytes'].map((kind) => import(`./${kind}/facts.js`))));"
    scores, of_bytes = evaluate(tmp_path, code)
    assert (scores["HAS_SCORES"], scores["HAS_LABELS"]) == (True, True)
    assert scores["NORMALIZATION"] == {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    assert (of_bytes["HAS_SCORES"], of_bytes["HAS_LABELS"], of_bytes["NORMALIZATION"]) == (False, False, None)
    assert (of_bytes["HEIGHT"], of_bytes["WIDTH"], of_bytes["CHANNELS"]) == (16, 40, 3)
    (file,) = of_bytes["FILES"]
    assert (file["input"]["dtype"], file["outputs"][0]["shape"]) == ("uint8", [1, 3, 8, 8])


def test_packages_are_exact(tmp_path: Path) -> None:
    content = json.loads((project(tmp_path, spec=SPECS["gray"]) / "package.json").read_text())
    assert set(content["dependencies"]) == {"@litertjs/core", "@litertjs/wasm-utils", "onnxruntime-web"}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in content["dependencies"].values())


def test_each_id_of_the_page_is_there_once(tmp_path: Path) -> None:
    folder = project(tmp_path, spec=SPECS["gray"])
    page, code = ((folder / name).read_text() for name in ("index.html", "app.js"))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    named = {*re.findall(r'at\("([^"]+)"\)', code), "picture-ms", "model-ms"}
    assert named <= set(ids) and {*re.findall(r'(?:for|aria-labelledby)="([^"]+)"', page)} <= set(ids)


def test_what_litert_js_refuses_is_left_out(tiny_bundle: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("app", "web", tiny_bundle, "-o", tmp_path / "app", "--precision", "int8,float32", "--json")
    content = json.loads(done.stdout)
    assert content["files"] == ["model.float32.tflite", "model.onnx"]
    assert content["left_out"]["model.int8.tflite"].startswith("LiteRT.js takes and gives float32, int32, uint8")
    assert not (tmp_path / "app" / "model" / "model.int8.tflite").exists()
    assert "model.int8.tflite is left out: LiteRT.js takes" in (tmp_path / "app" / "README.md").read_text()


@node
def test_a_picture_is_scaled_as_the_recipe_says(tmp_path: Path) -> None:
    """Where the project says that it scales exactly, to two levels of 255; elsewhere to as many on average."""
    random = np.random.default_rng(0)
    pictures = [
        Image.fromarray(
            np.kron(random.integers(0, 256, (height // 3, width // 3, 3), np.uint8), np.ones((3, 3, 1), np.uint8))
        )
        for width, height in ((96, 63), (48, 150), (300, 201), (12, 9))  # of the second Pillow takes the rows first
    ]
    for number, image in enumerate(pictures):
        (tmp_path / f"{number}.rgba").write_bytes(image.convert("RGBA").tobytes())
    for kind in SPECS:
        project(tmp_path / kind, spec=SPECS[kind])
    made = evaluate(
        tmp_path,
        f"""import {{ readFileSync }} from "node:fs";
const sizes = {json.dumps([image.size for image in pictures])};
const made = {{}};
for (const kind of {json.dumps(list(SPECS))}) {{
  const {{ channelsOf, seenPixels }} = await import(`./${{kind}}/picture.js`);
  made[kind] = sizes.map(([width, height], number) => {{
    const data = new Uint8ClampedArray(readFileSync(`${{number}}.rgba`));
    return [...channelsOf({{ data: seenPixels({{ data, width, height }}) }})];
  }});
}}
print(made);""",
    )
    for kind in SPECS:
        spec = Input.model_validate({**SPECS[kind], "dtype": "uint8"})
        for image, bytes_ in zip(pictures, made[kind], strict=True):
            expected = preprocess(image.convert("RGBA"), spec).transpose(1, 2, 0)
            off = np.abs(np.reshape(bytes_, expected.shape) - expected)
            if scales_exactly(spec):
                assert off.max() <= 2 and off.mean() < 0.5, kind
            assert off.mean() < 2, kind
