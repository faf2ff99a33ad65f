"""Which cores runs are pinned to, and what is said of the choice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mobilekit.bench.cores import big_cores, mask_of, notes_on
from mobilekit.bench.devices.base import Core
from mobilekit.errors import UsageError
from tests.bench.test_choice import PHONE

LITTLE, BIG, PRIME = 1_785_600, 2_496_000, 2_995_200
PHONE_8 = (*[LITTLE] * 4, *[BIG] * 3, PRIME)


def cores(*khz: int | None, off: tuple[int, ...] = ()) -> tuple[Core, ...]:
    return tuple(Core(index, each, index not in off) for index, each in enumerate(khz))


@pytest.mark.parametrize(
    ("khz", "threads", "mask"),
    [
        (PHONE_8, 1, "80"),
        (PHONE_8, 2, "f0"),
        (PHONE_8, 4, "f0"),
        (PHONE_8, 8, "f0"),
        ((*[LITTLE] * 6, BIG, BIG), 2, "c0"),
        ((LITTLE,) * 4, 4, "f"),
    ],
)
def test_as_many_of_the_fastest_cores_as_threads(khz: tuple[int, ...], threads: int, mask: str) -> None:
    assert big_cores(cores(*khz), threads) == mask


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (cores(*PHONE_8, off=(4, 5, 6, 7)), "cores 4-7 are off"),
        (cores(*PHONE_8, off=(1, 5, 6)), "cores 1, 5-6 are off"),
        (cores(*[LITTLE] * 4, *[None] * 4, off=(4, 5, 6, 7)), "cores 4-7 are off"),
        (cores(*[LITTLE] * 4, *[None] * 4), "cores 4-7 do not tell their frequency"),
    ],
)
def test_big_cores_that_may_be_off_are_not_guessed(found: tuple[Core, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        big_cores(found)
    assert "--cpus" in caught.value.hint


def test_a_mask_without_a_core_of_the_device() -> None:
    facts = replace(PHONE, cores=cores(*PHONE_8))
    with pytest.raises(UsageError, match="adb:1 has no core in the mask 100") as caught:
        mask_of(facts, "100", 1, big=False)
    assert caught.value.hint == "All it has: --cpus ff."
    assert mask_of(facts, "180", 1, big=False) == "180"
    assert mask_of(facts, None, 1, big=False) is None


@pytest.mark.parametrize(
    ("mask", "threads", "off", "notes"),
    [
        ("f0", 4, (), []),
        ("80", 4, (), ["4 threads shared 1 core: fewer threads may be quicker."]),
        (
            "f0",
            4,
            (6, 7),
            [
                "Switched off when the bench began, so that no run had them: cores 6-7 of the mask f0.",
                "4 threads shared 2 cores: fewer threads may be quicker.",
            ],
        ),
        (None, 1, (7,), ["Switched off when the bench began, so that no run had them: cores 7."]),
        (None, 9, (), ["9 threads shared 8 cores: fewer threads may be quicker."]),
    ],
)
def test_what_to_know(mask: str | None, threads: int, off: tuple[int, ...], notes: list[str]) -> None:
    assert list(notes_on(replace(PHONE, cores=cores(*PHONE_8, off=off)), mask, threads)) == notes
    assert list(notes_on(replace(PHONE, cores=()), mask, threads)) == []
