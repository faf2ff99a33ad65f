"""Find, read and check the file of a fleet, and find phones in it by label or serial number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mobilekit.bench.devices.adb_address import server_address
from mobilekit.bench.fleet.schema import AdbServer, Farm, Fleet, FleetPhone, Rules
from mobilekit.errors import UsageError, nearest
from mobilekit.recipes import yaml_positions
from mobilekit.recipes.faults import Where, load_checked

WORDS = ("label:LABEL", "serial:SERIAL")
"""How `--device` names phones of a fleet."""
_HINT = "`mobilekit schema fleet` prints what a fleet's file may say."
_EXAMPLE = "docs/examples/fleet.yaml is one to start from."
_TOKEN = "write the name of the environment variable that has the token, in capitals, such as STF_TOKEN"  # noqa: S105


@dataclass(frozen=True)
class Member:
    """A phone of a fleet."""

    serial: str
    labels: tuple[str, ...]
    rules: Rules
    """Its own over the fleet's."""
    host: AdbServer | Farm
    base: Path
    """The folder that paths of its host go from."""

    @property
    def name(self) -> str:
        """Itself for people: with the farm that it is leased from, or the other machine that it is plugged in at."""
        place = self.host.url if isinstance(self.host, Farm) else self.host.server
        return f"{self.serial} at {place}" if place else self.serial


@dataclass(frozen=True)
class LoadedFleet:
    """A checked fleet."""

    path: Path
    members: tuple[Member, ...]
    wait_seconds: float

    def named(self, word: str) -> list[Member]:
        """Return the phones that a word of `--device` means, one at least.

        Args:
            word: `label:LABEL` or `serial:SERIAL`.

        Raises:
            UsageError: It is another word, or the fleet has no such phone.
        """
        kind, _, name = word.partition(":")
        known = self.labels if kind == "label" else {each.serial: 1 for each in self.members}
        if kind not in ("label", "serial") or not name:
            raise UsageError(f"--device {word} is no phone of a fleet.", f"Write {' or '.join(WORDS)}.")
        if name not in known:
            raise UsageError(f"{self.path} has no {kind} {name}.", nearest(name, known))
        return [each for each in self.members if name in (each.labels if kind == "label" else (each.serial,))]

    @property
    def labels(self) -> Mapping[str, int]:
        """How many phones have each label."""
        all_labels = [label for each in self.members for label in each.labels]
        return {label: all_labels.count(label) for label in all_labels}


def load_fleet(path: Path) -> LoadedFleet:
    """Read a fleet.

    Raises:
        UsageError: There is none, or it is wrong; the message has a line for each fault, with file and line.
    """
    fleet, where = load_checked(path, Fleet, "the fleet", hint=_HINT, example=_EXAMPLE)
    faults = list(_faults(fleet, path.parent, where))
    if faults:
        raise UsageError("\n".join(faults), _HINT)
    base = path.absolute().parent
    members = (_member(phone, host, fleet, base) for _place, host in _hosts(fleet) for phone in host.phones)
    return LoadedFleet(path, tuple(members), fleet.wait_seconds)


def _member(phone: FleetPhone, host: AdbServer | Farm, fleet: Fleet, base: Path) -> Member:
    rules = fleet.rules.model_copy(update=phone.rules.model_dump(exclude_none=True))
    return Member(phone.serial, tuple(dict.fromkeys(phone.labels)), rules, host, base)


def _hosts(fleet: Fleet) -> Iterator[tuple[yaml_positions.Path, AdbServer | Farm]]:
    """Yield what has phones, with its place in the file."""
    yield from ((("adb", index), server) for index, server in enumerate(fleet.adb))
    yield from ((("stf", index), farm) for index, farm in enumerate(fleet.stf))


def _faults(fleet: Fleet, base: Path, where: Where) -> Iterator[str]:
    """Yield what is wrong with the values of a fleet whose keys and types are right."""
    if not fleet.adb and not fleet.stf:
        yield f"{where(())}: the fleet has no phones. Give adb, stf or both."
    for index, server in enumerate(fleet.adb):
        yield from _of_address(server.server, where(("adb", index, "server")))
    for index, farm in enumerate(fleet.stf):
        yield from _of_address(farm.adb, where(("stf", index, "adb")))
        yield from _of_url(farm, where(("stf", index, "url")))
        if not farm.token:
            yield f"{where(('stf', index, 'token'))}: stf.{index}.token: {_TOKEN}."
        if farm.ca_file is not None and not (base / farm.ca_file).is_file():
            yield f"{where(('stf', index, 'ca_file'))}: there is no file {base / farm.ca_file}."
    seen: set[str] = set()
    for place, host in _hosts(fleet):
        for index, phone in enumerate(host.phones):
            if phone.serial in seen:
                yield f"{where((*place, 'phones', index, 'serial'))}: {phone.serial} stands twice."
            seen.add(phone.serial)


def _of_address(given: str | None, place: str) -> Iterator[str]:
    try:
        server_address(given)
    except UsageError as error:
        yield f"{place}: {given} is no address of an adb server. {error.hint}"


def _of_url(farm: Farm, place: str) -> Iterator[str]:
    try:
        url = urlsplit(farm.url)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:  # a port that is none
        is_address = False
    if not is_address or "@" in farm.url or url.query or url.fragment or not farm.url.isprintable() or " " in farm.url:
        yield f"{place}: the url is no address of a farm. Write https://HOST, without user, password or query."
    elif url.scheme == "http" and not farm.plain_http:
        yield f"{place}: {farm.url} is not encrypted, and the token goes there. Write https, or plain_http: true."
