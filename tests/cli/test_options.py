"""Options that several commands have: declared once, checked before the work."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from typer.main import get_command

from mobilekit.cli.app import application
from mobilekit.cli.option_values import split_inputs, split_size
from mobilekit.errors import OldWordWarning, UsageError
from mobilekit.store.cache import Cache
from tests.conftest import ROOT

# An option that means something else from command to command.
OWN_MEANING = {
    "app",
    "baseline",
    "bench",
    "device",
    "file",
    "files",
    "count",
    "max_drift",
    "model",
    "name",
    "output",
    "plot",
    "precision",
    "reference",
    "rewrite",
    "seed",
    "rounds",
    "strict",
}


def leaves(command: object, path: str = "") -> dict[str, object]:
    """Return all commands by their words."""
    commands = getattr(command, "commands", {})
    return {p: c for name, sub in commands.items() for p, c in leaves(sub, f"{path} {name}").items()} or {path: command}


def test_an_option_has_one_help_text_in_all_commands() -> None:
    helps: dict[str, set[str]] = defaultdict(set)
    for command in leaves(get_command(application())).values():
        for parameter in command.params:  # type: ignore[attr-defined]
            text = getattr(parameter, "help", None) or ""
            if not text.startswith(("With --", "Write the recipe")):
                helps[parameter.name].add(text)
    assert {name for name, texts in helps.items() if len(texts) > 1} <= OWN_MEANING


TYPOS = {
    ("export", "ghostnettv2"): "There is no model ghostnettv2.\nDid you mean ghostnetv2",
    ("tune", "ghostnettv2"): "There is no model ghostnettv2.",
    ("quantize-search", "ghostnettv2"): "There is no model ghostnettv2.",
    ("ranges", "ghostnettv2"): "There is no model ghostnettv2.",
    ("models", "ghostnettv2"): "There is no model ghostnettv2.",
    ("rewrites", "explain", "ghostnettv2"): "There is no model ghostnettv2.",
    ("export", "ghostnetv2", "--recipe", "nofile.yaml"): "There is no file nofile.yaml.",
    ("export", "ghostnetv2", "--recipe", "folder/mine"): "There is no file folder/mine.",
    ("export", "ghostnetv2", "--recipe", "ghostnetv3"): "There is no recipe ghostnetv3.\nDid you mean ghostnetv2",
    ("export", "ghostnetv2", "--weights", "none.pth"): "There is no weights file none.pth.",
    ("export", "ghostnetv2", "--calibration", "none"): "There is no folder none.",
    ("export", "ghostnetv2", "--precision", "flot16"): "Unknown precision flot16.\nDid you mean float16",
    ("export", "ghostnetv2", "--rewrites", "maybe"): "--rewrites is maybe, not on or off.",
    (
        "export",
        "ghostnetv2",
        "--input-size",
        "3",
    ): "--input-size 3 is no size.\nGive one number for height and width, or HEI",
    ("rewrites", "explain", "ghostnet", "--rewrite", "dfc"): "There is no rewrite dfc.",
    ("rewrites", "rank", "ghostnet", "--rewrite", "hardswish"): "There is no rewrite hardswish.\nDid you mean hard-",
    ("diff", "none"): "none is not a bundle",
    ("diff", "--candidate", "none.onnx", "--reference", "ghostnet"): "There is no file none.onnx.",
    ("diff", "--candidate", "README.md", "--reference", "gostnet"): "There is no model gostnet.\nDid you mean ghostnet",
    ("inspect", "tests"): "tests is a directory.",
    ("exprot", "ghostnet"): "No such command 'exprot'. Did you mean 'export'?",
    ("recipes", "shw"): "No such command 'shw'. Did you mean 'show'?",
    ("diff", "none", "--junit", "none/x.xml"): "There is no folder none for x.xml.",
    ("diff", "none", "--sarif", "tests"): "tests is a folder.",
    ("bench", "none", "--plot", "a.jpg"): "a.jpg is neither .png nor .svg.",
    ("quantize-search", "ghostnet", "--plot", "a.jpg"): "a.jpg is neither .png nor .svg.",
    ("quantize-search", "ghostnet", "--device", "adb"): "--device adb has no meaning here: files are only counted.",
    ("quantize-search", "ghostnet", "--core", "a76"): "--core is for --device emulated",
    ("diff", "--inputs", "none"): "There is no folder none.",
}
# Runs one command line after the other, and says how each ended; torch cannot be imported.
PROGRAM = """
import contextlib, io, json, sys
from mobilekit.cli import app, output
sys.modules["torch"] = None
ends = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["mobilekit", *arguments]
    output.err.file = io.StringIO()
    try:
        app.main()
    except SystemExit as ended:
        ends.append([ended.code, output.err.file.getvalue()])
print(json.dumps(ends))
"""


def ends_without_torch(*lines: tuple[str, ...]) -> list[tuple[int, str]]:
    """Return the exit code of each command line, and what it says on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [(code, said) for code, said in json.loads(done.stdout.splitlines()[-1])]


def test_a_typo_is_answered_before_torch_is_imported() -> None:
    for (code, said), (arguments, words) in zip(ends_without_torch(*TYPOS), TYPOS.items(), strict=True):
        assert code == 2, arguments
        assert said.startswith(f"error: {words}"), arguments


def test_that_a_reference_model_is_exported_already_is_known_without_torch(
    digits_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOBILEKIT_CACHE", str(tmp_path / "cache"))
    files = [path for path in digits_bundle.rglob("*") if path.is_file()]
    request = json.loads((digits_bundle / "manifest.json").read_text())["request"]
    Cache.default().put(request, digits_bundle, [str(path.relative_to(digits_bundle)) for path in files])
    export = ("export", "ghostnetv2_digits", "-o")
    ends = ends_without_torch(
        (*export, str(digits_bundle)),
        (*export, str(tmp_path / "copy")),
        (*export, str(tmp_path / "other"), "--precision", "float32"),
        (*export, str(tmp_path / "forced"), "--force"),
    )
    assert [code for code, _ in ends[:2]] == [0, 0]
    for path in files:
        assert (tmp_path / "copy" / path.relative_to(digits_bundle)).read_bytes() == path.read_bytes(), path
    assert all(code != 0 and "torch" in said for code, said in ends[2:]), "these have to be made"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "copy"], "an export that failed left something"


def test_inputs_are_pictures_and_an_integer_is_a_count_for_one_version(tmp_path: Path) -> None:
    assert split_inputs(None, None) == (None, None)
    assert split_inputs(str(tmp_path), 3) == (tmp_path, 3)
    with pytest.warns(OldWordWarning, match="`--inputs 5` is `--count 5` now"):
        assert split_inputs("5", None) == (None, 5)
    with pytest.warns(OldWordWarning):
        assert split_inputs("5", 2) == (None, 2)
    with pytest.raises(UsageError, match="There is no folder nowhere"):
        split_inputs("nowhere", None)
    with pytest.warns(OldWordWarning), pytest.raises(UsageError, match="--inputs 0 counts nothing"):
        split_inputs("0", None)


def test_a_size_is_one_number_or_height_by_width() -> None:
    assert [split_size(text) for text in (None, "96", "256x192", "64X64")] == [None, 96, (256, 192), 64]
    for wrong in ("", "x", "64x", "64x48x3", "7x64", "64x5000", "6.5", "-8", "64 x 48"):
        with pytest.raises(UsageError, match="is no size") as caught:
            split_size(wrong)
        assert "HEIGHTxWIDTH such as 256x192" in caught.value.hint
