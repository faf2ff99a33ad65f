"""What a fleet's file may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilekit.bench.fleet.load import load_fleet
from mobilekit.bench.fleet.schema import Farm
from mobilekit.errors import UsageError
from tests.conftest import ROOT

TEXT = """\
adb:
  - phones:
      - {serial: A, labels: [pixel-6]}
  - server: 192.168.1.20:5037
    phones:
      - serial: B
        labels: [pixel-6, old]
        rules: {least_battery_percent: 60}
stf:
  - url: https://stf.example.org
    token: STF_TOKEN
    phones: [{serial: C}]
rules: {least_battery_percent: 30, highest_celsius: 38}
wait_seconds: 5
"""
SECRET = "0123456789abcdef" * 4


def write(folder: Path, text: str) -> Path:
    path = folder / "f.yaml"
    path.write_text(text)
    return path


def test_the_example_is_read() -> None:
    fleet = load_fleet(ROOT / "docs/examples/fleet.yaml")
    assert fleet.labels == {"pixel-6": 2, "old-battery": 1, "galaxy-s23": 1}


def test_the_docs_show_the_example() -> None:
    example = (ROOT / "docs/examples/fleet.yaml").read_text()
    assert example.partition("\n")[2] in (ROOT / "docs/fleet.md").read_text()


def test_phones_by_label_and_serial_number(tmp_path: Path) -> None:
    fleet = load_fleet(write(tmp_path, TEXT))
    a, b = fleet.named("label:pixel-6")
    assert [a.name, b.name] == ["A", "B at 192.168.1.20:5037"]
    assert (a.rules.least_battery_percent, b.rules.least_battery_percent) == (30, 60)
    assert (b.rules.highest_celsius, fleet.wait_seconds) == (38, 5)
    [c] = fleet.named("serial:C")
    assert isinstance(c.host, Farm) and c.name == "C at https://stf.example.org"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("label:pixel-7", r"f\.yaml has no label pixel-7\.\nDid you mean pixel-6\?"),
        ("label:zzz", r"has no label zzz\.\nKnown: old, pixel-6\."),
        ("serial:D", r"has no serial D\.\nKnown: A, B, C\."),
        ("serial:pixel-6", "has no serial pixel-6"),
        ("label:", "is no phone of a fleet"),
        ("adb:A", r"is no phone of a fleet\.\nWrite label:LABEL or serial:SERIAL\."),
    ],
)
def test_a_phone_that_is_not_there(tmp_path: Path, word: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_fleet(write(tmp_path, TEXT)).named(word)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("labels: [pixel-6]", "lables: [a]", "f.yaml:3: unknown key lables. Did you mean labels"),
        ("labels: [pixel-6]", "labels: pixel-6", "f.yaml:3: adb.0.phones.0.labels: write it as a list: [pixel-6]"),
        ("serial: B", "serial: 123", "f.yaml:6: adb.1.phones.0.serial: write it in quotes, as it is a text."),
        (TEXT, "adb: 3\n", "f.yaml:1: adb: write it as a list of entries, each with some of the keys server, phones."),
        (
            TEXT,
            "adb: [{phones: A}]",
            "adb.0.phones: write it as a list of entries, each with some of the keys serial, labels, rules.",
        ),
        ("labels: [pixel-6]", "labels: ['a,b']", "f.yaml:3: adb.0.phones.0.labels.0: "),
        ("least_battery_percent: 30", "least_battery_percent: 130", "f.yaml:13: rules.least_battery_percent: "),
        ("192.168.1.20:5037", "192.168.1.20:port", "f.yaml:4: 192.168.1.20:port is no address of an adb server."),
        ("https:", "http:", "f.yaml:10: http://stf.example.org is not encrypted, and the token goes there."),
        ("https://", "https://me:secret@", "f.yaml:10: the url is no address of a farm."),
        ("https://stf.example.org", "stf.example.org", "f.yaml:10: the url is no address of a farm."),
        ("https://stf.example.org", "https://stf:port", "f.yaml:10: the url is no address of a farm."),
        ("token: STF_TOKEN", f"token: {SECRET}", "f.yaml:11: stf.0.token: write the name of the environment variable"),
        ("token: STF_TOKEN", "token: 1234567890", "f.yaml:11: stf.0.token: write the name of the environment variable"),
        ("token: STF_TOKEN", f"token: [{SECRET}]", "f.yaml:11: stf.0.token: write the name of the"),
        ("token: STF_TOKEN", "token: STF_TOKEN\n    ca_file: ca.pem", "f.yaml:12: there is no file"),
        ("serial: C", "serial: A", "f.yaml:12: A stands twice."),
        ("serial: B", "serial: ''", "f.yaml:6: adb.1.phones.0.serial: "),
        (TEXT, "wait_seconds: 5\n", "f.yaml:1: the fleet has no phones."),
        (TEXT, "", "f.yaml:1: the fleet is empty."),
        (TEXT, "[]", "f.yaml:1: the fleet: it takes keys"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError) as caught:
        load_fleet(write(tmp_path, TEXT.replace(old, new)))
    assert said in str(caught.value).replace(f"{tmp_path}/", "")
    assert SECRET not in str(caught.value) and "secret" not in str(caught.value)


def test_all_errors_at_once(tmp_path: Path) -> None:
    text = TEXT.replace("https:", "ftp:").replace("serial: C", "serial: B").replace("STF_TOKEN", "token")
    with pytest.raises(UsageError) as caught:
        load_fleet(write(tmp_path, text))
    lines = caught.value.what.replace(f"{tmp_path}/", "").splitlines()
    assert [line.split(": ")[0] for line in lines] == ["f.yaml:10", "f.yaml:11", "f.yaml:12"]


def test_plain_http_has_to_be_meant(tmp_path: Path) -> None:
    text = TEXT.replace("https:", "http:").replace("token:", "plain_http: true\n    token:")
    assert len(load_fleet(write(tmp_path, text)).members) == 3
    with pytest.raises(UsageError, match="There is no file"):
        load_fleet(tmp_path / "other.yaml")
