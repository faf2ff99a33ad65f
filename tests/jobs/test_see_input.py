"""`mobilekit input`: what the model sees of a picture, also of those that are not as pictures usually are."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from mobilekit.cli.schema import schema_of
from mobilekit.errors import UsageError
from mobilekit.jobs.see_input import as_picture, see_input
from mobilekit.recipes.inputs.preprocess import preprocess
from mobilekit.recipes.picture import Input
from mobilekit.store.bundle import Bundle
from tests.conftest import Cli
from tests.tiny import TINY

SPEC = Input(size=24, crop=1.0, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.125))


def bundle(spec: Input = SPEC) -> Bundle:
    """A bundle of which there is the recipe alone."""
    return Bundle(Path("net"), {"recipe": {"name": "mine", "content": {"input": spec.model_dump(mode="json")}}})


def halves(width: int = 48, height: int = 32, mode: str = "RGB") -> Image.Image:
    """Orange on the left, blue on the right."""
    picture = Image.new("RGB", (width, height), (255, 128, 0))
    picture.paste((0, 0, 255), (width // 2, 0, width, height))
    return picture.convert(mode)


def seen(path: Path, spec: Input = SPEC, **how: Any) -> tuple[Any, Image.Image]:
    return see_input(bundle(spec), path, **how)


def test_figures_and_picture(tmp_path: Path) -> None:
    halves().save(tmp_path / "a.png")
    found, shown = seen(tmp_path / "a.png")
    assert (found.size, found.mode, found.app, found.shape) == ((32, 48), "RGB", "recipe", (1, 3, 24, 24))
    red, green, blue = found.channels
    assert (red.name, round(red.max, 4), round(red.min, 4)) == ("red", 1.8, -0.2)
    assert (blue.max, green.min) == (pytest.approx(0.7 / 0.125), pytest.approx(-0.8))
    expected = preprocess(halves(), SPEC)
    assert [each.mean for each in found.channels] == pytest.approx(expected.mean((1, 2)).tolist(), rel=1e-5)
    assert shown.getpixel((2, 12)) == (255, 128, 0) and shown.getpixel((21, 12)) == (0, 0, 255)


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray", "rgba"])
@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_picture_is_the_tensors(color: str, dtype: str) -> None:
    count = {"gray": 1, "rgba": 4}.get(color, 3)
    spec = Input.model_validate(
        {"size": 24, "crop": 1, "color": color, "dtype": dtype, "mean": [0.4] * count, "std": [0.2] * count}
    )
    shown = as_picture(preprocess(halves(24, 24), spec), spec)
    expected = halves(24, 24).convert({"gray": "L", "rgba": "RGBA"}.get(color, "RGB"))
    assert shown.mode == expected.mode and shown.tobytes() == expected.tobytes()


def test_an_apps_picture_and_its_tensor(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 72, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    found, shown = seen(tmp_path / "a.png", app="mediapipe")
    np.testing.assert_array_equal(np.asarray(shown), noise[::2, ::3])
    assert (found.app, found.input["corners"], found.input["mode"]) == ("mediapipe", True, "stretch")
    np.save(tmp_path / "dumped.npy", preprocess(Image.fromarray(noise), SPEC))
    found, _shown = seen(tmp_path / "a.png", tensor=tmp_path / "dumped.npy")
    assert found.made_like[0].ways == ("recipe",)
    with pytest.raises(UsageError, match="unit is a mistake that cannot be made with this model"):
        seen(tmp_path / "a.png", SPEC.model_copy(update={"dtype": "uint8"}), app="unit")


def test_a_camera_on_its_side(tmp_path: Path) -> None:
    """Orientation 6: what is stored has to be turned by 90 degrees to the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    halves().save(tmp_path / "a.png", exif=exif)
    found, shown = seen(tmp_path / "a.png")
    assert found.size == (48, 32) and any("turned" in note for note in found.notes)
    assert shown.getpixel((12, 2)) == (255, 128, 0) and shown.getpixel((12, 21)) == (0, 0, 255)
    found, shown = seen(tmp_path / "a.png", SPEC.model_copy(update={"exif": "ignore"}))
    assert found.size == (32, 48) and not any("turned" in note for note in found.notes)
    assert shown.getpixel((21, 12)) == (0, 0, 255)
    assert seen(tmp_path / "a.png", app="sideways")[1].getpixel((21, 12)) == (0, 0, 255)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3"]
)
@pytest.mark.filterwarnings("error")
def test_damaged_exif_data_is_none_and_not_told(tmp_path: Path, exif: bytes) -> None:
    halves().save(tmp_path / "a.jpg", exif=exif)
    assert seen(tmp_path / "a.jpg")[0].size == (32, 48)


