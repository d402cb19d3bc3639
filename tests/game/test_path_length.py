"""Path length regularisation against generators whose derivatives are known, and StyleGAN2's by its rows."""

from types import SimpleNamespace

import pytest
import torch
from moments import moment_of
from torch import Tensor, nn

from orthogan.errors import UserError
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig, processes
from orthogan.game.regularizers.path_length import PathLength, PathLengthSettings, path_lengths
from orthogan.networks import GENERATORS, build_generator
from orthogan.networks.base import Generator
from orthogan.nn.noise import PATH_LENGTH, Noise, keys, normals


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


class Scaled(nn.Module):
    """w is z in two layers; the image of one pixel is `scale` times the sum over layers of the first three numbers."""

    noise = "random"

    def __init__(self, scale: float):
        super().__init__()
        self.scale, self.mapping = nn.Parameter(torch.tensor(scale)), nn.Parameter(torch.ones(()))

    def styles(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        return (self.mapping * z)[:, None].expand(-1, 2, -1)

    def synthesize(self, w: Tensor, noise: Noise) -> Tensor:
        return self.scale * w.sum(1)[:, :3, None, None]


def moment(generator: nn.Module, z: Tensor, y: Tensor | None = None) -> Moment:
    return moment_of(generator=generator, fake_labels=y, z=z)


def rule_of(strength: float, interval: int = 1, batch_shrink: int = 1, **settings: float) -> PathLength:
    return PathLength(PathLengthSettings(strength=strength, interval=interval, batch_shrink=batch_shrink, **settings))


def toward(z: Tensor) -> Tensor:
    """The random images (N, 3) of one pixel."""
    return normals(keys(z), PATH_LENGTH, 3)


def test_lengths_by_hand() -> None:
    """J^T y is scale * y in both layers: the root of the mean over them of the squared length is scale * |y|."""
    z = torch.randn(4, 5)
    torch.testing.assert_close(path_lengths(Scaled(3.0), z, None), 3 * toward(z).norm(dim=1))


def test_penalty_and_its_derivative_by_hand() -> None:
    """With a running mean of 2 and a decay of 1/4: (l - (3/4 * 2 + 1/4 * mean l))^2, l = scale * |y|."""
    g, z, rule = Scaled(3.0), torch.randn(4, 5), rule_of(2.0, interval=4, decay=0.25)
    rule.load_state_dict({"mean": torch.tensor(2.0)})
    terms = rule.on_loss(moment(g, z))
    y = toward(z).norm(dim=1)
    rest = 3 * y - (1.5 + 0.25 * 3 * y.mean())
    torch.testing.assert_close(terms, 4 * 2 * rest.square())
    terms.mean().backward()
    # Through the running mean too: d rest / d scale = y - mean y / 4.
    torch.testing.assert_close(g.scale.grad, (4 * 2 * 2 * rest * (y - 0.25 * y.mean())).mean())


def test_running_mean_moves_once_an_update_by_all_micro_batches() -> None:
    g, rule = Scaled(1.0), rule_of(1.0, decay=0.1)
    z = torch.randn(6, 5)
    for micro in z.split(2):
        rule.on_loss(moment(g, micro))
        assert rule.state_dict()["mean"] == 0
    rule.on_weights(g, [])
    expected = 0.1 * toward(z).norm(dim=1).mean()
    torch.testing.assert_close(rule.state_dict()["mean"], expected)
    rule.on_weights(g, [])  # an update without the penalty
    torch.testing.assert_close(rule.state_dict()["mean"], expected)
    assert not rule.state_dict()["mean"].requires_grad


def test_running_mean_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that found 10 more."""
    rule = rule_of(1.0, decay=1.0)
    z = torch.randn(2, 5)
    rule.on_loss(moment(Scaled(1.0), z))
    own = toward(z).norm(dim=1).mean()
    fake = SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        get_world_size=lambda: 2,
        all_reduce=lambda mean: mean.mul_(2).add_(10),
    )
    monkeypatch.setattr(processes, "dist", fake)
    rule.on_weights(nn.Identity(), [])
    torch.testing.assert_close(rule.state_dict()["mean"], own + 5)


def test_penalty_is_of_every_second_image_of_a_batch() -> None:
    """So that two halves of a batch take those which the whole would."""
    g, z = Scaled(1.0), torch.randn(7, 5)
    some = rule_of(1.0).on_loss(moment(g, z[::2]))
    assert torch.equal(rule_of(1.0, batch_shrink=2).on_loss(moment(g, z)), some)
    assert len(rule_of(1.0, batch_shrink=8).on_loss(moment(g, z))) == 1


def test_state_goes_on_where_it_was_saved() -> None:
    first, second, z = rule_of(1.0), rule_of(1.0), torch.randn(4, 5)
    first.on_loss(moment(Scaled(5.0), z))
    first.on_weights(nn.Identity(), [])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.on_loss(moment(Scaled(5.0), z)), second.on_loss(moment(Scaled(5.0), z)))


def stylegan2(n_classes: int = 3) -> Generator:
    return build_generator(GENERATORS["stylegan2"].tiny, 16, n_classes)


def test_lengths_of_stylegan2_are_those_of_its_jacobian() -> None:
    """Column by column, by finite differences."""
    g = stylegan2(0)
    z = torch.randn(1, 12)
    found = path_lengths(g, z, None)  # type: ignore[arg-type]
    noise = Noise("random", keys(z))
    images, w = normals(keys(z), PATH_LENGTH, 3, 16, 16) / 16, g.styles(z).detach()  # type: ignore[operator]
    slopes, step = torch.zeros_like(w), 2e-3
    with torch.no_grad():
        for place in range(w.numel()):
            nudge = torch.zeros(w.numel())
            nudge[place] = step
            ahead, behind = (g.synthesize(w + side * nudge.view_as(w), noise) for side in (1, -1))  # type: ignore[operator]
            slopes.view(-1)[place] = ((ahead - behind) * images).sum() / (2 * step)
    assert found.item() == pytest.approx(slopes.square().sum(2).mean().sqrt().item(), rel=0.02)


def test_penalty_reaches_every_weight_of_stylegan2() -> None:
    """Twice through modulated convolutions, filters and noise. Biases of images are in no derivative by w."""
    g, y = stylegan2(), torch.arange(8) % 3
    rule_of(2.0).on_loss(moment(g, torch.randn(8, 12), y)).mean().backward()
    without = [name for name, p in g.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == [f"blocks.{i}.to_rgb.bias" for i in range(3)]
    assert all(p.grad.isfinite().all() for p in g.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (PathLengthSettings(strength=2.0, decay=0.0), r"g_path_length.decay=0.0: must be in \(0, 1\]"),
        (PathLengthSettings(strength=2.0, interval=0), "g_path_length.interval=0: must be positive"),
        (PathLengthSettings(strength=2.0, batch_shrink=0), "g_path_length.batch_shrink=0: must be positive"),
        (PathLengthSettings(batch_shrink=1), "g_path_length.batch_shrink=1: has no effect while"),
    ],
)
def test_bad_settings_are_refused(settings: PathLengthSettings, told: str) -> None:
    with pytest.raises(UserError, match=told):
        RegularizerConfig(g_path_length=settings)
