"""The update of D and the update of G."""

import copy
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tiny import tiny_discriminator, tiny_generator
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from orthogan.errors import UserError
from orthogan.game.augment.base import Augment
from orthogan.game.losses import LOSSES
from orthogan.game.moment import Moment
from orthogan.game.regularizers import RegularizerConfig, of_players
from orthogan.game.regularizers.base import Regularizer
from orthogan.game.regularizers.consistency import ConsistencySettings
from orthogan.game.regularizers.ortho import OrthoSettings
from orthogan.game.regularizers.r1 import R1, R1Settings
from orthogan.nn import blocks
from orthogan.nn.spectral import advance, normalized_layers
from orthogan.nn.stabilizers import STABILIZERS
from orthogan.training.limits import check_penalties
from orthogan.training.player import Player
from orthogan.training.steps import Batch, Game, Numbers, Stats


def game(joint: bool = False, precision: Any = "32-true", **network: Any) -> Game:
    torch.manual_seed(0)
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    players = []
    for net in (tiny_generator(**network), tiny_discriminator(**network)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, fused=True)
        wrapped, optimizer = fabric.setup(net, optimizer)
        players.append(Player(wrapped, net, optimizer))
    if joint:
        players[0].network.checkpoint_blocks = True  # type: ignore[assignment]
    return Game(fabric, players[0], players[1], LOSSES["hinge"], joint_fakes=joint)


def batch(n: int, latents: bool, seed: int = 1) -> Batch:
    source = torch.Generator().manual_seed(seed)
    shape = (n, 12) if latents else (n, 3, 16, 16)
    x = torch.randn(shape, generator=source)
    return (x if latents else x.tanh()), torch.randint(3, (n,), generator=source)


def in_micros(whole: Batch, k: int) -> list[Batch]:
    assert whole[1] is not None
    return list(zip(whole[0].chunk(k), whole[1].chunk(k), strict=True))


def numbers(real: list[Batch], latents: list[Batch]) -> list[Numbers]:
    return [
        Numbers(torch.zeros(len(x)), torch.zeros(len(x), 0), torch.zeros(len(z), 0))
        for (x, _), (z, _) in zip(real, latents, strict=True)
    ]


def update_d(g: Game, real: list[Batch], latents: list[Batch]) -> Stats:
    return g.update_discriminator(real, latents, numbers(real, latents))


def update_g(g: Game, latents: list[Batch], *, real: list[Batch] | None = None) -> Stats:
    if real is None:
        real = [(torch.zeros(len(z), 3, 16, 16), y) for z, y in latents]
    return g.update_generator(real, latents, numbers(real, latents))


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def test_d_s_update_is_the_gradient_of_the_hinge_loss() -> None:
    g = game()
    before = weights(g.d.network)
    real, latent = batch(4, latents=False), batch(4, latents=True)
    stats = update_d(g, [real], [latent])

    # The same by hand: same spectral vectors, a plain loss over separate forwards of real and fake.
    hand = tiny_discriminator()
    hand.load_state_dict(g.d.network.state_dict() | before)
    with torch.no_grad():
        fake = g.g.network(*latent)
    loss = (1 - hand(*real)).clamp(min=0).mean() + (1 + hand(fake, latent[1])).clamp(min=0).mean()
    loss.backward()
    assert stats["d_loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    for name, p in hand.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(g.d.network.get_parameter(name), before[name] - 0.1 * p.grad)


def test_an_update_iterates_once_on_the_spectral_vectors_of_its_network_with_the_weights_before_it() -> None:
    g = game()
    for player, update in (
        (g.d, lambda: update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])),
        (g.g, lambda: update_g(g, [batch(4, latents=True)])),
    ):
        by_hand = copy.deepcopy(player.network)
        advance(by_hand)
        update()
        for (name, own), (_, expected) in zip(
            normalized_layers(player.network), normalized_layers(by_hand), strict=True
        ):
            assert torch.equal(own.u, expected.u), name
            assert torch.equal(own.v, expected.v), name


