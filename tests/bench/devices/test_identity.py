"""One phone under several names is one phone."""

from __future__ import annotations

import pytest

from mobilekit.bench.devices.discovery import ListedDevice, parse_devices
from mobilekit.bench.devices.identity import identity_of, one_name_each

CABLE, WIFI, MDNS = "1A2B3C4D5E", "192.168.15.48:41977", "adb-1A2B3C4D5E-qWerTy (2)._adb-tls-connect._tcp"
PHONE = {"ro.serialno": "1A2B", "boot": "c0ffee", "place": "66:131"}


def listed(*serials: str) -> list[ListedDevice]:
    return parse_devices("".join(f"{serial} device product:lynx\n" for serial in serials))


@pytest.mark.parametrize("names", [(CABLE, WIFI, MDNS), (MDNS, WIFI, CABLE)])
def test_the_cable_s_name_is_taken(names: tuple[str, ...]) -> None:
    found, notes = one_name_each(listed(*names), lambda _: "the same")
    assert [each.serial for each in found] == [CABLE]
    others = [name for name in names if name != CABLE]
    assert notes == [f"{CABLE} and {others[0]} and {others[1]} are one phone: {CABLE} is used."]


def test_several_phones_keep_their_order() -> None:
    owners = {"A": "1", "10.0.0.7:5555": "2", "B": "2", "C": None, "D": None}
    found, notes = one_name_each(listed(*owners), lambda each: owners[each.serial])
    assert [each.serial for each in found] == ["A", "B", "C", "D"], "those that do not tell are nobody else"
    assert notes == ["B and 10.0.0.7:5555 are one phone: B is used."]


def test_one_device_is_not_asked() -> None:
    found = [*listed("A"), *parse_devices("B unauthorized\n")]
    assert one_name_each(found, lambda each: pytest.fail("asked")) == (found, [])


def test_what_tells_a_phone() -> None:
    assert identity_of(PHONE) == identity_of(dict(PHONE))
    assert len({identity_of({**PHONE, name: "another"}) for name in PHONE} | {identity_of(PHONE)}) == 4
    assert identity_of({"boot": "c0ffee"}) is not None and identity_of({"ro.serialno": "1A2B"}) is not None
    assert identity_of({"place": "66:131"}) is None
