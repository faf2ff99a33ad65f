"""The farm's REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from mobilekit.bench.devices.lock import DeviceBusyError
from mobilekit.bench.fleet.schema import Farm
from mobilekit.bench.fleet.stf import FarmError, Stf
from mobilekit.errors import DeviceError, MobilekitError, UsageError
from tests.bench.fleet.fake_stf import ME, TOKEN, FakeStf, Phone

PHONE = "R58M/1 2"  # its slash and blank are to arrive
PATH = "/user/devices/R58M%2F1%202"


@pytest.fixture
def farm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeStf]:
    monkeypatch.setenv("STF_TOKEN", TOKEN)
    monkeypatch.setenv("no_proxy", "*")
    with FakeStf({PHONE: Phone("127.0.0.1:7401")}) as fake:
        fake.phones["R58M%2F1%202"] = fake.phones[PHONE]  # the path's form of it
        yield fake


def client(fake: FakeStf, **more: Any) -> Stf:
    phones = [{"serial": PHONE}]
    return Stf(Farm.model_validate({"url": fake.url, "token": "STF_TOKEN", "phones": phones, **more}), Path())


def test_a_lease_and_its_end(farm: FakeStf) -> None:
    stf = client(farm)
    stf.look(PHONE)
    stf.take(PHONE, 900)
    phone = farm.phones[PHONE]
    assert (phone.owner, phone.timeout) == (ME, 900_000)
    assert stf.connect(PHONE) == "127.0.0.1:7401" and phone.connected
    stf.disconnect(PHONE)
    assert not phone.connected and phone.owner
    assert stf.give_back(PHONE) is True
    assert phone.owner is None
    assert stf.give_back(PHONE) is False
    assert farm.asked == [
        "GET /devices/R58M%2F1%202",
        "POST /user/devices",
        f"POST {PATH}/remoteConnect",
        f"DELETE {PATH}/remoteConnect",
        *[f"DELETE {PATH}"] * 2,
    ]


def test_a_phone_that_somebody_uses(farm: FakeStf) -> None:
    farm.phones[PHONE].owner = {"email": "you@example.org", "name": "You"}
    with pytest.raises(DeviceBusyError, match=rf"R58M/1 2 is in use at {farm.url} by You\."):
        client(farm).look(PHONE)
    with pytest.raises(DeviceBusyError, match=rf"R58M/1 2 is in use at {farm.url}\."):
        client(farm).take(PHONE, 900)


def test_a_phone_that_is_not_there(farm: FakeStf) -> None:
    farm.phones[PHONE].present = False
    with pytest.raises(DeviceError, match="R58M/1 2 is not connected to http"):
        client(farm).look(PHONE)
    with pytest.raises(FarmError, match=r"refused: Device not found\.") as caught:
        client(farm).look("XYZ")
    assert not caught.value.is_open


@pytest.mark.parametrize(
    ("answer", "said", "is_open"),
    [
        ((401, {"description": f"Bad token {TOKEN}"}), r"the token in STF_TOKEN: Bad token \*\*\*\.", False),
        ((504, {"success": False, "description": "Device is not responding"}), "refused: Device is not resp", True),
        ((200, {"success": False, "description": "no\nreally"}), r"refused: no\.", False),
        ((200, {}), "refused: HTTP status 200", False),
        ((0, {}), "does not answer: ", True),
    ],
)  # fmt: skip
def test_a_farm_that_refuses(farm: FakeStf, answer: tuple[int, dict[str, Any]], said: str, is_open: bool) -> None:
    farm.answers["POST /user/devices"] = answer
    with pytest.raises(FarmError, match=said) as caught:
        client(farm).take(PHONE, 900)
    assert caught.value.is_open is is_open
    assert TOKEN not in str(caught.value)


def test_the_token_goes_nowhere_else(farm: FakeStf) -> None:
    """An answer that leads to another server is not followed."""
    with FakeStf({}) as other:
        farm.answers["POST /user/devices"] = (302, {"to": f"{other.url}/api/v1/user/devices"})
        with pytest.raises(FarmError, match="HTTP status 302"):
            client(farm).take(PHONE, 900)
        assert other.asked == []


@pytest.mark.parametrize("address", ["", "a b:1", "host:1;reboot", "host", None, "x:1\nhost:kill"])
def test_an_address_that_is_none(farm: FakeStf, address: str | None) -> None:
    farm.answers[f"POST {PATH}/remoteConnect"] = (200, {"success": True, "remoteConnectUrl": address})
    with pytest.raises(FarmError, match="gives no address at which adb reaches"):
        client(farm).connect(PHONE)


def test_no_farm_there() -> None:
    with FakeStf({}) as fake:
        pass
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STF_TOKEN", TOKEN)
        with pytest.raises(FarmError, match=r"does not answer: .*Connection refused\."):
            client(fake).look(PHONE)


@pytest.mark.parametrize("token", [None, "", " ", "two words", "line\r\nX-Injected: 1", "schlüssel"])
def test_a_token_that_is_none_is_not_shown(farm: FakeStf, monkeypatch: pytest.MonkeyPatch, token: str | None) -> None:
    monkeypatch.delenv("STF_TOKEN") if token is None else monkeypatch.setenv("STF_TOKEN", token)
    with pytest.raises(UsageError, match=r"environment variable STF_TOKEN (is not set|has no token)") as caught:
        client(farm)
    assert not (token and token.strip()) or token not in str(caught.value)
    assert farm.asked == []


def self_signed(path: Path) -> Path:
    """Write a key and a certificate of 127.0.0.1 that nobody but itself has signed."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a farm")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def test_a_certificate_that_nobody_signed_is_refused_unless_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STF_TOKEN", TOKEN)
    monkeypatch.setenv("no_proxy", "*")
    certificate = self_signed(tmp_path / "farm.pem")
    with FakeStf({PHONE: Phone("127.0.0.1:7401")}, certificate=certificate) as farm:
        farm.phones["R58M%2F1%202"] = farm.phones[PHONE]
        with pytest.raises(FarmError, match=r"does not answer: .*CERTIFICATE_VERIFY_FAILED[^?]*\n`ca_file`"):
            client(farm).look(PHONE)
        assert farm.asked == [], "the token was not sent"
        client(farm, ca_file=str(certificate)).look(PHONE)
        farm.url = farm.url.replace("127.0.0.1", "localhost")
        with pytest.raises(FarmError, match="CERTIFICATE_VERIFY_FAILED"):  # it is another host's
            client(farm, ca_file=str(certificate)).look(PHONE)
        assert len(farm.asked) == 1


def test_a_server_without_tls_gets_no_token(farm: FakeStf, tmp_path: Path) -> None:
    farm.url = farm.url.replace("http:", "https:")
    with pytest.raises(FarmError, match=r"does not answer: .*SSL|wrong version|record layer"):
        client(farm).look(PHONE)
    assert farm.asked == []
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="has no certificate"):
        client(farm, ca_file=str(tmp_path / "ca.pem"))


def test_errors_are_ours(farm: FakeStf) -> None:
    farm.answers["GET /devices/R58M%2F1%202"] = (500, {"success": False, "description": "Internal Server Error"})
    with pytest.raises(MobilekitError) as caught:
        client(farm).look(PHONE)
    assert caught.value.exit_code == 3
