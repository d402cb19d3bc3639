"""Randomness addressed by seed, purpose and position."""

import hashlib
import itertools
import os
import subprocess
import sys

import pytest
import torch

from orthogan import randomness
from orthogan.randomness import Draws, draw

PROGRAM = """
import torch
from orthogan.randomness import draw
print(torch.randint(10**9, (3,), generator=draw(7, "latents", 4096)).tolist())
"""

PINNED_SEED = 34429801651819846
PINNED_NUMBERS = [527833656, 391093257, 52317999]


def numbers(seed: int, purpose: str, position: int) -> list[int]:
    return torch.randint(10**9, (3,), generator=draw(seed, purpose, position)).tolist()


def test_the_seed_of_a_place_is_pinned():
    # By hand: blake2b of the text, 7 bytes, big-endian. Another number here means that no old run can be resumed.
    digest = hashlib.blake2b(b"7/latents/4096", digest_size=7).digest()
    assert draw(7, "latents", 4096).initial_seed() == int.from_bytes(digest, "big") == PINNED_SEED


def test_the_numbers_of_a_place_are_pinned():
    assert numbers(7, "latents", 4096) == PINNED_NUMBERS


def test_each_part_of_the_address_matters():
    places = itertools.product((0, 1, 11), ("latents", "labels", "1/latents"), (0, 1, 11))
    seen = [draw(*place).initial_seed() for place in places]
    assert len(set(seen)) == len(seen) == 27


def test_drawing_from_one_place_leaves_all_others_alone():
    torch.manual_seed(0)
    untouched = torch.rand(1)
    torch.manual_seed(0)
    first = draw(0, "a", 0)
    torch.rand(100, generator=first)
    assert torch.rand(1) == untouched
    assert torch.equal(torch.rand(4, generator=draw(0, "a", 0)), torch.rand(4, generator=draw(0, "a", 0)))


def test_another_process_with_another_hash_seed_draws_the_same():
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(numbers(7, "latents", 4096))


def draws(rows: list[slice], attempt: int = 0) -> Draws:
    return Draws(seed=3, attempt=attempt, images=64, batch=8, rows=rows)


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_a_row_gets_the_same_numbers_however_the_batch_is_shared(kind: str) -> None:
    (whole,) = getattr(draws([slice(0, 8)]), kind)("noise", 2, 3)
    shares = getattr(draws([slice(0, 2), slice(4, 6)]), kind)("noise", 2, 3)
    assert whole.shape == (8, 2, 3)
    assert torch.equal(shares[0], whole[:2])
    assert torch.equal(shares[1], whole[4:6])
    assert (whole.min() >= 0) == (kind == "uniform")


def test_another_attempt_is_another_address_and_the_first_is_none() -> None:
    first, second = (draws([slice(0, 8)], attempt).generator("noise").initial_seed() for attempt in (0, 1))
    assert first == draw(3, "noise", 64).initial_seed()
    assert first != second


def test_purposes_are_all_different() -> None:
    names = [value for name, value in vars(randomness).items() if name.isupper()]
    assert len(names) == len(set(names)) > 10
