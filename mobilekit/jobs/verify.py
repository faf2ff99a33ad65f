"""Make a bundle's artifacts again from what the bundle holds, and compare every byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mobilekit.artifacts.analysis.compare import differences
from mobilekit.convert.installed import tools_of
from mobilekit.errors import UsageError
from mobilekit.jobs.artifacts import make_artifacts
from mobilekit.jobs.build import as_tensors
from mobilekit.jobs.bundle_models import recipe_of_bundle, reference_of_bundle
from mobilekit.recipes.inputs.calibration import Calibration, read_calibration
from mobilekit.recipes.schema import Recipe
from mobilekit.rewrites.engine import rewrite
from mobilekit.store import bundle as bundles
from mobilekit.store.bundle import Bundle
from mobilekit.store.cache import NoCache
from mobilekit.store.files import sha256_of
from mobilekit.store.manifest import was_own
from mobilekit.store.stages import Stage

Progress = Callable[[str], None]

_NOT_REBUILT = (bundles.LEDGER, Stage.REFERENCE.file)
"""What a rebuild starts from, and what `mobilekit diff` measures."""


@dataclass(frozen=True)
class RebuiltFile:
    """One file of the bundle, and the same made again."""

    file: str
    sha256: str
    """As the manifest has it."""
    rebuilt_sha256: str | None
    """None where the rebuild made no such file."""
    differences: tuple[str, ...] = ()
    """What differs, where the two are not the same."""

    @property
    def same(self) -> bool:
        """Whether every byte is the same."""
        return self.sha256 == self.rebuilt_sha256


@dataclass(frozen=True)
class Rebuild:
    """All files that a rebuild compared, and the tools that changed since the export."""

    files: tuple[RebuiltFile, ...]
    tools: dict[str, tuple[str | None, str | None]]
    """Version at the export and now, of each tool whose version changed."""

    @property
    def verdict(self) -> str:
        """`pass` if every file is the same."""
        return "pass" if all(file.same for file in self.files) else "fail"

    def to_json(self) -> dict[str, Any]:
        """Return the rebuild as JSON data."""
        return {
            "verdict": self.verdict,
            "files": [{**asdict(file), "same": file.same} for file in self.files],
            "tools": self.tools,
        }


def rebuild(
    bundle: Bundle,
    calibration: Path | None = None,
    reference: str | None = None,
    progress: Progress = lambda _message: None,
) -> Rebuild:
    """Export a bundle's model again, from the weights and the recipe in the bundle and without the cache.

    Args:
        bundle: The bundle, as it was written.
        calibration: The user's own calibration inputs, for a bundle that was calibrated on such.
        reference: `FILE.py:FACTORY`, for a bundle that was exported from one.
        progress: Is told what goes on.

    Raises:
        UsageError: The calibration is missing or another one, or the bundle's model or recipe is unknown here.
        ToolError: A converter failed.
    """
    loaded = recipe_of_bundle(bundle)
    model = reference_of_bundle(bundle, loaded.recipe, reference)
    progress("reading calibration inputs")
    inputs = _calibration(bundle, loaded.recipe, calibration)
    rewritten = rewrite(model, loaded, as_tensors(inputs), prove=False, progress=progress)
    with TemporaryDirectory(prefix="mobilekit-rebuild-") as scratch:
        folder = Path(scratch)
        (folder / "stages").mkdir()
        made = make_artifacts(folder, rewritten, loaded.recipe, inputs, NoCache(), progress)
        reasons = {each.stage.file: each.reason for each in made.failed}
        expected = {name: digest for name, digest in bundle.manifest["files"].items() if name not in _NOT_REBUILT}
        files = tuple(
            _compared(bundle.path, folder, name, digest, reasons.get(name)) for name, digest in expected.items()
        )
    return Rebuild(files, _changed_tools(bundle, loaded.recipe))


def _calibration(bundle: Bundle, recipe: Recipe, path: Path | None) -> Calibration:
    written = bundle.manifest["calibration"]
    source = written["source"]
    if path is None and was_own(written):
        raise UsageError(
            f"{bundle.path} was calibrated on {written['count']} inputs of yours, {source}, which it does not hold.",
            "Give them again: --calibration PATH.",
        )
    inputs = read_calibration(recipe, path)
    if inputs.digest == written["sha256"]:
        return inputs
    if path:
        raise UsageError(f"{path} holds other inputs than {bundle.path} was calibrated on ({source}).")
    changed = [
        name for name in _changed_tools(bundle, recipe) if name in ("pillow", "scikit-image", "scikit-learn", "numpy")
    ]
    raise UsageError(
        f"The built-in calibration inputs are no longer those that {bundle.path} was calibrated on.",
        f"Other versions now: {', '.join(changed)}." if changed else "",
    )


def _compared(bundle: Path, rebuilt: Path, name: str, digest: str, reason: str | None) -> RebuiltFile:
    made = rebuilt / name
    if not made.is_file():
        return RebuiltFile(name, digest, None, (reason or "the rebuild made no such file",))
    again = sha256_of(made)
    return RebuiltFile(name, digest, again, () if again == digest else tuple(differences(bundle / name, made)))


def _changed_tools(bundle: Bundle, recipe: Recipe) -> dict[str, tuple[str | None, str | None]]:
    before, now = bundle.manifest.get("tools", {}), tools_of(recipe)
    names = sorted(before.keys() & now.keys())  # another version of mobilekit may note others
    return {name: (before[name], now[name]) for name in names if before[name] != now[name]}
