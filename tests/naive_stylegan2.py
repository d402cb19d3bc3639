"""StyleGAN2's layers written out from their definitions: one image, one pixel, one group at a time, in loops."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def fir() -> Tensor:
    line = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = line[:, None] * line[None]
    return kernel / kernel.sum()


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """A true convolution (mirrored kernel) without padding, of every channel. (N, C, H, W) -> smaller."""
    size = len(kernel)
    out = x.new_zeros(*x.shape[:2], x.shape[2] - size + 1, x.shape[3] - size + 1)
    for i in range(size):
        for j in range(size):
            rows, columns = slice(i, i + out.shape[2]), slice(j, j + out.shape[3])
            out = out + kernel[size - 1 - i, size - 1 - j] * x[:, :, rows, columns]
    return out


def with_zeros(x: Tensor) -> Tensor:
    """A zero behind every pixel and every row. (N, C, H, W) -> (N, C, 2H, 2W)."""
    out = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    out[:, :, ::2, ::2] = x
    return out


def upsampled(x: Tensor) -> Tensor:
    return 4 * filtered(F.pad(with_zeros(x), (2, 1, 2, 1)), fir())


def downsampled(x: Tensor) -> Tensor:
    return filtered(F.pad(x, (1, 1, 1, 1)), fir())[:, :, ::2, ::2]


def conv_down(x: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(filtered(F.pad(x, (2, 2, 2, 2)), fir()), weight, stride=2)


def conv_up(x: Tensor, weight: Tensor) -> Tensor:
    """Zeros between pixels, a true 3x3 convolution in full, the FIR with gain 4."""
    spread = with_zeros(x)[:, :, :-1, :-1]
    full = F.conv2d(F.pad(spread, (2, 2, 2, 2)), weight.flip(2, 3))  # (N, O, 2H + 1, 2W + 1)
    return 4 * filtered(F.pad(full, (1, 1, 1, 1)), fir())


def linear(layer: torch.nn.Module, x: Tensor) -> Tensor:
    """Of an equalised learning rate."""
    scale = layer.lr_mult / math.sqrt(x.shape[1])
    return x @ (layer.weight * scale).T + layer.bias * layer.lr_mult


def lrelu(x: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x) * gain


def modulated(layer: torch.nn.Module, x: Tensor, w: Tensor) -> Tensor:
    """A convolution of its own for each image. Without a bias."""
    styles, out = linear(layer.style, w), []
    for image, s in zip(x, styles, strict=True):
        weight = layer.weight * s[None, :, None, None]
        if layer.demodulate:
            weight = weight / torch.sqrt(weight.square().sum((1, 2, 3), keepdim=True) + 1e-8)
        else:
            weight = weight / math.sqrt(weight[0].numel())
        image = image[None]
        out.append(conv_up(image, weight) if layer.up else F.conv2d(image, weight, padding=weight.shape[2] // 2))
    return torch.cat(out)


def styled(layer: torch.nn.Module, x: Tensor, w: Tensor, noise: Tensor | float) -> Tensor:
    h = modulated(layer.conv, x, w) + layer.noise.strength * noise + layer.conv.bias[:, None, None]
    return lrelu(h).clamp(-layer.clamp, layer.clamp)


def mapped(mapping: torch.nn.Module, z: Tensor | None, weights: Tensor | None) -> Tensor:
    def normal(x: Tensor) -> Tensor:
        return x / torch.sqrt(x.square().mean(1, keepdim=True) + 1e-8)

    parts = [] if z is None else [normal(z)]
    if weights is not None:
        parts.append(normal(linear(mapping.embedding, weights)))
    h = torch.cat(parts, 1)
    for layer in mapping.layers:
        h = lrelu(linear(layer, h))
    return h


def generated(g: torch.nn.Module, w: Tensor) -> Tensor:
    """Images of w (N, L, D) with the constant noise."""
    x, image, at = g.const[None].repeat(len(w), 1, 1, 1), None, 0
    for block in g.blocks:
        for layer in [block.conv] if block.up is None else [block.up, block.conv]:
            x, at = styled(layer, x, w[:, at], layer.noise.const), at + 1
        # The image takes the next block's first w.
        rgb = modulated(block.to_rgb, x, w[:, at]) + block.to_rgb.bias[:, None, None]
        rgb = rgb.clamp(-256, 256)
        image = rgb if image is None else upsampled(image) + rgb
    return image


def deviations(x: Tensor, group: int) -> Tensor:
    """(N,): image i is in group i mod N / G."""
    n = len(x)
    found = torch.zeros(n)
    for m in range(n // group):
        members = x[[i for i in range(n) if i % (n // group) == m]]
        mean = sum(members) / group
        variance = sum((one - mean) ** 2 for one in members) / group
        found[[i for i in range(n) if i % (n // group) == m]] = torch.sqrt(variance + 1e-8).mean()
    return found


def judged(d: torch.nn.Module, x: Tensor, weights: Tensor | None, group: int) -> Tensor:
    """Logits of an unclamped residual or plain discriminator."""

    def conv(layer: torch.nn.Module, x: Tensor) -> Tensor:
        weight = layer.weight / math.sqrt(layer.weight[0].numel())
        return F.conv2d(x, weight, layer.bias, padding=weight.shape[2] // 2)

    h = lrelu(conv(d.from_rgb, x))
    for block in d.blocks:
        share = 1.0 if block.skip is None else math.sqrt(0.5)
        y = lrelu(conv(block.conv1, h))
        weight = block.conv2.weight / math.sqrt(block.conv2.weight[0].numel())
        y = lrelu(conv_down(y, weight) + block.conv2.bias[:, None, None], math.sqrt(2) * share)
        if block.skip is not None:
            weight = block.skip.weight / math.sqrt(block.skip.weight[0].numel())
            y = y + share * F.conv2d(downsampled(h), weight)
        h = y
    if group:
        plane = deviations(h, group)[:, None, None, None] * torch.ones(len(h), 1, *h.shape[2:])
        h = torch.cat([h, plane], 1)
    h = lrelu(conv(d.conv, h))
    h = linear(d.out, lrelu(linear(d.linear, h.flatten(1))))
    if weights is None:
        return h[:, 0]
    return (h * mapped(d.mapping, None, weights)).sum(1) / math.sqrt(h.shape[1])
