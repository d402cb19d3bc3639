"""The named runs."""

import dataclasses

import pytest
import torch
from process import orthogan as command

import orthogan
from orthogan.config import RunConfig
from orthogan.errors import UserError
from orthogan.formats import to_json
from orthogan.game.losses import LOSSES
from orthogan.presets import PRESETS, SOURCES, both, describe, get, origins, sources
from orthogan.settings import differences, flatten, override


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_run_and_builds(name):
    run = get(name)
    assert isinstance(run, RunConfig)
    assert run.loss in LOSSES
    pair = orthogan.build(name, device="meta")
    assert pair.config == run
    assert all(p.is_meta for p in (*pair.generator.parameters(), *pair.discriminator.parameters()))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described_in_one_line(name):
    assert 20 < len(describe(name)) < 120
    assert "\n" not in describe(name)


@pytest.mark.parametrize("name", PRESETS)
def test_a_run_is_a_whole_number_of_steps(name):
    run = get(name)
    assert run.images % run.images_per_step == 0


def test_unknown_preset_offers_the_nearest():
    with pytest.raises(UserError, match="unknown preset 'bigan-128'; did you mean 'biggan-128'"):
        get("bigan-128")


def test_of_many_names_an_error_tells_near_ones_and_counts_the_others():
    with pytest.raises(UserError) as told:
        get("projected-small-256")
    assert "did you mean 'projected-small-64'?" in str(told.value)
    shown = str(told.value).split("known: ")[1].split(" and ")[0].split(", ")
    assert "projected-small-128" in shown
    assert len(shown) == 12
    assert f"and {len(PRESETS) - 12} more" in str(told.value)


def test_biggan_128_has_the_paper_s_hyperparameters():
    run = get("biggan-128")
    assert (run.optimizer.g_lr, run.optimizer.d_lr) == (5e-5, 2e-4)
    assert (run.optimizer.beta1, run.optimizer.beta2) == (0, 0.999)
    assert (run.batch, run.d_steps, run.loss) == (2048, 2, "hinge")
    assert (run.generator.bn_eps, run.discriminator.sn_eps, run.generator.init) == (1e-4, 1e-4, "orthogonal")
    assert (run.regularizers.g_ortho.strength, run.regularizers.g_ortho.form) == (1e-4, "paper")
    assert run.ema.decay == 0.9999
    assert (run.generator.width, run.generator.dim_z, run.generator.shared_dim) == (96, 120, 128)
    assert (run.generator.attention, run.discriminator.attention) == (64, 64)
    assert (run.n_classes, run.data.resize, run.data.crop, run.data.mirror) == (1000, "area", "center", False)


def test_the_larger_sizes_differ_from_128_in_the_network_alone():
    for name in ("biggan-64", "biggan-256", "biggan-512", "biggan-512-released"):
        changed = {path for path, _, _ in differences(get("biggan-128"), get(name))}
        assert all(path.startswith(("resolution", "generator.", "discriminator.")) for path in changed), name


# batch, ch, shared, skip-z, ortho, G updates: Table 1 from its second row.
TABLE_1 = {
    "table1-512": (512, 64, False, False, False, 1_000_000),
    "table1-1024": (1024, 64, False, False, False, 1_000_000),
    "table1-2048": (2048, 64, False, False, False, 732_000),
    "table1-wide": (2048, 96, False, False, False, 295_000),
    "table1-shared": (2048, 96, True, False, False, 185_000),
    "table1-skip-z": (2048, 96, True, True, False, 152_000),
    "table1-ortho": (2048, 96, True, True, True, 165_000),
    "table1-ch64": (2048, 64, True, True, True, 371_000),
}


@pytest.mark.parametrize("name", TABLE_1)
def test_a_row_of_table_1_has_the_row_s_settings(name):
    run = get(name)
    row = (
        run.batch,
        run.generator.width,
        run.generator.shared_embedding,
        run.generator.skip_z,
        run.regularizers.g_ortho.strength > 0,
        run.images / run.images_per_step,
    )
    assert row == TABLE_1[name]


def test_every_row_of_table_1_is_an_override_away_from_biggan_128():
    plain = {"generator.shared_embedding": False, "generator.skip_z": False, "generator.dim_z": 128}
    row = override(
        get("biggan-128"),
        {**plain, **both(width=64), "regularizers.g_ortho.strength": 0.0, "batch": 512, "images": 1_000_000 * 1024},
    )
    assert row == get("table1-512")


def test_biggan_32_is_the_cifar_script_of_biggan_pytorch():
    run = get("biggan-32")
    assert (run.batch, run.d_steps, run.images) == (50, 4, 125_000 * 4 * 50)
    assert (run.optimizer.g_lr, run.optimizer.d_lr, run.optimizer.beta2, run.optimizer.eps) == (2e-4, 2e-4, 0.999, 1e-8)
    assert (run.discriminator.sn_eps, run.generator.bn_eps, run.discriminator.init) == (1e-8, 1e-5, "normal")
    assert (run.generator.attention, run.discriminator.attention) == (0, 0)
    assert (run.ema.start_steps, run.regularizers.g_ortho.strength) == (1000, 0)


