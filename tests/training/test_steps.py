"""The update of D and the update of G."""

import copy
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from tiny import tiny_network
from torch import nn

from orthogan.game.losses import LOSSES
from orthogan.networks import build_discriminator, build_generator
from orthogan.nn.spectral import advance, normalized_layers
from orthogan.training.player import Player
from orthogan.training.steps import Batch, Game


def game(joint: bool = False, **network: Any) -> Game:
    torch.manual_seed(0)
    config = tiny_network(**network)
    fabric = Fabric(accelerator="cpu", devices=1)
    players = []
    for net in (build_generator(config), build_discriminator(config)):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
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


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in network.named_parameters()}


def test_d_s_update_is_the_gradient_of_the_hinge_loss() -> None:
    g = game()
    before = weights(g.d.network)
    real, latent = batch(4, latents=False), batch(4, latents=True)
    stats = g.update_discriminator([real], [latent])

    # The same by hand: same spectral vectors, a plain loss over separate forwards of real and fake.
    hand = build_discriminator(tiny_network())
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
        (g.d, lambda: g.update_discriminator([batch(4, latents=False)], [batch(4, latents=True)])),
        (g.g, lambda: g.update_generator([batch(4, latents=True)])),
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
    stats = g.update_generator(latents, real)
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
    stats = g.update_generator(latents, real)
    assert stats["g_loss"].item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_each_update_leaves_the_other_network_alone() -> None:
    g = game()
    g_before = weights(g.g.network) | dict(g.g.network.named_buffers())
    g_before = {k: v.clone() for k, v in g_before.items()}
    g.update_discriminator([batch(4, latents=False)], [batch(4, latents=True)])
    for name, value in g_before.items():
        assert torch.equal(dict(g.g.network.state_dict())[name], value), name
    d_before = {k: v.clone() for k, v in g.d.network.state_dict().items()}
    g.update_generator([batch(4, latents=True)])
    for name, value in d_before.items():
        assert torch.equal(g.d.network.state_dict()[name], value), name


def test_g_s_update_asks_no_gradient_of_d_s_weights() -> None:
    g = game()
    g.d.optimizer.zero_grad(set_to_none=True)
    g.update_generator([batch(4, latents=True)])
    assert all(p.grad is None for p in g.d.network.parameters())
    assert all(p.grad is not None for p in g.g.network.parameters())


def test_each_update_runs_one_power_iteration_of_its_own_network_however_many_micro_batches() -> None:
    g = game()
    layer = next(layer for _, layer in normalized_layers(g.d.network))
    u, w = layer.u.clone(), layer.weight.detach().clone().flatten(1)
    g.update_discriminator(in_micros(batch(8, latents=False), 4), in_micros(batch(8, latents=True), 4))
    v = nn.functional.normalize(w.T @ u, dim=0)
    torch.testing.assert_close(layer.u, nn.functional.normalize(w @ v, dim=0))


def test_accumulation_gives_d_the_gradient_of_the_whole_batch() -> None:
    whole, parts = game(joint=True), game(joint=True)
    real, latent = batch(8, latents=False), batch(8, latents=True)
    whole.update_discriminator([real], [latent])
    parts.update_discriminator(in_micros(real, 4), in_micros(latent, 4))
    for name, p in whole.d.network.named_parameters():
        torch.testing.assert_close(parts.d.network.get_parameter(name), p, msg=name)


def test_batch_norm_over_all_micro_batches_equals_the_large_batch() -> None:
    whole, joint, apart = game(), game(joint=True), game()
    latent = batch(8, latents=True)
    whole.update_generator([latent])
    joint.update_generator(in_micros(latent, 4))
    apart.update_generator(in_micros(latent, 4))
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
    with pytest.raises(NonFiniteError, match=r"parameter blocks\.1\.conv1\.weight of BigGANDiscriminator"):
        g.update_discriminator([batch(4, latents=False)], [batch(4, latents=True)])
    for name, value in before.items():
        assert torch.equal(g.d.network.get_parameter(name).nan_to_num(7.0), value.nan_to_num(7.0))


def test_an_overflow_is_traced_to_the_layer_whose_output_it_is() -> None:
    g = game()

    def overflow(module: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
        return output * float("inf")

    g.g.network.blocks[1].conv1.register_forward_hook(overflow)  # type: ignore[index, union-attr]
    with pytest.raises(NonFiniteError, match=r"layer blocks\.1\.conv1 of BigGANGenerator"):
        g.update_generator([batch(4, latents=True)])


def test_networks_without_classes_train_too() -> None:
    g = game(n_classes=0)
    (x, _), (z, _) = batch(4, latents=False), batch(4, latents=True)
    stats = g.update_discriminator([(x, None)], [(z, None)]) | g.update_generator([(z, None)])
    assert all(torch.isfinite(value) for value in stats.values())
