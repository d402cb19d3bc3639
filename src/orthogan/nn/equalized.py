"""Layers with an equalised learning rate (Karras et al. 2018): weights of N(0, 1), scaled where they are used.

Adam's steps are of one size whatever the scale of a parameter, so that all layers learn at the same relative rate.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.fir import smooth
from orthogan.nn.layers import Conv2d, Linear

SLOPE = 0.2
"""Of the leaky ReLU."""
GAIN = math.sqrt(2)
"""Of the leaky ReLU, which keeps the second moment about as it was."""


class EqualizedLinear(Linear):
    """y = lr_mult * (W x / sqrt(inputs) + b), W drawn from N(0, 1) / lr_mult. (N, inputs) -> (N, outputs).

    A multiplier below 1 slows the layer down: its parameters are larger by so much, and the steps are not.
    """

    def __init__(self, inputs: int, outputs: int, *, lr_mult: float = 1.0, bias: float = 0.0):
        """`bias` is the initial value of the bias."""
        super().__init__(inputs, outputs)
        self.lr_mult = lr_mult
        nn.init.normal_(self.weight, std=1 / lr_mult)
        nn.init.constant_(self.bias, bias)

    def weight_in_use(self) -> Tensor:
        return self.weight * (self.lr_mult / math.sqrt(self.in_features))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.kernel(), self.bias * self.lr_mult)


class EqualizedConv2d(Conv2d):
    """gain * (W * x / sqrt(fan in) + b) of a convolution that keeps the size or, with `down`, halves it after the FIR.

    (N, I, H, W) -> (N, O, H, W), or with `down` (N, O, H / 2, W / 2).

    `gain` is that of the activation behind it, through which positive factors pass.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, *, down: bool = False, bias: bool = True, gain: float = 1.0
    ):
        super().__init__(inputs, outputs, size, stride=2 if down else 1, bias=bias)
        self.down, self.gain = down, gain
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def weight_in_use(self) -> Tensor:
        return self.weight * (self.gain / math.sqrt(self.weight[0].numel()))

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.gain
        if not self.down:
            return F.conv2d(x, self.kernel(), bias, padding=self.padding)
        # (N, I, H, W) -> (N, I, H + size - 2, W + size - 2) -> (N, O, H / 2, W / 2)
        return F.conv2d(smooth(x, (self.kernel_size[0] + 1) // 2), self.kernel(), bias, stride=2)


def activate(x: Tensor, clamp: float = 0.0) -> Tensor:
    """Leaky ReLU, in place, of what has been multiplied by its gain; then into [-clamp, clamp], if that is not 0."""
    h = F.leaky_relu(x, SLOPE, inplace=True)
    return limit(h, clamp)


def limit(x: Tensor, clamp: float) -> Tensor:
    """Into [-clamp, clamp], if that is not 0."""
    # The backward pass of torch.clamp takes six times as long on a processor.
    return F.hardtanh(x, -clamp, clamp) if clamp else x


def normalized(x: Tensor) -> Tensor:
    """Vectors (N, D) of a mean square of 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