def test_biggan_32_shows_no_mirrored_images():
    assert not get("biggan-32").data.mirror  # its script has no --augment


def test_biggan_32_studiogan_has_studiogan_s_settings():
    run = get("biggan-32-studiogan")
    assert (run.batch, run.d_steps, run.images) == (64, 5, 100_000 * 5 * 64)
    assert (run.optimizer.g_lr, run.optimizer.d_lr) == (2e-4, 2e-4)
    assert (run.optimizer.beta1, run.optimizer.beta2) == (0.5, 0.999)
    assert (run.generator.width, run.generator.dim_z, run.generator.init) == (96, 80, "orthogonal")
    assert (run.generator.attention, run.discriminator.attention) == (16, 16)
    assert run.ema.start_steps == 1001  # it copies while its count, from 0, is below 1000: a thousand updates
    assert run.data.mirror


def test_studiogan_s_adam_has_its_own_eps():
    assert get("biggan-32-studiogan").optimizer.eps == 1e-6  # src/config.py, every backbone but StyleGAN


def test_biggan_32_studiogan_has_studiogan_s_epsilons():
    run = get("biggan-32-studiogan")
    assert (run.generator.sn_eps, run.generator.bn_eps, run.discriminator.sn_eps) == (1e-6, 1e-4, 1e-6)


def test_biggan_128_accumulated_is_the_launch_script_of_biggan_pytorch():
    run = get("biggan-128-accumulated")
    assert (run.batch, run.accumulate, run.d_steps) == (2048, 8, 1)
    assert (run.optimizer.g_lr, run.optimizer.d_lr, run.optimizer.eps) == (1e-4, 4e-4, 1e-6)
    assert (run.generator.sn_eps, run.discriminator.bn_eps) == (1e-6, 1e-5)
    assert (run.regularizers.g_ortho.strength, run.ema.start_steps, run.ema.decay) == (0, 20_000, 0.9999)
    assert run.images // run.images_per_step == 138_000


def test_build_takes_settings_of_the_network_by_keyword():
    pair = orthogan.build("biggan-128", device="meta", width=64, d_attention=32)
    assert (pair.config.generator.width, pair.config.discriminator.width) == (64, 64)
    assert (pair.generator.config.attention, pair.discriminator.config.attention) == (64, 32)
    with pytest.raises(UserError, match="widht"):
        orthogan.build("biggan-128", device="meta", widht=64)


def test_build_takes_other_networks_by_name():
    pair = orthogan.build("biggan-32", device="meta", discriminator="sngan", resolution=64, width=8)
    assert type(pair.generator).__name__ == "BigGANGenerator"
    assert type(pair.discriminator).__name__ == "SNGANDiscriminator"
    assert pair.discriminator.config == dataclasses.replace(get("sngan-64").discriminator, width=8)
    with pytest.raises(UserError, match="unknown discriminator 'sgan'; did you mean 'sngan'"):
        orthogan.build("biggan-32", discriminator="sgan")


def test_build_on_the_processor_gives_real_initialised_weights():
    pair = orthogan.build("digits", width=4)
    assert all(p.isfinite().all() for p in (*pair.generator.parameters(), *pair.discriminator.parameters()))
    assert not any(p.is_meta for p in pair.generator.parameters())


# Its configs/*.yml: batchsize, iteration, iteration_decay_start, n_gen_samples, resize_method, augmentation.
SNGAN_PROJECTION = {
    "sngan-32": (64, 50_000, 0, 128, "bilinear", False),
    "sngan-64": (64, 250_000, 200_000, 64, "bilinear", False),
    "sngan-128": (4 * 16, 450_000, 400_000, 4 * 32, "bilinear", False),
    "sngan-128-small": (16, 450_000, 400_000, 32, "bilinear", True),
    "sngan-256": (8, 450_000, 400_000, 16, "bilinear", True),
}


@pytest.mark.parametrize(("name", "ratio"), [("sngan-128-small", 0.9), ("sngan-256", 0.9), ("sngan-128", 1.0)])
def test_the_dog_and_cat_runs_cut_at_random(name, ratio):
    assert get(name).data.random_crop == ratio  # crop_ratio of its datasets/imagenet_dog_and_cat.py


@pytest.mark.parametrize("name", SNGAN_PROJECTION)
def test_presets_of_sn_gan_are_the_configurations_of_its_code(name):
    run = get(name)
    decay = run.optimizer.decay_from_images
    assert decay is not None
    row = (
        run.batch,
        run.images / run.images_per_step,
        decay / run.images_per_step,
        run.batch * run.g_batches,
        run.data.resize,
        run.data.mirror,
    )
    assert row == SNGAN_PROJECTION[name]
    assert (run.d_steps, run.optimizer.beta1, run.optimizer.beta2, run.data.dequantize) == (5, 0, 0.9, True)


