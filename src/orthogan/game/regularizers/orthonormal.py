"""The orthonormal regularisation that SN-GAN was compared with (Brock et al. 2016, Neural Photo Editing)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from orthogan.game.regularizers.base import Settings
from orthogan.game.regularizers.ortho import OrthogonalRegularization


@dataclass(frozen=True, kw_only=True)
class OrthonormalSettings(Settings):
    strength: float = 1e-4
    """Weight of the penalty with the stabiliser orthonormal."""


class Orthonormal(OrthogonalRegularization):
    """strength * ||W^T W - I||_F^2 of every weight of two or more dimensions."""

    def matrices(self, network: nn.Module, trained: Sequence[nn.Parameter]) -> Iterator[nn.Parameter]:
        return (p for p in trained if p.ndim >= 2)

    def derivative(self, rows: Tensor) -> Tensor:
        tall = rows.shape[0] > rows.shape[1]
        product = rows @ (rows.T @ rows) if tall else (rows @ rows.T) @ rows
        return 4 * self.settings.strength * (product - rows)