def test_a_pairing_loss_sets_each_micro_batch_of_g_against_its_own_real_images() -> None:
    g = game()
    g.loss = LOSSES["relativistic"]
    real, latents = in_micros(batch(4, latents=False), 2), in_micros(batch(4, latents=True), 2)
    by_hand = copy.deepcopy(g.g.network)
    advance(by_hand)
    with torch.no_grad():
        terms = [
            nn.functional.softplus(g.d.network(*x) - g.d.network(by_hand(*z), z[1])).mean()
            for x, z in zip(real, latents, strict=True)
        ]
    stats = update_g(g, latents, real=real)
    assert stats["g_loss"].item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_a_real_image_of_a_pairing_loss_meets_as_many_neighbouring_fakes_as_g_has_batches() -> None:
    g = game()
    g.loss = LOSSES["relativistic"]
    real, latents = in_micros(batch(4, latents=False), 2), in_micros(batch(12, latents=True), 2)
    by_hand = copy.deepcopy(g.g.network)
    advance(by_hand)
    terms = []
    with torch.no_grad():
        for x, z in zip(real, latents, strict=True):
            on_real, on_fake = g.d.network(*x), g.d.network(by_hand(*z), z[1])
            # 2 images and 6 fakes: 0, 1, 2 meet the first image, 3, 4, 5 the second.
            terms += [
                nn.functional.softplus(on_real[i] - on_fake[j]) for i in range(2) for j in range(3 * i, 3 * i + 3)
            ]
    stats = update_g(g, latents, real=real)
    assert stats["g_loss"].item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_each_update_leaves_the_other_network_alone() -> None:
    g = game()
    g_before = weights(g.g.network) | dict(g.g.network.named_buffers())
    g_before = {k: v.clone() for k, v in g_before.items()}
    update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])
    for name, value in g_before.items():
        assert torch.equal(dict(g.g.network.state_dict())[name], value), name
    d_before = {k: v.clone() for k, v in g.d.network.state_dict().items()}
    update_g(g, [batch(4, latents=True)])
    for name, value in d_before.items():
        assert torch.equal(g.d.network.state_dict()[name], value), name


def test_g_s_update_asks_no_gradient_of_d_s_weights() -> None:
    g = game()
    g.d.optimizer.zero_grad(set_to_none=True)
    update_g(g, [batch(4, latents=True)])
    assert all(p.grad is None for p in g.d.network.parameters())
    assert all(p.grad is not None for p in g.g.network.parameters())


def test_each_update_runs_one_power_iteration_of_its_own_network_however_many_micro_batches() -> None:
    g = game()
    layer = next(layer for _, layer in normalized_layers(g.d.network))
    u, w = layer.u.clone(), layer.weight.detach().clone().flatten(1)
    update_d(g, in_micros(batch(8, latents=False), 4), in_micros(batch(8, latents=True), 4))
    v = nn.functional.normalize(w.T @ u, dim=0)
    torch.testing.assert_close(layer.u, nn.functional.normalize(w @ v, dim=0))


def test_accumulation_gives_d_the_gradient_of_the_whole_batch() -> None:
    whole, parts = game(joint=True), game(joint=True)
    real, latent = batch(8, latents=False), batch(8, latents=True)
    update_d(whole, [real], [latent])
    update_d(parts, in_micros(real, 4), in_micros(latent, 4))
    for name, p in whole.d.network.named_parameters():
        torch.testing.assert_close(parts.d.network.get_parameter(name), p, msg=name)


def test_batch_norm_over_all_micro_batches_equals_the_large_batch() -> None:
    whole, joint, apart = game(), game(joint=True), game()
    latent = batch(8, latents=True)
    update_g(whole, [latent])
    update_g(joint, in_micros(latent, 4))
    update_g(apart, in_micros(latent, 4))
    off = []
    for name, p in whole.g.network.named_parameters():
        torch.testing.assert_close(joint.g.network.get_parameter(name), p, atol=1e-5, rtol=1e-4, msg=name)
        off.append((apart.g.network.get_parameter(name) - p).abs().max())
    assert max(off) > 1e-3, "statistics of single micro-batches must differ, or this test sees nothing"


