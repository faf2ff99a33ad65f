"""What a shell offers when Tab is pressed: names of models, recipes, rewrites and devices. torch is not imported."""

from __future__ import annotations

from collections.abc import Iterable

from mobilekit.models.names import LIBRARIES, registered_names
from mobilekit.store.stages import FORM_STAGES, PRECISIONS


def models(incomplete: str) -> list[str]:
    """Return the registered models, and the prefixes of libraries' models, that begin as what is typed does."""
    return _beginning(incomplete, *registered_names(), *LIBRARIES)


def recipes(incomplete: str) -> list[str]:
    """Return the built-in recipes that begin so."""
    from mobilekit.recipes.builtin import builtin_recipes

    return _beginning(incomplete, *builtin_recipes())


def rewrites(incomplete: str) -> list[str]:
    """Return the rewrites that begin so: mobilekit's own, and those of installed packages."""
    from mobilekit.rewrites.names import installed_names, own_names

    return _beginning(incomplete, *own_names(), *installed_names())


def bench_devices(incomplete: str) -> list[str]:
    """Return what `bench --device` takes that begins so."""
    return _beginning(incomplete, "local", "adb", "adb:all", *_serials(incomplete), "replay:", "emulated")


def cores(incomplete: str) -> list[str]:
    """Return the ARM cores whose instructions can be counted that begin so."""
    from mobilekit.bench.instructions.cores import CORES

    return _beginning(incomplete, *(core.name for core in CORES))


def tune_devices(incomplete: str) -> list[str]:
    """Return what `tune --device` takes that begins so."""
    return _beginning(incomplete, "local", "adb", *_serials(incomplete), "emulated")


def diff_devices(incomplete: str) -> list[str]:
    """Return what `diff --device` takes that begins so."""
    return _beginning(incomplete, "emulated", "gpu", "qnn:", "adb", *_serials(incomplete))


def targets(incomplete: str) -> list[str]:
    """Return the targets that can follow in a list that is separated by commas."""
    from mobilekit.targets.catalogue import words

    return _following(incomplete, words())


def precisions(incomplete: str) -> list[str]:
    """Return the precisions that can follow in a list that is separated by commas."""
    return _following(incomplete, PRECISIONS)


def forms(incomplete: str) -> list[str]:
    """Return the files of an export that can follow in a list that is separated by commas."""
    return _following(incomplete, FORM_STAGES)


def apps(incomplete: str) -> list[str]:
    """Return the ways of apps that can follow in a list that is separated by commas."""
    from mobilekit.recipes.inputs.apps import ALL, APPS, MISTAKES

    return _following(incomplete, (*APPS, MISTAKES, ALL))


def _serials(incomplete: str) -> list[str]:
    """Return the devices that an adb server sees; none is started for it, and adb is asked only behind `adb:`."""
    if not incomplete.startswith("adb:"):
        return []
    from mobilekit.bench.devices.adb_address import server_address
    from mobilekit.bench.devices.discovery import ask_server, parse_devices
    from mobilekit.errors import MobilekitError

    try:
        return [f"adb:{found.serial}" for found in parse_devices(ask_server(server_address(None), "host:devices-l"))]
    except MobilekitError:
        return []


def _following(incomplete: str, known: Iterable[str]) -> list[str]:
    before, comma, word = incomplete.rpartition(",")
    free = [name for name in known if name not in before.split(",")]
    return [f"{before}{comma}{name}" for name in _beginning(word, *free)]


def _beginning(incomplete: str, *words: str) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