def test_what_else_is_told_of_a_picture(tmp_path: Path) -> None:
    halves().save(tmp_path / "moves.gif", save_all=True, append_images=[halves().rotate(180)])
    assert "It is the first of 2 frames." in seen(tmp_path / "moves.gif")[0].notes
    halves(mode="RGBA").save(tmp_path / "clear.png")
    assert any("transparency" in note for note in seen(tmp_path / "clear.png")[0].notes)
    halves(mode="LAB").save(tmp_path / "lab.tif")  # its A is no transparency
    assert not any("transparency" in note for note in seen(tmp_path / "lab.tif")[0].notes)
    halves(96, 16).save(tmp_path / "long.png")
    assert any("another shape than the input" in note for note in seen(tmp_path / "long.png")[0].notes)


@pytest.mark.parametrize("mode", ["CMYK", "P", "YCbCr", "RGBA"])
def test_color_in_any_mode_is_right(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    halves(mode=mode).save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))
    shown = seen(path)[1]
    assert np.abs(np.subtract(shown.getpixel((2, 12)), (255, 128, 0))).max() < 8


def test_one_pixel_and_a_very_long_picture(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (255, 51, 102)).save(tmp_path / "one.png")
    assert seen(tmp_path / "one.png")[1].getpixel((23, 0)) == (255, 51, 102)
    Image.new("RGB", (20_000, 40), (255, 51, 102)).save(tmp_path / "long.png")
    assert seen(tmp_path / "long.png")[1].getpixel((23, 0)) == (255, 51, 102)


def test_sixteen_bits_of_gray(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 257 * 51, np.uint16)).save(tmp_path / "deep.png")
    spec = Input(size=8, crop=1.0, color="gray", mean=(0,), std=(1,))
    found, shown = seen(tmp_path / "deep.png", spec)
    assert shown.getpixel((3, 3)) == 51 and found.channels[0].max == pytest.approx(0.2)


def test_sixteen_bits_on_their_side_and_the_other_way_round(tmp_path: Path) -> None:
    """Orientation 6 puts the left side up; a TIFF may have the higher byte first."""
    pixels = np.zeros((24, 24), np.uint16)
    pixels[:, :12] = 51 * 257
    spec = Input(size=24, crop=1.0, color="gray", mean=(0.0,), std=(1.0,))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "side.png", exif=exif)
    shown = seen(tmp_path / "side.png", spec)[1]
    assert [shown.getpixel(place) for place in ((3, 3), (20, 3), (3, 20))] == [51, 51, 0]
    head = [(256, 24), (257, 24), (258, 16), (259, 1), (262, 1), (277, 1), (278, 24)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in head)
    entries += struct.pack(">HHII", 273, 4, 1, 8) + struct.pack(">HHII", 279, 4, 1, 1152)
    data = pixels.astype(">u2").tobytes()
    content = b"MM\0*" + struct.pack(">I", 8 + 1152) + data + struct.pack(">H", 9) + entries + bytes(4)
    (tmp_path / "big.tif").write_bytes(content)
    found, shown = seen(tmp_path / "big.tif", spec)
    assert (found.mode, shown.getpixel((3, 3)), shown.getpixel((20, 3))) == ("I;16B", 51, 0)
    with pytest.raises(UsageError, match="gray picture"):
        seen(tmp_path / "big.tif")


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_numbers_without_a_white_are_refused(tmp_path: Path, dtype: type[np.generic]) -> None:
    Image.fromarray(np.full((24, 24), 1, dtype)).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match="nothing says which of them is white"):
        seen(tmp_path / "a.tif", Input(size=24, color="gray", mean=(0.0,), std=(1.0,)))


