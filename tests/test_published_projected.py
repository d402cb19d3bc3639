"""Presets of Projected GAN, FastGAN and StyleGAN2-ADA against the tables of their sources."""

import pytest

from orthogan.pair import with_networks
from orthogan.presets import get
from orthogan.settings import differences
from orthogan.training.setup import adams, rules

SIDES = (32, 64, 128, 256, 512, 1024)


# Batch, learning rate, gamma of R1, half-life of the average in images: `auto` for one GPU.
AUTO = {
    32: (32, 0.0025, 0.0064, 10_000),
    64: (32, 0.0025, 0.0256, 10_000),
    128: (32, 0.0025, 0.1024, 10_000),
    256: (16, 0.0025, 0.8192, 5_000),
    512: (8, 0.0025, 6.5536, 2_500),
    1024: (4, 0.002, 52.4288, 1_250),
}


@pytest.mark.parametrize("side", SIDES)
def test_stylegan2_ada_is_auto_for_one_gpu(side: int) -> None:
    run = get(f"stylegan2-ada-{side}")
    found = run.batch, run.optimizer.g_lr, run.regularizers.d_r1.strength, run.ema.halflife_images
    assert found == pytest.approx(AUTO[side])
    assert run.optimizer.d_lr == run.optimizer.g_lr
    assert (run.loss, run.augment.kind, run.augment.pipe, run.augment.target) == ("non-saturating", "ada", "bgc", 0.6)
    assert (run.generator.mapping_layers, run.generator.mixing, run.discriminator.mbstd_group) == (2, 0.9, 4)
    assert run.fake_classes == "data"


def test_adam_of_lazy_rules_is_that_of_stylegan2() -> None:
    """G: lr times 4/5 and beta2 0.99^0.8; D: 16/17 and 0.99^(16/17)."""
    g, d = adams(run := get("stylegan2-ada-256"), rules(run))
    assert (g["lr"], d["lr"]) == pytest.approx((0.002, 0.0025 * 16 / 17))
    assert (g["betas"], d["betas"]) == (pytest.approx((0, 0.991992), abs=1e-6), pytest.approx((0, 0.9905855), abs=1e-6))
    eager = adams(run := get("projected-256"), rules(run))
    assert [adam["lr"] for adam in eager] == [2e-4, 2e-4]
    assert {adam["betas"] for adam in eager} == {(0.0, 0.99)}


@pytest.mark.parametrize("side", SIDES)
def test_projected_gan_is_the_paper_s(side: int) -> None:
    run = get(f"projected-{side}")
    d = run.discriminator
    assert (d.features, d.projection, d.mixing, d.discriminators, d.separable) == (
        "efficientnet-lite1", "ccm+csm", "paper", 4, False,
    )  # fmt: skip
    assert d.size == 224
    assert (run.augment.policy, run.augment.cutout) == ("color,translation,cutout", 0.2)
    assert (run.batch, run.loss, run.d_steps) == (64, "hinge", 1)
    assert (run.ema.halflife_images, run.ema.rampup) == (20_000, 0.05)


@pytest.mark.parametrize("side", SIDES)
def test_kinds_of_projected_gan_differ_in_what_their_names_say(side: int) -> None:
    released = get(f"projected-released-{side}")
    lite = {path: b for path, _, b in differences(released, get(f"projected-lite-{side}"))}
    assert lite == {"generator.blocks": "small"}
    styled = get(f"projected-stylegan2-{side}")
    assert (styled.generator.dim_z, styled.generator.dim_w, styled.generator.mixing) == (64, 128, 0)
    assert (styled.discriminator.separable, styled.optimizer.g_lr, styled.optimizer.d_lr) == (True, 2e-3, 2e-3)


@pytest.mark.parametrize("side", SIDES)
def test_fastgan_is_its_code_s(side: int) -> None:
    run = get(f"fastgan-{side}")
    assert (run.batch, run.images, run.optimizer.beta1, run.ema.decay) == (8, 400_000, 0.5, 0.999)
    assert (run.augment.policy, run.generator.tanh) == ("color,translation", side == 1024)
    assert (run.generator.normalize_z, run.generator.blocks, run.generator.width) == (False, "alternating", 64)
    assert run.regularizers.d_reconstruction.strength == run.batch  # a sum over the batch there, a mean here


@pytest.mark.parametrize(
    ("preset", "networks", "gone"),
    [
        ("stylegan2-ada-64", {"generator": "biggan"}, "g_path_length"),
        ("fastgan-64", {"discriminator": "projected"}, "d_reconstruction"),
        ("fastgan-64", {"discriminator": "stylegan2"}, "d_reconstruction"),
    ],
)
def test_rules_that_a_new_network_cannot_have_go(preset: str, networks: dict[str, str], gone: str) -> None:
    run = with_networks(get(preset), networks)
    assert getattr(get(preset).regularizers, gone).strength > 0
    assert getattr(run.regularizers, gone).strength == 0
    kept = with_networks(get("stylegan2-ada-64"), {"discriminator": "projected"}).regularizers
    assert kept == get("stylegan2-ada-64").regularizers
