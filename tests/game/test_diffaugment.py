"""DiffAugment against a loop over images, pixels and channels, written from the paper's code in words."""

import math

import pytest
import torch
from torch import Tensor

from orthogan.game.augment.diffaugment import DiffAugment

ORDERS = ["color", "translation", "cutout", "color,translation,cutout", "cutout,color,translation"]


def images(n: int, side: int) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(side)) * 2 - 1


def numbers(n: int, k: int) -> Tensor:
    return torch.rand(n, k, generator=torch.Generator().manual_seed(100 * n + k))


def slow_color(x: Tensor, u: list[float], ratio: float) -> Tensor:
    x = x + (u[0] - 0.5)
    x = torch.stack([(channel - x.mean(0)) * (u[1] * 2) + x.mean(0) for channel in x])
    return (x - x.mean()) * (u[2] + 0.5) + x.mean()


def slow_translation(x: Tensor, u: list[float], ratio: float) -> Tensor:
    side = x.shape[-1]
    most = int(side * 0.125 + 0.5)
    down, right = (math.floor(v * (2 * most + 1)) - most for v in u)
    out = torch.zeros_like(x)
    for i in range(side):
        for j in range(side):
            if 0 <= i + down < side and 0 <= j + right < side:
                out[:, i + down, j + right] = x[:, i, j]
    return out


def slow_cutout(x: Tensor, u: list[float], ratio: float) -> Tensor:
    side = x.shape[-1]
    size = int(side * ratio + 0.5)
    top, left = (math.floor(v * (side + (1 - size % 2))) for v in u)
    out = x.clone()
    for k in range(size):
        for m in range(size):
            i = min(max(k + top - size // 2, 0), side - 1)
            j = min(max(m + left - size // 2, 0), side - 1)
            out[:, i, j] = 0
    return out


SLOW = {"color": (slow_color, 3), "translation": (slow_translation, 2), "cutout": (slow_cutout, 2)}


def slowly(policy: str, ratio: float, x: Tensor, uniform: Tensor) -> Tensor:
    results = []
    for image, row in zip(x, uniform.tolist(), strict=True):
        for word in policy.split(","):
            change, count = SLOW[word]
            image, row = change(image, row[:count], ratio), row[count:]
        assert not row
        results.append(image)
    return torch.stack(results)


@pytest.mark.parametrize("policy", ORDERS)
@pytest.mark.parametrize(("side", "ratio"), [(12, 0.2), (9, 0.5), (16, 1.0)])
def test_as_a_loop_over_pixels(policy, side, ratio):
    augment = DiffAugment(policy.split(","), ratio)
    x, uniform = images(12, side), numbers(12, augment.numbers)
    uniform[0], uniform[1] = 0, 1 - 2.0**-24
    torch.testing.assert_close(augment(x, uniform), slowly(policy, ratio, x, uniform), atol=2e-6, rtol=0)


def test_the_middle_of_all_numbers_changes_nothing():
    x = images(3, 16)
    augment = DiffAugment(["color", "translation"], 0.2)
    torch.testing.assert_close(augment(x, torch.full((3, 5), 0.5)), x, atol=1e-6, rtol=0)


def test_color_by_hand():
    x = torch.tensor([0.2, -0.4, 0.8]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    augment = DiffAugment(["color"], 0.2)
    # Brighter by 0.25; no saturation leaves the grey 0.2 + 0.25 everywhere, of which no contrast is left to change.
    out = augment(x, torch.tensor([[0.75, 0.0, 0.9]]))
    torch.testing.assert_close(out, torch.full((1, 3, 4, 4), 0.45))


@pytest.mark.parametrize(("side", "most"), [(256, 32), (64, 8), (20, 3)])
def test_shifts_reach_an_eighth_each_way(side, most):
    x = torch.zeros(2, 3, side, side)
    x[:, :, side // 2, side // 2] = 1
    augment = DiffAugment(["translation"], 0.2)
    out = augment(x, torch.tensor([[0.0, 0.5], [0.999, 0.0]]))
    at = out[:, 0].flatten(1).argmax(1)
    rows, columns = (at // side - side // 2).tolist(), (at % side - side // 2).tolist()
    assert (rows, columns) == ([-most, most], [0, -most])


def test_each_place_of_the_square_is_as_likely():
    """A square of 2 in 8 pixels has 9 places along an axis, at both ends half outside."""
    x = torch.ones(9, 3, 8, 8)
    along = (torch.arange(9) + 0.5) / 9
    out = DiffAugment(["cutout"], 0.25)(x, torch.stack([along, torch.full((9,), 0.5)], dim=1))
    holes = [(image[0].sum(1) < 8).nonzero().flatten().tolist() for image in out]
    assert holes == [[0], [0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6], [6, 7], [7]]


def test_what_is_cut_out_has_no_gradient():
    x = images(2, 8).requires_grad_()
    out = DiffAugment(["cutout"], 0.5)(x, torch.full((2, 2), 0.5))
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert gradient.equal((out != 0).float())
    assert (gradient == 0).sum() == 2 * 3 * 16
