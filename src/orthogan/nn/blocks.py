"""Residual blocks of BigGAN's generator and discriminator, and SAGAN's self-attention."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.layers import Layers
from orthogan.nn.norm import BatchNorm2d
from orthogan.nn.resample import Upsampling, double, halve
from orthogan.nn.stabilizers import Parts

SMALL_MAP = 256
"""Keys of an image up to which a backward pass through the whole matrix is the quicker one on a processor."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key') value, not scaled: (N, 1, Q, D), (N, 1, K, D), (N, 1, K, V) -> (N, 1, Q, V), V at least D."""
    training = torch.is_grad_enabled() and key.requires_grad
    if query.device.type == "cpu" and not (training and key.shape[2] <= SMALL_MAP):
        # Where keys and values differ in width, PyTorch's kernels for processors make the matrices of the whole batch,
        # several times over. Zeros make the widths equal and change no product.
        padding = (0, value.shape[3] - key.shape[3])
        query, key = F.pad(query, padding), F.pad(key, padding)
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


class SelfAttention(nn.Module):
    """Self-attention as SAGAN's code has it: keys and values at half resolution, no scaling, x + gamma * o.

    The four projections are 1x1 without bias; gamma starts at 0, so a new layer is the identity.
    (N, C, H, W) -> same; H and W even, C a multiple of 8.
    """

    def __init__(self, channels: int, layers: Layers):
        super().__init__()
        self.theta = layers.conv(channels, channels // 8, 1, bias=False)
        self.phi = layers.conv(channels, channels // 8, 1, bias=False)
        self.g = layers.conv(channels, channels // 2, 1, bias=False)
        self.o = layers.conv(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        n, _, h, w = x.shape
        query = self.theta(x).flatten(2).mT  # (N, HW, C/8)
        key = F.max_pool2d(self.phi(x), 2).flatten(2).mT  # (N, HW/4, C/8)
        value = F.max_pool2d(self.g(x), 2).flatten(2).mT  # (N, HW/4, C/2)
        mixed = attend(query[:, None], key[:, None], value[:, None])[:, 0]
        mixed = mixed.mT.reshape(n, -1, h, w)  # (N, C/2, H, W)
        return x + self.gamma.to(x.dtype) * self.o(mixed)


class GBlock(nn.Module):
    """norm, ReLU, double, conv3, norm, ReLU, conv3, beside double, conv1. (N, I, H, W) -> (N, O, 2H, 2W).

    The 1x1 convolution of the skip runs before the doubling, with which it commutes, on a quarter of the pixels.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        norm1: BatchNorm2d,
        norm2: BatchNorm2d,
        layers: Layers,
        upsampling: Upsampling = "nearest",
    ):
        super().__init__()
        self.norm1, self.norm2, self.upsampling = norm1, norm2, upsampling
        self.conv1 = layers.conv(inputs, outputs, 3, resample="up" if upsampling == "nearest" else None)
        self.conv2 = layers.conv(outputs, outputs, 3)
        self.skip = layers.conv(inputs, outputs, 1)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        h = F.relu(self.norm1(x, condition), inplace=True)
        h = self.conv1(h if self.upsampling == "nearest" else double(h, self.upsampling))  # (N, O, 2H, 2W)
        h = self.conv2(F.relu(self.norm2(h, condition), inplace=True))
        return h + double(self.skip(x), self.upsampling)


class DBlock(nn.Module):
    """[norm,] ReLU, conv3, [norm,] ReLU, conv3, [halve], beside [halve], conv1 of the x before any ReLU.

    (N, I, H, W) -> (N, O, H, W), or with `down` (N, O, H / 2, W / 2).

    `first` leaves the leading ReLU out, for the block that sees the image. `hidden` is the width between the two
    convolutions ("wide" blocks, BigGAN: the output's; "thin" blocks, SN-GAN: the input's). Without halving and with
    equal widths the skip is the identity. With `skip_relu` it begins behind the leading ReLU.
    """

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        *,
        down: bool,
        first: bool,
        parts: Parts,
        skip_relu: bool = False,
    ):
        super().__init__()
        layers = parts.layers
        self.first, self.down, self.skip_relu = first, down, skip_relu and not first
        self.norm1 = nn.Identity() if first else parts.norm(inputs)
        self.norm2 = parts.norm(hidden)
        self.conv1 = layers.conv(inputs, hidden, 3)
        self.conv2 = layers.conv(hidden, outputs, 3, resample="down" if down else None)
        self.skip = layers.conv(inputs, outputs, 1) if down or inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x) if self.skip_relu else x
        # This ReLU must not be in place: the skip takes the x before it.
        h = self.conv1(x if self.first else F.relu(self.norm1(x)))  # (N, hidden, H, W)
        h = self.conv2(F.relu(self.norm2(h), inplace=True))  # (N, O, H, W), or halved
        x = halve(x) if self.down else x
        return h + (x if self.skip is None else self.skip(x))