def _bomb(path: Path) -> None:
    """A PNG of 20,000 x 20,000 pixels, of which there is the head alone."""
    halves(8, 8).save(path)
    data = bytearray(path.read_bytes())
    data[16:24] = (20_000).to_bytes(4, "big") * 2
    import zlib

    data[29:33] = zlib.crc32(bytes(data[12:29])).to_bytes(4, "big")
    path.write_bytes(data)


def test_what_is_refused(tmp_path: Path, tiny_bundle: Path, cli: Cli) -> None:
    halves(mode="L").save(tmp_path / "gray.png")
    halves(300, 300).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:900])
    (tmp_path / "text.png").write_text("no picture")
    _bomb(tmp_path / "bomb.png")
    halves().save(tmp_path / "good.png")
    refusals: list[tuple[tuple[str | Path, ...], str]] = [
        ((tmp_path / "gray.png",), "gray.png is a gray picture (mode L)"),
        ((tmp_path / "cut.jpg",), "cut.jpg is not a picture that can be read"),
        ((tmp_path / "text.png",), "text.png is not a picture that can be read"),
        ((tmp_path / "bomb.png",), "bomb.png is not a picture that can be read: Image size (400000000 pixels) exceeds"),
        ((tmp_path / "missing.png",), "There is no file"),
        ((tmp_path / "good.png", "-o", tmp_path / "seen.jpg"), "does not end in .png"),
        ((tmp_path / "good.png", "-o", tmp_path / "no" / "seen.png"), "There is no folder"),
        ((tmp_path / "good.png", "-o", tiny_bundle / "seen.png"), "lies in the bundle"),
        ((tmp_path / "good.png", "--app", "oprncv"), "There is no app oprncv"),
        ((tmp_path / "good.png", "--app", ""), "--app names nothing"),
        ((tmp_path / "good.png", "--app", "cropped"), "cropped is a mistake that cannot be made with this model"),
        (
            (tmp_path / "good.png", "--tensor", tmp_path / "gray.png"),
            "values of uint8, and the model takes 24 x 24 x 3",
        ),
    ]
    for words, says in refusals:
        done = cli("input", tiny_bundle, *words)
        assert (done.returncode, done.stdout) == (2, ""), words
        assert says in done.stderr and "Traceback" not in done.stderr and "Warning" not in done.stderr
        assert len(done.stderr.splitlines()) == 2, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("report", "-o", "a.html"),
        ("diff", "--junit", "a.xml"),
        ("diff", "--bisect", "a"),
        ("goldens make", "-o", "a"),
        ("quantize-search", "-o", "a.yaml"),
        ("tune", "-o", "a.yaml", "--reference", TINY),
        ("export", "-o", "a", "--input-size", "24"),
    ],
)
def test_no_command_writes_into_a_bundle(tiny_bundle: Path, cli: Cli, words: tuple[str, ...]) -> None:
    command, option, place, *more = words
    what = TINY if command == "export" else tiny_bundle
    done = cli(*command.split(), what, option, tiny_bundle / place, *more)
    assert (done.returncode, "lies in the bundle" in done.stderr) == (2, True), done.stderr
    assert not (tiny_bundle / place).exists()


def test_the_command(tmp_path: Path, tiny_bundle: Path, cli: Cli) -> None:
    halves().save(tmp_path / "[a].png")
    done = cli("input", tiny_bundle, tmp_path / "[a].png", "-o", tmp_path / "seen.png")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == f"{tmp_path}/[a].png: 32x48 (HEIGHTxWIDTH), mode RGB"
    assert "input: float32, 1x3x24x24 (NCHW; TFLite files take NHWC)" in lines
    assert Image.open(tmp_path / "seen.png").size == (24, 24)
    asked = cli("input", tiny_bundle, tmp_path / "[a].png", "--json")
    content = json.loads(asked.stdout)
    Draft202012Validator(schema_of("input")).validate(content)
    assert content["input"]["resize"] == "bicubic" and len(content["channels"]) == 3
    manifest = json.loads((tiny_bundle / "manifest.json").read_text())
    assert content["input"] == manifest["input"]


def test_the_onnx_file_says_how_its_input_is_made(tiny_bundle: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(tiny_bundle / "model.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["mobilekit.input"])
    assert told == json.loads((tiny_bundle / "manifest.json").read_text())["input"]
    assert (told["antialias"], told["exif"], told["crop"]) == (True, "turn", "center")
