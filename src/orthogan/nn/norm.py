"""Batch normalisation: over every process, conditional, and with standing statistics.

Training uses the statistics of the batch; evaluation those that `standing_statistics` has collected into the buffers.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from orthogan.nn.apart import Coupling
from orthogan.nn.standing import Standing


class _SyncedNormalize(torch.autograd.Function):
    """(x - mean) / sqrt(var + eps) with the moments of all processes' batches, which must be of equal size."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        var, mean = torch.var_mean(x.float(), (0, 2, 3), correction=0)
        gathered = [torch.empty(2, len(mean), device=x.device) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, torch.stack([mean, var]))
        means, variances = torch.stack(gathered, dim=1)
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        normalized = F.batch_norm(x, mean, var, training=False, eps=eps)
        ctx.save_for_backward(normalized, torch.rsqrt(var + eps))
        return normalized

    @staticmethod
    @once_differentiable  # the derivative of all_reduce is not known to autograd
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        normalized, inverse_std = ctx.saved_tensors
        g, n = grad.float(), normalized.float()
        moments = torch.stack([g.mean((0, 2, 3)), (g * n).mean((0, 2, 3))])
        dist.all_reduce(moments)
        mean_g, mean_gn = (moments / dist.get_world_size()).view(2, 1, -1, 1, 1)
        return ((g - mean_g - n * mean_gn) * inverse_std.view(1, -1, 1, 1)).to(grad.dtype), None


class BatchNorm2d(Standing, Coupling):
    """Batch norm with a gain (init 1) and a bias (init 0) a channel. (N, C, H, W) -> same.

    Standing statistics are means over batches of their means and of their biased variances.
    """

    statistics = ("var", "mean")
    mean: Tensor
    var: Tensor

    def __init__(self, channels: int, eps: float = 1e-4, affine: bool = True):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))

    def normalize(self, x: Tensor) -> Tensor:
        """Without gain and bias in the conditional variant, with them in this one."""
        if not self.training:
            return F.batch_norm(x, self.mean, self.var, self.weight, self.bias, eps=self.eps)
        return self.couple_parts(x)

    def couple(self, x: Tensor) -> Tensor:
        if self._collected is not None:
            self._collected.append(torch.stack(torch.var_mean(x.float(), (0, 2, 3), correction=0)))
        elif dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            normalized = _SyncedNormalize.apply(x, self.eps)
            return normalized if self.weight is None else self._affine(normalized)
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)

    def _affine(self, x: Tensor) -> Tensor:
        assert self.weight is not None
        assert self.bias is not None
        return torch.addcmul(self.bias.to(x.dtype)[:, None, None], x, self.weight.to(x.dtype)[:, None, None])

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.normalize(x)


class ConditionalBatchNorm2d(BatchNorm2d):
    """Batch norm whose gain and bias come from the condition of each image: gain 1 + gain(c), bias bias(c).

    `gain` and `bias` are modules from a condition (N, D), or class indices (N,), to (N, C).
    """

    def __init__(self, channels: int, gain: nn.Module, bias: nn.Module, eps: float = 1e-4):
        super().__init__(channels, eps, affine=False)
        self.gain = gain
        self.shift = bias

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        normalized = self.normalize(x)
        gain = (1 + self.gain(condition)).to(normalized.dtype)
        shift = self.shift(condition).to(normalized.dtype)
        return torch.addcmul(shift[:, :, None, None], normalized, gain[:, :, None, None])


def norm_layers(network: nn.Module) -> list[BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, BatchNorm2d)]