def test_biggan_128_accumulated_shrinks_images_as_torchvision_does():
    assert get("biggan-128-accumulated").data.resize == "bilinear"


def test_d_of_biggan_deep_32_halves_twice():
    """`downsample: [True, True, False, False]`, one entry a stage of two blocks, three stages of 4 ch."""
    d = orthogan.build("biggan-deep-32", width=4).discriminator
    assert [block.down for block in d.blocks] == [True, False, True, False, False, False]
    assert {block.conv4.weight.shape[0] for block in d.blocks} == {16}
    sides = []
    d.blocks[-1].register_forward_hook(lambda module, inputs, output: sides.append(output.shape[2]))
    d(torch.zeros(1, 3, 32, 32), torch.zeros(1, dtype=torch.long))
    assert sides == [8]


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_has_a_source(name):
    found = sources(name)
    assert found.keys() == flatten(to_json(get(name))).keys()
    assert set(found.values()) <= SOURCES.keys()
    assert origins(name)


def test_presets_that_mix_sources_say_which_value_is_whose():
    sagan, accumulated, deep = sources("sagan-128"), sources("biggan-128-accumulated"), sources("biggan-deep-64")
    assert (sagan["optimizer.beta2"], sagan["generator.init"]) == ("SAGAN", "BigGAN-PyTorch")
    assert (sagan["generator.attention"], sagan["data.resize"]) == ("SAGAN code", "orthogan")
    assert (accumulated["batch"], accumulated["optimizer.g_lr"]) == ("BigGAN", "BigGAN-PyTorch")
    assert (deep["discriminator.channels"], deep["generator.width"]) == ("compare_gan", "BigGAN")
    assert sources("biggan-128")["ema.start_steps"] == "BigGAN-PyTorch"
    assert sources("biggan-512-released")["generator.dim_z"] == "BigGAN weights"


def test_show_prints_the_source_beside_the_value_and_spells_it_out():
    told = command("presets", "show", "sagan-128").out
    rows = {words[0]: words[1:] for words in map(str.split, told.splitlines()) if len(words) > 2}
    assert rows["optimizer.beta2"][-1] == "SAGAN"
    assert rows["generator.sn_eps"][-1] == "BigGAN-PyTorch"
    assert rows["seed"][-1] == "orthogan"
    assert "ajbrock/BigGAN-PyTorch" in told
    assert "StudioGAN" not in told


def test_presets_spells_its_sources_out():
    told = command("presets").out
    assert all(source in told for source in SOURCES)
    assert "sngan_projection" in next(line for line in told.splitlines() if "sngan-256" in line)


@pytest.mark.parametrize(("side", "size"), [(32, 64), (64, 96), (128, 160)])
def test_projected_small_is_the_setting_that_docs_training_chose(side, size):
    run = get(f"projected-small-{side}")
    d = run.discriminator
    assert (d.features, d.mixing, d.discriminators, d.separable) == ("efficientnet-lite0", "released", 1, True)
    assert (d.norm, d.size, run.generator.width, run.batch) == ("batch", size, 16, 16)
    assert (run.optimizer.g_lr, run.optimizer.d_lr) == (4e-4, 1e-4)
    assert (run.augment.kind, run.augment.policy) == ("diffaugment", "translation,cutout")


# The papers' and codes' lr of G and of D, beta1, beta2, batch, updates of G and loss, where no test above states them.
TRAINED_BY = {
    "sagan-128": (1e-4, 4e-4, 0, 0.9, 256, 1_000_000, "hinge"),
    "biggan-deep-256": (2.5e-5, 2.5e-5, 0, 0.999, 2048, 165_000, "hinge"),
    "biggan-deep-512": (2.5e-5, 2.5e-5, 0, 0.999, 2048, 165_000, "hinge"),
    "sngan-cnn-32": (2e-4, 2e-4, 0.5, 0.999, 64, 100_000, "non-saturating"),
    "projected-256": (2e-4, 2e-4, 0, 0.99, 64, 156_250, "hinge"),
    "projected-stylegan2-256": (2e-3, 2e-3, 0, 0.99, 64, 156_250, "hinge"),
    "stylegan2-ada-256": (2.5e-3, 2.5e-3, 0, 0.99, 16, 1_562_500, "non-saturating"),
    "fastgan-256": (2e-4, 2e-4, 0.5, 0.999, 8, 50_000, "hinge"),
}


@pytest.mark.parametrize("name", TRAINED_BY)
def test_other_published_runs_are_trained_as_published(name):
    run, adam = get(name), get(name).optimizer
    row = (adam.g_lr, adam.d_lr, adam.beta1, adam.beta2, run.batch, run.images / run.images_per_step, run.loss)
    assert row == TRAINED_BY[name]


def test_initial_weights_of_sagan_are_xavier_s():
    assert (get("sagan-128").generator.init, get("sagan-128").discriminator.init) == ("xavier", "xavier")
