"""ADA against matrices, moved pixels and a padded image worked by hand, and its controller by counting."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orthogan.game.augment import AugmentConfig, build
from orthogan.game.augment.ada import PIPES, Ada
from orthogan.game.augment.color import COLOR, Color
from orthogan.game.augment.corruption import POWER, BandFilter, Cutout, Noise
from orthogan.game.augment.geometry import BLIT, GEOM, half_of_turns
from orthogan.game.augment.matrices import RandomMatrix
from orthogan.game.augment.resampling import MIDDLE, SYM6, doubling, halving, reflected, warp

MIRROR, QUARTER_TURN, WHOLE_SHIFT = BLIT
ZOOM, TURN, STRETCH, _, FRACTIONAL_SHIFT = GEOM
BRIGHTNESS, CONTRAST, LUMA_FLIP, HUE, SATURATION = COLOR
ONE_SIGMA = 0.8413447461
"""Where N(0, 1) is 1."""
ALWAYS = torch.tensor(1.0)
TAPS = torch.tensor(SYM6)


def images(n: int = 2, side: int = 16) -> Tensor:
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(side)) * 2 - 1


def numbers(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(shape[0]))


def matrix(step: RandomMatrix, *values: float, side: int = 16) -> Tensor:
    """What a step that is applied makes of its numbers."""
    return step(side, torch.tensor([[0.0, *values]]), ALWAYS)[0]


def ada(pipe: str = "bgc", **settings: float) -> Ada:
    augment = build(AugmentConfig(kind="ada", pipe=pipe, **settings))
    assert isinstance(augment, Ada)
    return augment


def smooth(side: int) -> Tensor:
    """An image of slow waves, (1, 3, side, side)."""
    at = torch.arange(side) / side * 2 * math.pi
    channels = [torch.sin(at + k)[:, None] * torch.cos(2 * at - k)[None] for k in range(3)]
    return torch.stack(channels)[None]


# Strength


@pytest.mark.parametrize("pipe", PIPES)
def test_identity_at_strength_zero(pipe):
    augment, x = ada(pipe), images(3, 32)
    torch.testing.assert_close(augment(x, numbers(3, augment.numbers)), x, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("step", "chance"),
    # One quarter of the quarter turns is by nothing.
    [(QUARTER_TURN, 0.3 * 3 / 4), (ZOOM, 0.3), (TURN, 1 - 0.7**0.5), (BRIGHTNESS, 0.3), (HUE, 0.3)],
)
def test_each_step_is_applied_with_its_chance(step, chance):
    drawn = step(16, numbers(20_000, 2), torch.tensor(0.3))
    changed = (drawn - torch.eye(drawn.shape[1])).abs().amax((1, 2)) > 1e-6
    assert changed.float().mean().item() == pytest.approx(chance, abs=0.01)


def test_one_of_two_turns_happens_with_chance_p():
    p = torch.tensor([0.0, 0.19, 0.3, 1.0, 1.7])
    each = half_of_turns(p)
    torch.testing.assert_close(1 - (1 - each) ** 2, p.clamp(max=1))
    assert each[1].item() == pytest.approx(0.1)


def test_a_fixed_strength_stays():
    augment = ada(p=0.4)
    for _ in range(8):
        augment.after_update(torch.tensor(1.0), 64)
    assert augment.stats()["ada_p"].item() == pytest.approx(0.4)


def test_the_controller_by_hand():
    augment = ada(target=0.6, interval=4, speed_images=1000)
    seen = []
    for signs in (1.0, 0.5, 0.5, 0.5, *[0.7] * 4, *[0.5] * 4, *[-1.0] * 8):
        augment.after_update(torch.tensor(signs), 10)
        seen.append(round(augment.stats()["ada_p"].item(), 6))
    # Means of four: 0.625, 0.7, 0.5, -1, -1; each changes p by 40 images of 1000, not below 0.
    assert seen == [0, 0, 0, 0.04, 0.04, 0.04, 0.04, 0.08, 0.08, 0.08, 0.08, 0.04, 0.04, 0.04, 0.04, 0, 0, 0, 0, 0]


def test_the_strength_may_pass_one():
    augment = ada(speed_images=10, interval=1)
    augment.after_update(torch.tensor(0.9), 15)
    assert augment.p.item() == pytest.approx(1.5)
    assert augment(images(), numbers(2, augment.numbers)).isfinite().all()


def test_a_restored_controller_goes_on_as_if_uninterrupted():
    signs = [0.9, 0.9, 0.9, 0.9, 0.2, 0.9, 0.9, 0.9, 0.9]
    straight, first = ada(), ada()
    for k, sign in enumerate(signs):
        straight.after_update(torch.tensor(sign), 64)
        if k < 6:
            first.after_update(torch.tensor(sign), 64)
    state = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    again = ada()
    again.load_state_dict(state)
    for sign in signs[6:]:
        again.after_update(torch.tensor(sign), 64)
    assert straight.p > 0
    assert all(again.state_dict()[name].equal(tensor) for name, tensor in straight.state_dict().items())


# Resampling


def test_halving_undoes_doubling_and_doubling_keeps_the_mean():
    side = 16
    double, halve = doubling(TAPS, side), halving(TAPS, side)
    assert double.shape == (4 * side - 3, side)
    torch.testing.assert_close(halve @ double[: 2 * side + 10], torch.eye(side), atol=1e-6, rtol=0)
    torch.testing.assert_close(double.sum(1), torch.ones(4 * side - 3), atol=1e-6, rtol=0)
    # One period: its first place comes again.
    torch.testing.assert_close(double[0], double[-1], atol=1e-7, rtol=0)


def test_the_middle_of_the_wavelet():
    mean = sum(k * tap for k, tap in enumerate(SYM6)) / sum(SYM6)
    assert round(mean) == MIDDLE


@pytest.mark.parametrize("side", [2, 5, 16])
def test_reflection_as_numpy_pads(side):
    lasting = reflected(3 * side, side, 2 * side, TAPS)
    row = np.arange(side, dtype=np.float32)
    np.testing.assert_array_equal(row @ lasting.numpy(), np.pad(row, (3 * side, 2 * side), "reflect"))


def padded_warp(x: Tensor, inverse: Tensor) -> Tensor:
    """The published way: reflect by nearly a whole side, double, sample with zeros outside, halve, crop; with
    convolutions that are filled with zeros between pixels."""
    n, channels, side, _ = x.shape
    margin = side - 1
    flat = F.pad(x, [margin] * 4, mode="reflect").reshape(n * channels, 1, 3 * side - 2, -1)
    apart = torch.zeros(n * channels, 1, 2 * flat.shape[2], 2 * flat.shape[3])
    apart[:, :, ::2, ::2] = flat
    kernel = torch.outer(TAPS, TAPS)[None, None]
    # Convolution, not correlation; with 11 zeros in front place 2 k + j has tap j of pixel k.
    doubled = F.conv2d(F.pad(apart, [11, 10, 11, 10]), kernel.flip(2, 3)) * 2
    size, places = doubled.shape[-1], 2 * side + 10
    at = (torch.arange(places) - MIDDLE) / 2 - (side - 1) / 2
    y, x_ = torch.meshgrid(at, at, indexing="ij")
    found = torch.stack([x_, y, torch.ones_like(y)], -1) @ inverse.mT[:, None]
    index = 2 * (found[..., :2] + (side - 1) / 2 + margin) + MIDDLE
    sampled = F.grid_sample(
        doubled.view(n, channels, size, size), (index + 0.5) * 2 / size - 1, mode="bilinear", align_corners=False
    )
    return F.conv2d(sampled.reshape(n * channels, 1, places, places), kernel / 2, stride=2).view_as(x)


def test_warping_as_the_padded_image_does():
    side, turn = 16, 0.4
    cos, sin = math.cos(turn), math.sin(turn)
    inverse = torch.tensor(
        [
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
            [[cos, -sin, 3.3], [sin, cos, -2.6], [0, 0, 1]],
            [[1.4, 0.2, -5.25], [-0.3, 0.8, 4.0], [0, 0, 1]],
        ]
    )
    x = images(3, side)
    torch.testing.assert_close(warp(x, inverse, TAPS), padded_warp(x, inverse), atol=2e-4, rtol=0)


@pytest.mark.parametrize("shift", [-5, 1, 6, 40])
def test_whole_shifts_move_pixels_and_reflect(shift):
    x, side = images(1, 16), 16
    inverse = torch.eye(3)[None].clone()
    inverse[:, 0, 2] = -shift
    wide = torch.tensor(np.pad(x.numpy(), [(0, 0), (0, 0), (0, 0), (40, 40)], "reflect"))
    expected = wide[..., 40 - shift : 40 - shift + side]
    torch.testing.assert_close(warp(x, inverse, TAPS), expected, atol=2e-5, rtol=0)


# Geometry


def test_geometry_by_hand():
    """Inverses of the steps: from the image after a step to the one before."""

    def close(found: Tensor, *rows: list[float]) -> None:
        torch.testing.assert_close(found, torch.tensor([*rows, [0.0, 0.0, 1.0]]), atol=1e-4, rtol=0)

    close(matrix(MIRROR, 0.6), [-1, 0, 0], [0, 1, 0])
    close(matrix(MIRROR, 0.4), [1, 0, 0], [0, 1, 0])
    close(matrix(QUARTER_TURN, 0.3), [0, 1, 0], [-1, 0, 0])
    close(matrix(QUARTER_TURN, 0.6), [-1, 0, 0], [0, -1, 0])
    # 0.125 * 16 = 2 pixels at most: (2 * 0.9 - 1) * 2 = 1.6 and -1.2 are rounded.
    close(matrix(WHOLE_SHIFT, 0.9, 0.2), [1, 0, -2], [0, 1, 1])
    close(matrix(ZOOM, ONE_SIGMA), [2**-0.2, 0, 0], [0, 2**-0.2, 0])
    half = math.sqrt(0.5)
    close(matrix(TURN, 0.625), [half, half, 0], [-half, half, 0])
    close(matrix(STRETCH, ONE_SIGMA), [2**-0.2, 0, 0], [0, 2**0.2, 0])
    close(matrix(FRACTIONAL_SHIFT, ONE_SIGMA, 1 - ONE_SIGMA), [1, 0, -2], [0, 1, 2])


@pytest.mark.parametrize(("value", "turns"), [(0.1, 0), (0.3, 1), (0.6, 2), (0.9, 3)])
def test_quarter_turns_move_a_marked_pixel(value, turns):
    x = torch.zeros(1, 3, 16, 16)
    x[:, :, 2, 5] = 1
    found = warp(x, matrix(QUARTER_TURN, value)[None], TAPS)
    # From x to y, which points downwards: clockwise, where rot90 counts the other way.
    expected = torch.rot90(x, -turns, (2, 3))
    assert found[0, 0].argmax() == expected[0, 0].argmax()
    assert found[0, 0].max() > 0.9


def test_a_mirrored_image():
    x = smooth(64)
    found = warp(x, matrix(MIRROR, 0.9)[None], TAPS)
    # The mean of the wavelet is not at its middle tap, so a mirrored image lies 0.1 pixels off; slopes are below 0.2.
    torch.testing.assert_close(found[..., 8:-8], x.flip(3)[..., 8:-8], atol=0.02, rtol=0)


def test_steps_are_composed_first_to_last():
    """Mirrored, then moved 2 pixels right: the other order would move the mirrored image left."""
    augment = ada("blit", p=1.0)
    x = torch.zeros(1, 3, 16, 16)
    x[:, :, 7, 5] = 1
    # On, mirror; on, no turn; on, by (2, 0).
    found = augment(x, torch.tensor([[0.0, 0.9, 0.0, 0.1, 0.0, 0.99, 0.5]]))
    assert divmod(int(found[0, 0].argmax()), 16) == (7, 15 - 5 + 2)


# Colour


def mapped(step: RandomMatrix, value: float, color: tuple[float, float, float]) -> list[float]:
    """What a step makes of one colour."""
    return (matrix(step, value) @ torch.tensor([*color, 1.0]))[:3].tolist()


@pytest.mark.parametrize(
    ("step", "value", "color", "expected"),
    [
        (BRIGHTNESS, ONE_SIGMA, (0.1, -0.5, 0.3), (0.3, -0.3, 0.5)),
        (CONTRAST, ONE_SIGMA, (0.1, -0.5, 0.3), (0.1 * 2**0.5, -0.5 * 2**0.5, 0.3 * 2**0.5)),
        # I - 2 v v^T takes off two thirds of the sum.
        (LUMA_FLIP, 0.7, (1.0, 0.0, 0.0), (1 / 3, -2 / 3, -2 / 3)),
        (LUMA_FLIP, 0.2, (1.0, 0.0, 0.0), (1, 0, 0)),
        # Half a turn about grey: 2 v v^T - I.
        (HUE, 0.0, (1.0, 0.0, 0.0), (-1 / 3, 2 / 3, 2 / 3)),
        # A third of a turn takes red to green, and green to blue.
        (HUE, 0.5 + 1 / 3, (1.0, 0.0, 0.0), (0, 1, 0)),
        (HUE, 0.5 + 1 / 3, (0.0, 1.0, 0.0), (0, 0, 1)),
        (HUE, 0.9, (0.4, 0.4, 0.4), (0.4, 0.4, 0.4)),
        (SATURATION, ONE_SIGMA, (0.9, 0.3, 0.0), (1.4, 0.2, -0.4)),
        # 2^-5.4 is left of the colour.
        (SATURATION, 0.0, (0.9, 0.3, 0.0), (0.4118, 0.3976, 0.3906)),
    ],
)
def test_color_by_hand(step, value, color, expected):
    assert mapped(step, value, color) == pytest.approx(expected, abs=2e-4)


def test_color_steps_are_applied_first_to_last():
    """Brightness comes before contrast, so contrast scales it too."""
    off = 1.0
    uniform = torch.tensor([[0.0, ONE_SIGMA, 0.0, ONE_SIGMA, off, 0, off, 0, off, 0]])
    found = Color()(torch.zeros(1, 3, 2, 2), uniform, ALWAYS)
    torch.testing.assert_close(found, torch.full((1, 3, 2, 2), 0.2 * 2**0.5), atol=1e-5, rtol=0)


def test_color_of_every_pixel():
    x, uniform = images(3, 8), numbers(3, Color.numbers)
    found = Color()(x, uniform, ALWAYS)
    for image, row, out in zip(x, uniform, found, strict=True):
        pixel = torch.cat([image[:, 3, 5], torch.ones(1)])
        for step, part in zip(COLOR, row.split(2), strict=True):
            pixel = step(8, part[None], ALWAYS)[0] @ pixel
        torch.testing.assert_close(out[:, 3, 5], pixel[:3], atol=1e-5, rtol=0)


# Corruptions


def test_bands_are_octaves():
    """They share out every signal; each has most of the wave in the middle of its octave."""
    bands = BandFilter().bands
    torch.testing.assert_close(bands.sum(0), F.one_hot(torch.tensor(21), 43).float(), atol=1e-6, rtol=0)
    torch.testing.assert_close(bands, bands.flip(1), atol=1e-6, rtol=0)
    torch.testing.assert_close(bands.sum(1), torch.tensor([1.0, 0, 0, 0]), atol=1e-5, rtol=0)
    at = torch.arange(43) - 21
    for band, cycles in enumerate((1 / 32, 3 / 32, 3 / 16, 3 / 8)):
        gains = (bands * torch.cos(2 * math.pi * cycles * at)).sum(1)
        assert gains.argmax() == band


def test_a_filtered_constant_by_hand():
    """A lowest band of twice its size, with the power kept: 2 / sqrt((10 * 4 + 3) / 13)."""
    x = torch.ones(1, 3, 16, 16)
    uniform = torch.tensor([[0.0, 1, 1, 1, ONE_SIGMA, 0.5, 0.5, 0.5]])
    found = BandFilter()(x, uniform, torch.tensor(0.5))
    # Once along each axis.
    torch.testing.assert_close(found, x * 4 / ((10 * 4 + 3) / 13), atol=1e-4, rtol=0)
    assert sum(POWER) == pytest.approx(1)


def test_filtering_as_convolutions_of_a_reflected_image():
    x, uniform, stage = images(2, 32), numbers(2, 8), BandFilter()
    found = stage(x, uniform, ALWAYS)
    for image, row, out in zip(x, uniform, found, strict=True):
        gains = torch.ones(4)
        for band in range(4):
            gain = torch.ones(4)
            gain[band] = 2 ** torch.distributions.Normal(0, 1).icdf(row[4 + band])
            gains = gains * gain / (torch.tensor(POWER) * gain**2).sum().sqrt()
        taps = gains @ stage.bands
        wide = F.pad(image[:, None], [21] * 4, mode="reflect")
        slow = F.conv2d(F.conv2d(wide, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
        torch.testing.assert_close(out, slow[:, 0], atol=2e-5, rtol=0)


def test_noise_has_the_deviation_that_was_drawn():
    x = torch.zeros(3, 3, 32, 32)
    uniform = torch.tensor([[0.1, ONE_SIGMA], [0.1, 1 - ONE_SIGMA], [0.9, ONE_SIGMA]])
    found = Noise()(x, uniform, torch.tensor(0.5))
    assert found[:2].std((1, 2, 3)).tolist() == pytest.approx([0.1, 0.1], abs=0.005)
    assert abs(torch.corrcoef(found[:2].flatten(1))[0, 1]) < 0.1
    assert found[2].equal(x[2])


def test_cutout_by_hand():
    x = torch.ones(3, 3, 8, 8)
    uniform = torch.tensor([[0.0, 0.5, 0.5], [0.0, 0.0, 0.9], [0.9, 0.5, 0.5]])
    found = Cutout()(x, uniform, torch.tensor(0.5))
    expected = torch.ones(3, 3, 8, 8)
    expected[0, :, 2:6, 2:6] = 0
    expected[1, :, :2, 5:] = 0
    assert found.equal(expected)


def test_nothing_of_it_is_trained():
    augment: nn.Module = ada("bgcfnc")
    assert list(augment.parameters()) == []
