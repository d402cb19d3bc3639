"""Randomness that is addressed, never inherited.

Every draw of a run (latents, labels, data order, flips) comes from a generator named by what it is for and by where
the run is. A resumed run therefore redraws exactly what an uninterrupted one would have drawn, any number of
processes share one global batch, and nothing about randomness has to be stored.
"""

import hashlib

import torch


def draw(seed: int, purpose: str, position: int) -> torch.Generator:
    """A CPU generator fixed by (seed, purpose, position), the same in every process and on every machine.

    `position` is what the purpose counts in: real images seen, an epoch, the index of a sample.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{position}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))
