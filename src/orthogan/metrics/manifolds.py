"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020), image by image.

All four come from one pass over the distances. The means of precision and recall are torch-fidelity's; its functions do
not tell which images were inside, which intervals need.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

NEIGHBOURHOOD = 3
"""Which nearest neighbour gives a ball its radius, in precision and recall (Kynkäänniemi et al. 2019, section 2)."""
DENSITY_NEIGHBOURHOOD = 5
"""The same of density and coverage (Naeem et al. 2020, section 4)."""
_ROWS = 2000
"""Rows of distances at a time: the full matrices of 50,000 images take 40 GB."""


@dataclass(frozen=True)
class Manifolds:
    """Of each image, whether or how often it lies in balls of the other side; the scores are the means."""

    precise: Tensor
    """bool (M,): generated images inside a ball of a real one."""
    recalled: Tensor
    """bool (N,): real images inside a ball of a generated one."""
    density: Tensor
    """float64 (M,): in how many balls of real images each generated one lies, over the number of neighbours."""
    covered: Tensor
    """bool (N,): real images whose own ball holds a generated one."""


def manifolds(
    real_nd: Tensor,
    fake_md: Tensor,
    *,
    neighbourhood: int = NEIGHBOURHOOD,
    density_neighbourhood: int = DENSITY_NEIGHBOURHOOD,
) -> Manifolds:
    """Balls are closed and reach from each image to its k-th nearest neighbour of its own side."""
    near, dense = _radii(real_nd, [neighbourhood, density_neighbourhood])
    (fake_near,) = _radii(fake_md, [neighbourhood])
    precise = torch.zeros(len(fake_md), dtype=torch.bool)
    balls = torch.zeros(len(fake_md), dtype=torch.float64)
    recalled, covered = [], []
    for start in range(0, len(real_nd), _ROWS):
        rows = slice(start, start + _ROWS)
        distances = torch.cdist(real_nd[rows], fake_md)  # (rows, M)
        precise |= (distances <= near[rows, None]).any(0)
        inside = distances <= dense[rows, None]
        balls += inside.sum(0)
        covered.append(inside.any(1))
        recalled.append((distances <= fake_near).any(1))
    return Manifolds(precise, torch.cat(recalled), balls / density_neighbourhood, torch.cat(covered))


def _radii(x_nd: Tensor, neighbours: list[int]) -> list[Tensor]:
    """Distances (N,) of each image to its k-th nearest neighbour, for each k.

    By float32 `cdist`, as in torch-fidelity, whose digits these are: `neighbours.nearest`, in float64, has others.
    """
    # Of each image the nearest is itself.
    parts = [
        torch.cdist(rows, x_nd).topk(max(neighbours) + 1, largest=False).values[:, neighbours]
        for rows in x_nd.split(_ROWS)
    ]
    return list(torch.cat(parts).unbind(1))
