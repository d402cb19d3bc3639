"""The weights of a network as matrices, and their leading singular vectors as they move from update to update."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.frozen import unfrozen_modules
from orthogan.nn.layers import Weighted

FIRST_ITERATIONS = 16
"""From random vectors. With blocks of 16 the top three values of Gaussian matrices are then within 1 %."""


def layers(network: nn.Module) -> dict[str, nn.Module]:
    """Every layer with a weight of two or more dimensions, by name, but those of frozen parts."""
    open_ones = {id(module) for module in unfrozen_modules(network)}
    named = ((name, module) for name, module in network.named_modules() if id(module) in open_ones)
    return {
        name: m for name, m in named if isinstance(getattr(m, "weight", None), nn.Parameter) and _weight(m).ndim > 1
    }


def matrix(layer: nn.Module, *, in_use: bool = False) -> Tensor:
    """A layer's weight as (outputs, everything else), an embedding's as (classes, dim).

    It is the parameter itself, as optimisers see it, or what normalisation makes of it and forwards use.
    """
    weight = layer.weight_in_use() if in_use and isinstance(layer, Weighted) else _weight(layer)
    return (weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight).flatten(1)


def in_shape_of_weight(layer: nn.Module, rows: Tensor) -> Tensor:
    """The opposite of `matrix`: (outputs, everything else) in the shape of the layer's parameter."""
    weight = _weight(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        inputs, outputs, *sides = weight.shape
        return rows.view(outputs, inputs, *sides).transpose(0, 1)
    return rows.view(weight.shape)


def matrices(network: nn.Module) -> dict[str, Tensor]:
    """The weight matrices of a network by the names of their layers; see `layers` and `matrix`.

    Before normalisation: after spectral norm the largest singular value is always about 1, and
    what grows and explodes (Brock et al. 2019, section 4.1) is that of the parameter.
    """
    return {name: matrix(layer) for name, layer in layers(network).items()}


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


class Subspaces:
    """Leading singular vectors of several matrices by block iteration, each update from where the last one ended.

    Of each matrix it keeps `width` orthonormal vectors V of its shorter side and iterates V <- QR(A^T A V), in float32.
    Only reading the values waits for the device. The first vectors are always the same ones.
    """

    def __init__(self, found: Mapping[str, Tensor], width: int = 16):
        self.blocks = {name: _first_block(m, width) for name, m in found.items()}

    @torch.no_grad()
    def advance(self, found: Mapping[str, Tensor], times: int = 1) -> None:
        """Iterations on the same matrices as before, whose numbers may have changed."""
        for name, block in self.blocks.items():
            with torch.autocast(block.device.type, enabled=False):
                a = _upright(found[name]).float()  # (long, short)
                for _ in range(times):
                    block = torch.linalg.qr(a.T @ (a @ block)).Q
            # QR leaves columns together, a checkpoint rows, and products differ in their last bits.
            self.blocks[name] = block.contiguous()

    @torch.no_grad()
    def triangles(self, found: Mapping[str, Tensor]) -> Tensor:
        """The R of A V of every matrix, whose singular values are those of A as far as V has them: (layers, b, b).

        On the device, padded with zeros to the size of the largest.
        """
        widest = max(block.shape[1] for block in self.blocks.values())
        padded = []
        for name, block in self.blocks.items():
            with torch.autocast(block.device.type, enabled=False):
                triangle = torch.linalg.qr(_upright(found[name]).float() @ block, mode="r").R
            missing = widest - triangle.shape[1]
            padded.append(F.pad(triangle, (0, missing, 0, missing)))
        return torch.stack(padded)

    def values(self, found: Mapping[str, Tensor], k: int = 3) -> Tensor:
        """The k largest singular values (layers, k), falling; NaN where a matrix has fewer or is not finite.

        On the CPU: this waits for the device, as PyTorch's decompositions there do too.
        """
        triangles = self.triangles(found).cpu()
        strange = ~torch.isfinite(triangles).all(2).all(1)  # LAPACK refuses them
        every = torch.linalg.svdvals(triangles.masked_fill(strange[:, None, None], 0.0))[:, :k]
        every = F.pad(every, (0, k - every.shape[1])).masked_fill(strange[:, None], torch.nan)
        ranks = torch.tensor([block.shape[1] for block in self.blocks.values()])
        return every.masked_fill(torch.arange(k) >= ranks[:, None], torch.nan)

    def update(self, found: Mapping[str, Tensor], k: int = 3, times: int = 2) -> Tensor:
        """Advance, then the values (layers, k)."""
        self.advance(found, times)
        return self.values(found, k)

    @torch.no_grad()
    def leading(self, name: str, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The pair u (outputs,), v (everything else,) of the largest value of one matrix, and the two largest (2,).

        Of a matrix with one row or column there is only one value, (1,).
        """
        with torch.autocast(rows.device.type, enabled=False):
            a, block = _upright(rows).float(), self.blocks[name]
            images = a @ block  # (long, width)
            # Columns need not have come into their order yet.
            largest = images.norm(dim=0).topk(min(2, block.shape[1]))
            long = F.normalize(images.index_select(1, largest.indices[:1])[:, 0], dim=0)
            short = block.index_select(1, largest.indices[:1])[:, 0]
        u, v = (long, short) if rows.shape[0] >= rows.shape[1] else (short, long)
        return u, v, largest.values

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.blocks)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Onto the devices where the matrices are."""
        self.blocks = {name: state[name].to(block, copy=True) for name, block in self.blocks.items()}


def _upright(rows: Tensor) -> Tensor:
    """The matrix or its transpose: (long, short)."""
    return rows if rows.shape[0] >= rows.shape[1] else rows.T


def _first_block(rows: Tensor, width: int) -> Tensor:
    short = min(rows.shape)
    drawn = torch.randn(short, min(width, short), generator=torch.Generator("cpu").manual_seed(0), device="cpu")
    return torch.linalg.qr(drawn.to(rows.device)).Q.contiguous()
