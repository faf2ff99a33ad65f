"""Run something on a phone of a fleet that is free and keeps the fleet's rules, and wait until there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from mobilekit.bench.devices.base import Device, Workspace
from mobilekit.bench.devices.lock import DeviceBusyError
from mobilekit.bench.fleet.lease import leased
from mobilekit.bench.fleet.load import LoadedFleet, Member
from mobilekit.bench.fleet.schema import Farm, Rules
from mobilekit.errors import DeviceError

Tell = Callable[[str], None]
_Result = TypeVar("_Result")
_LOOK_SECONDS = 5.0
"""Between two looks at phones that others use: what is asked of a phone costs whoever measures there."""
_COOLING_SECONDS = 5.0


class RuleNotMetError(DeviceError):
    """A phone is not as the fleet's rules want it."""


@dataclass(frozen=True)
class Taken:
    """A phone that is there."""

    device: Device
    name: str
    """As the fleet knows it: the address of one that is leased is another each time."""
    check: Callable[[Workspace], None]
    """Holds it to the fleet's rules, as soon as nobody else can use it any more.

    Raises:
        RuleNotMetError: It does not keep them.
    """


def on_phone(
    fleet: LoadedFleet,
    word: str,
    run: Callable[[Taken], _Result],
    tell: Tell,
    note: Tell,
    seconds: float | None = None,
) -> _Result:
    """Return what runs on the first phone that nobody else uses.

    Args:
        fleet: Where the phones are.
        word: `label:LABEL` or `serial:SERIAL`.
        run: Is given a phone; where that is in use (`DeviceBusyError`) or breaks a rule, the next one is tried.
        tell: Is told what is waited for.
        note: Is told what the user must know, such as a phone that could not be given back.
        seconds: How long to wait; the fleet's `wait_seconds` without.

    Raises:
        DeviceBusyError: None was free in time.
        DeviceError: No phone can be used, or what runs on one failed.
        UsageError: The word names none, or a farm's token is missing.
    """
    members = fleet.named(word)
    patience = fleet.wait_seconds if seconds is None else seconds
    deadline = time.monotonic() + patience
    phones = [_Phone(member, tell, note) for member in members]
    unfit: list[DeviceError] = []
    while True:
        busy: list[DeviceError] = []
        for phone in list(phones):
            try:
                return phone.run(run)
            except _UnfitError as error:
                unfit.append(error.why)
                phones.remove(phone)
            except DeviceBusyError as error:
                busy.append(error)
        if not phones:
            raise _none_fits(word, unfit)
        left = deadline - time.monotonic()
        if left <= 0:
            raise _none_free(word, patience, [*busy, *unfit])
        counted = f"{len(busy)} of {len(members)} {'is' if len(busy) == 1 else 'are'} in use"
        limit = f", {left:.0f} s left" if left < float("inf") else ""
        tell(f"waiting for a phone {word.partition(':')[2]}: {counted}{limit}")
        time.sleep(min(_LOOK_SECONDS, max(0.0, left)))


class _UnfitError(Exception):
    """A phone is of no use, now and in a minute."""

    def __init__(self, why: DeviceError) -> None:
        super().__init__(str(why))
        self.why = why


class _Phone:
    """A phone that is looked at until it is free."""

    def __init__(self, member: Member, tell: Tell, note: Tell) -> None:
        self._member, self._tell, self._note = member, tell, note
        self._device: Device | None = None

    def run(self, run: Callable[[Taken], _Result]) -> _Result:
        """Return what runs on it.

        Raises:
            DeviceBusyError: Others use it.
            _UnfitError: It cannot be reached, or breaks a rule.
        """
        with ExitStack() as stack:
            try:
                device = self._reached(stack)
            except DeviceBusyError:
                raise
            except DeviceError as error:
                raise _UnfitError(error) from error
            name = self._member.name
            try:
                rules, tell = self._member.rules, self._tell
                return run(Taken(device, name, lambda workspace: check(name, rules, device, workspace, tell)))
            except RuleNotMetError as error:
                raise _UnfitError(error) from error

    def _reached(self, stack: ExitStack) -> Device:
        from mobilekit.bench.devices.select import find_devices

        member = self._member
        if isinstance(member.host, Farm):
            self._tell(f"leasing {member.name}")
            address = stack.enter_context(leased(member, self._note))
            return find_devices(f"adb:{address}", member.host.adb).devices[0]
        if self._device is None:  # a phone at a cable is asked who it is once
            self._device = find_devices(f"adb:{member.serial}", member.host.server).devices[0]
        return self._device


def check(name: str, rules: Rules, device: Device, workspace: Workspace, tell: Tell) -> None:
    """Hold a phone to rules; one that is too warm may rest as long as they say.

    Raises:
        DeviceError: It does not keep them, or was lost.
    """
    state = device.read_state()
    charge, least = state.battery_percent, rules.least_battery_percent
    if charge is not None and least is not None and charge < least:
        raise RuleNotMetError(
            f"The battery of {name} is at {charge} %, of {least} % at least.",
            "Charge it, or change least_battery_percent in the fleet's file.",
        )
    most = rules.highest_celsius
    deadline = time.monotonic() + (rules.cool_down_seconds or 0)
    while most is not None and state.battery_celsius is not None and state.battery_celsius > most:
        left = deadline - time.monotonic()
        is_at = f"{name} is at {state.battery_celsius:.1f} °C, of {most:g} °C at most"
        if left <= 0:
            raise RuleNotMetError(
                f"{is_at}.", "Let it cool down; cool_down_seconds in the fleet's file waits for that by itself."
            )
        tell(f"{is_at}; cooling down, {left:.0f} s left")
        time.sleep(min(_COOLING_SECONDS, left))
        workspace.run(["true"])  # a session that is not heard of for 2 minutes loses the phone to others
        state = device.read_state()


def _none_fits(word: str, unfit: Sequence[DeviceError]) -> DeviceError:
    if len(unfit) == 1:
        return unfit[0]
    return DeviceError(
        f"No phone of {word} can be used. {' '.join(each.what for each in unfit)}", unfit[0].hint if unfit else ""
    )


def _none_free(word: str, seconds: float, found: Sequence[DeviceError]) -> DeviceBusyError:
    return DeviceBusyError(
        f"No phone of {word} was free for {seconds:g} s. {' '.join(each.what for each in found)}",
        "Try again later; wait_seconds in the fleet's file says how long to wait.",
    )