def test_a_weight_that_is_not_a_number_is_named_and_nothing_is_stepped() -> None:
    g = game()
    with torch.no_grad():
        g.d.network.blocks[1].conv1.weight[0, 0, 0, 0] = float("nan")  # type: ignore[index, union-attr]
    before = weights(g.d.network)
    stats = update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])
    assert stats["d_loss"].isnan()
    assert g.d.culprit() == "the parameter blocks.1.conv1.weight of BigGANDiscriminator is not finite"
    for name, value in before.items():
        assert torch.equal(g.d.network.get_parameter(name).nan_to_num(7.0), value.nan_to_num(7.0))


def test_an_overflow_is_traced_to_the_layer_whose_output_it_is() -> None:
    g = game()

    def overflow(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf")

    g.g.network.blocks[1].conv1.register_forward_hook(overflow)  # type: ignore[index, union-attr]
    before = weights(g.g.network)
    update_g(g, [batch(4, latents=True)])
    assert g.g.culprit() == "the output of layer blocks.1.conv1 of BigGANGenerator is not finite"
    assert all(torch.equal(g.g.network.get_parameter(name), value) for name, value in before.items())


def test_a_finite_network_has_no_culprit() -> None:
    g = game()
    update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])
    update_g(g, [batch(4, latents=True)])
    assert g.d.culprit() is g.g.culprit() is None


