"""StyleGAN2's convolution whose input channels are scaled by a style (Karras et al. 2020, section 2.2).

The paper scales the weight of each image, which is a convolution of its own for each. Scaling the maps before and after
one convolution of all images is the same function, and several times faster on a processor.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.nn.equalized import GAIN, EqualizedLinear, activate
from orthogan.nn.fir import smooth
from orthogan.nn.layers import Conv2d
from orthogan.nn.noise import Noise, NoiseInjection


class ModulatedConv2d(Conv2d):
    """gain * (convolution of x with the weight W s + b), s = A(w) a factor of each input channel.

    With `demodulate`, the kernel of each output channel has length 1 (equation 3); else s is divided by sqrt(fan in).
    With `up`, the map is doubled: a transposed convolution of stride 2 with W, not mirrored, then the FIR.
    (N, I, H, W) and w (N, dim_w) -> (N, O, H, W), or with `up` (N, O, 2H, 2W).
    """

    bias: Tensor

    def __init__(self, inputs: int, outputs: int, size: int, dim_w: int, *, demodulate: bool = True, up: bool = False):
        super().__init__(inputs, outputs, size)
        self.demodulate, self.up = demodulate, up
        self.style = EqualizedLinear(dim_w, inputs, bias=1.0)
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def make_kernel(self) -> Tensor:
        return self.weight.transpose(0, 1) if self.up else super().make_kernel()

    def scales(self, w: Tensor) -> tuple[Tensor, Tensor | None]:
        """Of the input channels, (N, I), and of the output channels, (N, O), in float32."""
        with torch.autocast(w.device.type, enabled=False):
            s = self.style(w.float())
            if not self.demodulate:
                return s / math.sqrt(self.weight[0].numel()), None
            squares = self.weight.square().sum((2, 3))
            return s, torch.rsqrt(F.linear(s.square(), squares) + 1e-8)

    def forward(self, x: Tensor, w: Tensor, gain: float = 1.0) -> Tensor:  # type: ignore[override]
        before, after = self.scales(w)
        x = x * before.to(x.dtype)[:, :, None, None]
        if self.up:
            x = F.conv_transpose2d(x, self.kernel(), stride=2)  # (N, O, 2H + 1, 2W + 1)
            x = smooth(x, padding=1, gain=4)  # (N, O, 2H, 2W)
        else:
            x = F.conv2d(x, self.kernel(), padding=self.padding)  # (N, O, H, W)
        bias = (gain * self.bias).to(x.dtype)[:, None, None]
        if after is None:
            return torch.add(bias, x, alpha=gain)
        return torch.addcmul(bias, x, (gain * after).to(x.dtype)[:, :, None, None])


class StyledConv(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU, clamp. (N, I, H, W) -> (N, O, H, W), or doubled.

    `layer` numbers the noise, of maps of a `side`.
    """

    def __init__(self, inputs: int, outputs: int, dim_w: int, *, side: int, layer: int, clamp: float, up: bool = False):
        super().__init__()
        self.conv = ModulatedConv2d(inputs, outputs, 3, dim_w, up=up)
        self.noise = NoiseInjection(layer, side)
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor, noise: Noise) -> Tensor:
        return activate(self.noise(self.conv(x, w, GAIN), noise, gain=GAIN), self.clamp)
