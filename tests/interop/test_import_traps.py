"""What is easily got wrong in a conversion, each by itself, and files that bring statistics along."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from foreign_files import apart, discriminator_of, generator_of, imported, outputs, part, squares, thin, unpack

from orthogan.errors import UserError
from orthogan.interop import archives
from orthogan.interop.foreign import Foreign, Hints, layer, multiples
from orthogan.interop.statistics import Collected
from orthogan.interop.writing import prepare, write
from orthogan.model import load
from orthogan.networks import build_discriminator, build_generator
from orthogan.networks.biggan_deep import BigGANDeepGeneratorConfig
from orthogan.nn.spectral import normalized_layers
from orthogan.nn.standing import standing_buffers


def scaled(t: float) -> dict:
    return {"truncation": t, "form": "scaled"}


@pytest.mark.parametrize(("t", "key"), [(0.4, "images_0.4"), (0.8, "images_0.8"), (0.3, "mixed")])
def test_the_released_generator_uses_the_statistics_of_a_truncation(t: float, key: str, tmp_path: Path) -> None:
    """`mixed` has the mean of two rows: what interpolation is, where the published code weighs them in reverse."""
    write(imported("huggingface", tmp_path / "in"), tmp_path / "out.safetensors")
    model, expected = load(tmp_path / "out.safetensors", "cpu", "float32"), outputs("huggingface")
    model.stand(**scaled(t))
    with torch.no_grad():
        images = model.sampler.generator(expected["z"], expected["y"])
    assert apart(thin(images, expected[key]), expected[key]) < 1e-5


def test_the_rows_of_a_released_file_are_at_hundredths_exactly(tmp_path: Path) -> None:
    """0.14, 0.28, 0.56, 0.58 and 0.94 are where the published code takes a neighbouring row."""
    write(imported("huggingface", tmp_path / "in"), tmp_path / "out.safetensors")
    model = load(tmp_path / "out.safetensors", "cpu", "float32")
    held, count = model._held, 51
    held._thresholds = [i / (count - 1) for i in range(count)]
    held._rows = {"0.mean": torch.arange(count).float()[:, None]}

    def mean(truncation: float | None, form: str) -> float | None:
        found = held.at(Collected(truncation, form, 16))
        return None if found is None else found[0]["0.mean"].item()

    assert [mean(float(f"{0.02 * i:.2f}"), "scaled") for i in range(count)] == list(range(count))
    assert mean(0.01, "scaled") == pytest.approx(0.5)
    assert mean(1.01, "scaled") is None
    assert mean(0.5, "redraw") is None
    assert mean(None, "redraw") is None


def test_sigma_of_the_image_layer_is_that_of_all_its_channels(tmp_path: Path) -> None:
    result = imported("huggingface", tmp_path)
    g, tensors = generator_of(result), archives.read(tmp_path / "pytorch_model.bin")[0].tensors
    name = "generator.conv_to_rgb"
    whole = tensors[f"{name}.weight_orig"].flatten(1)
    sigma = tensors[f"{name}.weight_u"] @ whole @ tensors[f"{name}.weight_v"]
    assert g.to_rgb.sigma().item() == pytest.approx(sigma.item(), rel=1e-6)
    assert g.to_rgb.weight.shape[0] == 4 > 3
    assert torch.linalg.matrix_norm(whole[:3], 2) < 0.99 * torch.linalg.matrix_norm(whole, 2)
    assert g(torch.zeros(1, 4), torch.tensor([0])).shape == (1, 3, 64, 64)


def test_rows_and_columns_of_the_first_layer_come_in_our_order(tmp_path: Path) -> None:
    """Rows are (height, width, channels) there, columns and conditions (z, class); here channels and classes first."""
    result = imported("huggingface", tmp_path)
    theirs = archives.read(tmp_path / "pytorch_model.bin")[0].tensors["generator.gen_z.weight_orig"]
    ours = part(result, "ema")["linear.weight"]
    channel, y, x, of_class, of_z = 5, 1, 2, 3, 1
    row = (y * 4 + x) * 64 + channel
    assert ours[(channel * 4 + y) * 4 + x, of_class] == theirs[row, 4 + of_class]
    assert ours[(channel * 4 + y) * 4 + x, 4 + of_z] == theirs[row, of_z]
    table = archives.read(tmp_path / "pytorch_model.bin")[0].tensors["embeddings.weight"]
    assert part(result, "ema")["embedding.weight"].equal(table.t())


def test_the_released_sizes_have_the_released_numbers_of_parameters() -> None:
    for side, count in ((128, 50_388_609), (256, 55_880_833), (512, 56_163_905)):
        with torch.device("meta"):
            config = dataclasses.replace(BigGANDeepGeneratorConfig.at(side), rgb_channels=128)
            network = build_generator(config, side, 1000)
        assert sum(p.numel() for p in network.parameters()) == count


def test_stored_vectors_divide_and_are_not_improved(tmp_path: Path) -> None:
    """The published code divides by u W v of what it has stored; sampling does so, too."""
    result = imported("huggingface", tmp_path / "in")
    write(result, tmp_path / "out.safetensors")
    layers = list(normalized_layers(load(tmp_path / "out.safetensors", "cpu", "float32").sampler.generator))
    for name, layer_here in layers:
        assert layer_here.u.equal(part(result, "ema")[f"{name}.u"])
    shares = [found.sigma() / torch.linalg.matrix_norm(found.weight.flatten(1), 2) for _, found in layers]
    assert min(shares) < 0.9  # of new networks the stored vectors are far from the singular ones


def test_a_vector_without_a_partner_goes_on_by_one_iteration() -> None:
    weight, u = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([[1.0, 0, 0]])
    found = layer(Foreign({"l.weight": weight, "l.u0": u, "l.sv0": torch.ones(1), "l.u1": u}, "x"), "l")
    v = F.normalize(weight[0], dim=0)
    assert found["v"].allclose(v)
    assert found["u"].allclose(F.normalize(weight @ v, dim=0))


def test_the_last_norm_of_one_project_has_an_eps_of_its_own(tmp_path: Path) -> None:
    case = "brock32flat"
    result, expected = prepare([unpack(case, tmp_path)], bn_eps=1e-3), outputs(case)
    assert (result.config.generator.bn_eps, result.config.generator.last_bn_eps) == (1e-3, 1e-5)
    g = generator_of(result)
    with torch.no_grad():
        assert apart(thin(g(expected["z"], expected["y"]), expected["images"]), expected["images"]) < 1e-5
        g.norm.eps = 1e-3
        assert apart(thin(g(expected["z"], expected["y"]), expected["images"]), expected["images"]) > 1e-4


@pytest.mark.parametrize("case", ["studio", "mimicrycgan"])
def test_skips_behind_a_relu_are_another_function(case: str, tmp_path: Path) -> None:
    result, expected = imported(case, tmp_path), outputs(case)
    config = dataclasses.replace(result.config.discriminator, skip_relu=False)
    d = build_discriminator(config, result.config.resolution, result.config.n_classes)
    d.load_state_dict(part(result, "discriminator"))
    with torch.no_grad():
        assert apart(d.eval()(squares(expected), expected["x_y"]), expected["logits"]) > 1e-2
        assert discriminator_of(result)(squares(expected), expected["x_y"]).allclose(expected["logits"], atol=1e-4)


def test_gains_of_mimicry_are_whole(tmp_path: Path) -> None:
    """Ours are added to 1."""
    tensors = part(imported("mimicrycgan", tmp_path), "ema")
    stored = archives.read(tmp_path / "netG_3_steps.pth")[0].tensors["block3.b1.embed.weight"]
    assert (tensors["blocks.1.norm1.gain.weight"] + 1).allclose(stored[:, :8], atol=1e-6)
    assert tensors["blocks.1.norm1.shift.weight"].equal(stored[:, 8:])


def test_sums_of_standing_statistics_are_divided(tmp_path: Path) -> None:
    tensors = part(imported("brock32", tmp_path), "ema")
    stored = archives.read(tmp_path / "G_ema.pth")[0].tensors
    assert stored["blocks.0.0.bn1.bn.accumulation_counter"].item() == 3
    assert tensors["blocks.0.norm1.var"].allclose(stored["blocks.0.0.bn1.bn.stored_var"] / 3)


def test_statistics_of_a_file_are_used_where_they_fit_and_left_out_on_request(tmp_path: Path) -> None:
    for keep in (True, False):
        write(prepare([unpack("studio", tmp_path / "in")], statistics=keep), tmp_path / f"{keep}.safetensors")
    kept, fresh = (load(tmp_path / f"{keep}.safetensors", "cpu", "float32") for keep in (True, False))
    stored = {name: buffer.clone() for name, buffer in standing_buffers(kept.sampler.generator).items()}
    for model in (kept, fresh):
        model.stand()
    assert all(stored[name].equal(b) for name, b in standing_buffers(kept.sampler.generator).items())
    assert kept.describe()["standing_statistics_batches"] == 0
    assert not stored["0.mean"].equal(standing_buffers(fresh.sampler.generator)["0.mean"])
    kept.stand(0.5)
    assert not stored["0.mean"].equal(standing_buffers(kept.sampler.generator)["0.mean"])
    kept.stand()
    assert stored["0.mean"].equal(standing_buffers(kept.sampler.generator)["0.mean"])
    assert kept.sample(2, seed=1).shape == (2, 32, 32, 3)
    assert np.array_equal(kept.sample(2, seed=1), kept.sample(2, seed=1))


def test_channels_are_multiples_as_published() -> None:
    assert multiples((96, 48, 24), [(16, 8, 4)]) == (6, (16, 8, 4))
    assert multiples((96, 40, 24)) == (8, (12, 5, 3))


def test_hints_are_optional() -> None:
    assert Hints().bn_eps is None


def test_a_generator_alone_becomes_both_parts_and_an_average_alone_one(tmp_path: Path) -> None:
    unpack("mimicrysngan", tmp_path)
    (tmp_path / "netD_3_steps.pth").unlink()
    result = prepare([tmp_path])
    assert {name.split(".")[0] for name in result.tensors} == {"generator", "ema"}
    write(result, tmp_path / "out.safetensors")
    loaded = load(tmp_path / "out.safetensors", "cpu", "float32")
    assert loaded.header.extra["imported"]["parts"]["generator"]["file"] == "netG_3_steps.pth"
    assert loaded.sample(1).shape == (1, 48, 48, 3)
    average = prepare([unpack("brock64", tmp_path / "b") / "G_ema.pth"])
    assert {name.split(".")[0] for name in average.tensors} == {"ema"}


@pytest.mark.parametrize(
    ("sources", "why"),
    [
        (["a/netD_3_steps.pth"], "discriminator alone"),
        (["a/netG_3_steps.pth", "a/again.pth"], "several files are the generator"),
        (["b", "a/netD_3_steps.pth"], "several files|channels are those of 48 pixels"),
        (["b/G_ema.pth", "c/D.pth"], "channels are those of 32 pixels"),
        (["c/G_ema.pth", "d"], "several files|does not belong"),
        (["own.safetensors"], "already"),
        (["nowhere"], "does not exist"),
        (["empty"], "no weights at all"),
        (["two"], "several models"),
    ],
)
def test_files_that_are_no_one_model_are_refused(sources: list[str], why: str, tmp_path: Path) -> None:
    for case, folder in (("mimicrysngan", "a"), ("brock64", "b"), ("brock32", "c"), ("brock32flat", "d")):
        unpack(case, tmp_path / folder)
    (tmp_path / "a" / "again.pth").write_bytes((tmp_path / "a" / "netG_3_steps.pth").read_bytes())
    write(prepare([tmp_path / "c"]), tmp_path / "own.safetensors")
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("G_best0.pth", "G_best1.pth"):
        (tmp_path / "two" / name).write_bytes((tmp_path / "c" / "G_ema.pth").read_bytes())
    with pytest.raises(UserError, match=why):
        prepare([tmp_path / source for source in sources])


def test_statistics_under_the_names_of_the_norm_over_processes(tmp_path: Path) -> None:
    path = unpack("brock64", tmp_path) / "G_ema.pth"
    wanted = part(prepare([path]), "ema")
    state = torch.load(path, weights_only=True)
    renamed = {name.replace(".stored_", ".bn.running_"): tensor for name, tensor in state.items()}
    counts = {f"{name.removesuffix('mean')}X": torch.tensor(3) for name in renamed if name.endswith("running_mean")}
    renamed |= {name.replace("running_X", "num_batches_tracked"): tensor for name, tensor in counts.items()}
    torch.save(renamed, path)
    found = part(prepare([path]), "ema")
    assert len(renamed) > len(state)
    assert all(found[name].equal(tensor) for name, tensor in wanted.items())