class Waits(TorchDispatchMode):
    """Counts what has the processor wait for a device: every number that is read from a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(word in name for word in ("_local_scalar_dense", "nonzero", "is_nonzero", "masked_select", "equal.")):
            self.found.append(name)
        return func(*args, **(kwargs or {}))


GAMES = [(loss, name) for name, kind in STABILIZERS.items() for loss in LOSSES if kind.loss in (None, loss)]


@pytest.mark.parametrize(("loss", "stabilizer"), GAMES)
def test_no_update_waits_for_the_device(loss: str, stabilizer: str) -> None:
    g = game(stabilizer=stabilizer, loss=loss)
    g.loss = LOSSES[loss]
    always = OrthoSettings(strength=0.1)
    consistency = ConsistencySettings(strength=1.0)
    config = RegularizerConfig(g_ortho=always, d_ortho=always, d_consistency=consistency)
    g.g.rules, g.d.rules = of_players(config, stabilizer)
    real, latents = in_micros(batch(8, latents=False), 2), in_micros(batch(8, latents=True), 2)
    update_d(g, real, latents)  # optimisers make their state in the first
    update_g(g, latents, real=real)
    with Waits() as waits:
        update_d(g, real, latents)
        update_g(g, latents, real=real)
    assert waits.found == []


def test_a_penalty_may_be_differentiated_twice_through_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "SMALL_MAP", 0)  # else small maps take kernels that can be
    g = game(d_attention=8, stabilizer="gradient-penalty")
    torch.nn.init.constant_(g.d.network.attention.gamma, 0.5)  # type: ignore[union-attr, arg-type]
    _, g.d.rules = of_players(RegularizerConfig(), "gradient-penalty")
    stats = update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])
    assert torch.isfinite(stats["d_grad_norm"])


class Memory(Regularizer):
    """A rule with everything that a rule may have: it pulls images towards their mean so far."""

    interval = 2

    def __init__(self) -> None:
        self.mean = torch.zeros(3)
        self.asked = 0

    def on_loss(self, moment: Moment) -> torch.Tensor:
        self.asked += 1
        mean = moment.fake.detach().mean((0, 2, 3))
        self.mean = torch.lerp(self.mean, mean, 0.5)
        return (moment.fake.mean((2, 3)) - self.mean).square().sum(1)


def test_a_rule_of_g_reaches_g_through_the_images_and_is_asked_at_its_interval() -> None:
    plain, ruled = game(), game()
    ruled.g.rules = {"memory": (rule := Memory())}
    latent = batch(4, latents=True)
    real = batch(4, latents=False)
    by_hand = copy.deepcopy(plain.g.network)
    advance(by_hand)
    fake = by_hand(*latent)
    mean = 0.5 * fake.detach().mean((0, 2, 3))
    loss = -plain.d.network(fake, latent[1]).mean() + (fake.mean((2, 3)) - mean).square().sum(1).mean()
    loss.backward()
    before = weights(ruled.g.network)
    for update in range(4):
        ruled.update_generator([real], [latent], numbers([real], [latent]), update)
        if update == 0:
            for name, p in by_hand.named_parameters():
                moved = before[name] - 0.1 * p.grad
                torch.testing.assert_close(ruled.g.network.get_parameter(name), moved, atol=1e-5, rtol=1e-4, msg=name)
    assert rule.asked == 2


def test_rules_run_in_float32_or_where_they_say_so_in_the_precision_of_the_run() -> None:
    seen: list[torch.dtype] = []

    class Looks(Regularizer):
        def __init__(self, in_float32: bool):
            self.in_float32 = in_float32

        def on_loss(self, moment: Moment) -> float:
            seen.append(torch.ones(2, 2).mm(torch.ones(2, 2)).dtype)
            return 0.0

    g = game(precision="bf16-mixed")
    g.d.rules = {"full": Looks(True), "mixed": Looks(False)}
    update_d(g, [batch(4, False)], [batch(4, True)])
    assert seen == [torch.float32, torch.bfloat16]


def test_networks_without_classes_train_too() -> None:
    g = game(n_classes=0)
    (x, _), (z, _) = batch(4, latents=False), batch(4, latents=True)
    stats = update_d(g, [(x, None)], [(z, None)]) | update_g(g, [(z, None)])
    assert all(torch.isfinite(value) for value in stats.values())


@pytest.mark.parametrize(("rule", "told"), [("d_r1", True), ("d_ortho", False)])
def test_penalties_through_norms_of_several_processes_are_refused(rule: str, told: bool) -> None:
    g = game(stabilizer="batch-norm")
    g.d.rules = {rule: R1(R1Settings(strength=1.0)) if rule == "d_r1" else Regularizer()}
    check_penalties(g, 1)
    if told:
        with pytest.raises(UserError, match=r"regularizers\.d_r1: over 2 processes"):
            check_penalties(g, 2)
    else:
        check_penalties(g, 2)
    g.d.network = tiny_discriminator()
    check_penalties(g, 2)


def test_real_and_fake_images_have_batch_norms_of_their_own_in_d() -> None:
    g = game()
    d = tiny_discriminator(stabilizer="batch-norm")
    wrapped, optimizer = g.fabric.setup(d, torch.optim.SGD(d.parameters(), lr=0.1, fused=True))
    g.d = Player(wrapped, d, optimizer)
    (x, y), (z, fake_y) = real, latents = batch(4, latents=False), batch(4, latents=True, seed=2)
    with torch.no_grad():
        on_real, on_fake = copy.deepcopy(d)(x, y), copy.deepcopy(d)(g.g.network(z, fake_y), fake_y)
    stats = update_d(g, [real], [latents])
    torch.testing.assert_close(stats["d_real"], on_real.mean())
    torch.testing.assert_close(stats["d_fake"], on_fake.mean())


class Recorder(Augment):
    """Changes nothing and keeps what it is told."""

    def forward(self, images: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
        return images

    def after_update(self, signs: torch.Tensor, images: int) -> None:
        self.told = signs.item(), images


@pytest.mark.parametrize(("loss", "mean_sign"), [("hinge", 1.0), ("least-squares", -1.0)])
def test_augmentation_follows_the_side_of_the_loss_s_boundary_that_real_images_are_on(
    loss: str, mean_sign: float
) -> None:
    """D says 0.3 of every image: above the 0 of the hinge, below the 0.5 of least squares."""
    g = game()
    trained = list(g.d.network.parameters())
    g.d.network.forward = lambda x, y: torch.full((len(x),), 0.3) + 0 * sum(p.sum() for p in trained)  # type: ignore[method-assign]
    g.loss, g.augment = LOSSES[loss], Recorder()
    update_d(g, [batch(4, latents=False)], [batch(4, latents=True)])
    assert g.augment.told == (mean_sign, 4)
