"""What a fleet's YAML file may say."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, Field

from mobilekit.recipes.part import Part

Label = Annotated[str, Field(pattern=r"^[\w.+-]+( [\w.+-]+)*$", max_length=80)]


def _variable(given: object) -> str:
    """Return the name of an environment variable; nothing for what is none, and may be a token: no error shows it."""
    return given if isinstance(given, str) and re.fullmatch("[A-Z_][A-Z0-9_]*", given) else ""


class Rules(Part):
    """What a phone must be like before it is benched. A phone that does not tell a figure keeps the rule."""

    least_battery_percent: Annotated[int, Field(ge=0, le=100)] | None = Field(
        None, description="Charge of its battery; any without."
    )
    highest_celsius: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None, description="Temperature of its battery; any without."
    )
    cool_down_seconds: Annotated[float, Field(ge=0, le=86400)] | None = Field(
        None, description="How long a phone that is warmer may rest until it is not; 0 without."
    )


class FleetPhone(Part):
    """A phone of the fleet."""

    serial: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="As adb or the farm lists it.")
    labels: tuple[Label, ...] = Field((), description="Names that it has, alone or with others, such as pixel-6.")
    rules: Rules = Field(default_factory=Rules, description="Its own, over those of the fleet.")


Phones = Annotated[tuple[FleetPhone, ...], Field(min_length=1)]


class AdbServer(Part):
    """An adb server, and phones that it sees."""

    server: str | None = Field(None, description="HOST:PORT; this machine's without.")
    phones: Phones


class Farm(Part):
    """A DeviceFarmer STF, and phones that are leased from it."""

    url: str = Field(description="Where its web page is: https://HOST.")
    token: Annotated[str, BeforeValidator(_variable, json_schema_input_type=str)] = Field(
        description="Name of the environment variable with the access token, in capitals, such as STF_TOKEN; the token "
        "itself stands in no file."
    )
    idle_seconds: Annotated[int, Field(ge=60, le=86400)] = Field(
        900, description="After so long without use the farm takes a phone back by itself."
    )
    adb: str | None = Field(
        None, description="HOST:PORT of the adb server that connects to its phones; this machine's without."
    )
    ca_file: str | None = Field(
        None, description="PEM file of who signed its certificate, from the fleet's file on; the system's without."
    )
    plain_http: bool = Field(False, description="Let an http:// address be used: the token is sent unencrypted.")
    phones: Phones


class Fleet(Part):
    """Phones, where they are, and when they may be used."""

    adb: tuple[AdbServer, ...] = ()
    stf: tuple[Farm, ...] = ()
    rules: Rules = Field(default_factory=Rules, description="Of all phones.")
    wait_seconds: Annotated[float, Field(ge=0, le=604800)] = Field(
        600, description="How long a bench waits for a phone that others use."
    )
