"""Sampling: addressed images, sheets, walks, standing statistics kept beside the checkpoint."""

import gc
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_generator, tiny_run
from torch import Tensor

import orthogan
from orthogan.errors import UserError
from orthogan.model import find_checkpoint, load
from orthogan.networks import GENERATORS, build_generator
from orthogan.nn.noise import Noise
from orthogan.nn.norm import norm_layers
from orthogan.sampling import Sampler, chunk_size, sheet_layout, to_uint8, truncation_sheet, walk
from orthogan.training import checkpoint
from orthogan.training.checkpoint import Header

CPU = torch.device("cpu")


def sampler(precision: str = "float32", **network: object) -> Sampler:
    torch.manual_seed(0)
    made = Sampler(tiny_generator(**network), precision)
    made.collect()
    return made


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    generator = tiny_generator()
    tensors = {f"ema.{k}": v for k, v in generator.state_dict().items()}
    path = tmp_path / "run" / "checkpoints" / checkpoint.file_name(5)
    checkpoint.save(path, tensors, Header(tiny_run(), 5, 1, {"class_names": ["a", "b", "c"]}))
    return path


def together(images: object) -> Tensor:
    return torch.cat(list(images))  # type: ignore[call-overload, no-any-return]


def test_pixels_by_hand() -> None:
    images = torch.tensor([-1.0, 0.0, 1.0, 1.5, -0.999]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(images)[0, 0, :, 0].tolist() == [0, 128, 255, 255, 0]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_an_image_does_not_depend_on_how_many_are_asked_for(precision: str) -> None:
    s = sampler(precision)
    size = chunk_size(16, CPU)
    many = together(s.stream(size * 2 + 3, seed=5))
    for n in (1, 7, size, size + 1):
        assert torch.equal(together(s.stream(n, seed=5)), many[:n])
    assert not torch.equal(together(s.stream(7, seed=6)), many[:7])


def test_sampling_moves_nothing_and_does_not_touch_the_global_generator() -> None:
    s = sampler()
    before = {k: v.clone() for k, v in s.generator.state_dict().items()}
    state = torch.get_rng_state()
    together(s.stream(5, truncation=0.5))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in before.items():
        assert torch.equal(s.generator.state_dict()[name], value), name
    assert not s.generator.training


def test_images_are_what_the_network_gives_for_the_addressed_latents() -> None:
    from orthogan.game.latents import latents_at

    s = sampler()
    z = latents_at(3, 0, 4, s.generator.dim_z)
    with torch.no_grad():
        expected = to_uint8(s.generator(z, torch.tensor([2, 0, 2, 0])))
    got = together(s.stream(4, classes=[2, 0], seed=3))
    assert (got.int() - expected.int()).abs().max() <= 1


def test_truncation_changes_latents_and_needs_its_own_statistics() -> None:
    s = sampler()
    wide = [layer.mean.clone() for layer in norm_layers(s.generator)]
    s.collect(truncation=0.04)
    narrow = [layer.mean for layer in norm_layers(s.generator)]
    assert any((a - b).abs().max() > 1e-2 for a, b in zip(wide, narrow, strict=True))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        ({"classes": [3]}, "classes 0 to 2"),
        ({"classes": []}, "name at least one class"),
        ({"truncation": 0.0}, "must be positive"),
        ({"truncation": 1.5, "form": "scaled"}, r"\(0, 1\]"),
        ({"form": "scaled"}, "needs a truncation"),
        ({"n": 0}, "n=0"),
    ],
)
def test_what_a_model_cannot_do_is_an_error(ask: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        together(sampler().stream(**({"n": 2} | ask)))  # type: ignore[arg-type]


def test_a_model_without_classes_refuses_them() -> None:
    s = sampler(n_classes=0)
    assert together(s.stream(2)).shape == (2, 16, 16, 3)
    with pytest.raises(UserError, match="without classes"):
        together(s.stream(2, classes=[0]))
    with pytest.raises(UserError, match="without classes"):
        together(walk(s, "classes", 1, 3))


def test_standing_statistics_are_kept_beside_the_checkpoint(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(saved).sample(3, truncation=0.5)
    kept = list((saved.parent / "standing").glob("*.safetensors"))
    assert len(kept) == 1
    monkeypatch.setattr(Sampler, "collect", lambda *_, **__: pytest.fail("collected again"))
    assert np.array_equal(load(saved).sample(3, truncation=0.5), first)


def test_torn_standing_statistics_are_collected_again(saved: Path) -> None:
    before = load(saved).sample(3)
    (kept,) = (saved.parent / "standing").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(load(saved).sample(3), before)


def test_standing_statistics_of_other_weights_are_not_taken(saved: Path) -> None:
    before = load(saved).sample(3)
    found = checkpoint.load(saved)
    header, tensors = found.header, dict(found.tensors)
    tensors["ema.to_rgb.weight"] = -tensors["ema.to_rgb.weight"]
    tensors["ema.linear.weight"] = tensors["ema.linear.weight"].flip(1)
    checkpoint.save(saved, tensors, header)
    load(saved).sample(3)
    assert len(list((saved.parent / "standing").glob("*.safetensors"))) == 2
    assert not np.array_equal(load(saved).sample(3), before)


def test_a_run_folder_means_its_newest_whole_checkpoint(saved: Path) -> None:
    run = saved.parents[1]
    newer = saved.with_name(checkpoint.file_name(9))
    newer.write_bytes(saved.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="torn"):
        assert find_checkpoint(run).path == saved
    assert load(run).class_names == ["a", "b", "c"]
    with pytest.raises(UserError, match="does not exist"):
        load(run / "nothing.safetensors")


def test_sheets_have_a_row_a_class_spread_over_all_of_them() -> None:
    classes, n = sheet_layout(1000)
    assert n == 100
    assert classes is not None
    assert classes[0] == 0
    assert classes[-1] == 999
    assert len(set(classes)) == 10
    assert sheet_layout(3) == ([c for c in range(3) for _ in range(10)], 30)
    assert sheet_layout(0) == (None, 100)


def test_a_walk_begins_and_ends_at_the_images_of_its_ends() -> None:
    s = sampler()
    images = together(walk(s, "both", 2, 5, classes=[0, 1, 2], seed=4)).view(2, 5, 16, 16, 3)
    ends = together(s.stream(3, classes=[0, 1, 2], seed=4))
    for row in range(2):
        assert (images[row, 0].int() - ends[row].int()).abs().max() <= 1
        assert (images[row, -1].int() - ends[row + 1].int()).abs().max() <= 1


def test_walks_between_classes_keep_the_latent_and_those_between_latents_the_class() -> None:
    s = sampler()
    of_classes = together(walk(s, "classes", 1, 3, classes=[0, 1], seed=4))
    same_latent = together(s.stream(1, classes=[1], seed=4))
    assert (of_classes[-1].int() - same_latent[0].int()).abs().max() <= 1
    of_latents = together(walk(s, "latents", 1, 3, classes=[1], seed=4))
    same_class = together(s.stream(2, classes=[1], seed=4))
    assert (of_latents[-1].int() - same_class[1].int()).abs().max() <= 1


def test_the_checkpoint_s_precision_and_truncation_are_described(saved: Path) -> None:
    model = load(saved, precision="float32")
    model.sample(1, truncation=0.7)
    described = model.describe()
    assert described["truncation"] == 0.7
    assert described["images_seen"] == 5
    assert described["precision"] == "float32"
    assert described["standing_statistics_batches"] == 16


def test_a_truncation_sheet_does_not_leave_its_statistics_to_the_next_sampling(saved: Path) -> None:
    expected = load(saved, precision="float32").sample(3)
    model = load(saved, precision="float32")
    model.sample(1)
    truncation_sheet(model.sampler, [0.5, 0.04])
    assert np.array_equal(model.sample(3), expected)
    model.sampler.collect(seed=1)
    assert np.array_equal(model.sample(3), expected)
    assert model.describe()["truncation"] is None


def test_a_truncation_sheet_takes_kept_statistics(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(saved)
    model.stand(0.5)
    monkeypatch.setattr(Sampler, "collect", lambda *_, **__: pytest.fail("collected again"))
    truncation_sheet(model.sampler, [0.5], stand=model.stand)


@pytest.mark.parametrize(
    "ask", [{"classes": [99]}, {"classes": "d"}, {"n": 0}, {"truncation": -1.0}, {"form": "scaled"}]
)
def test_what_cannot_be_drawn_is_refused_before_statistics_are_collected(
    ask: dict[str, Any], saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sampler, "collect", lambda *_, **__: pytest.fail("collected"))
    with pytest.raises(UserError):
        load(saved).stream(**({"n": 2} | ask))
    assert not (saved.parent / "standing").exists()


def test_classes_are_taken_by_name_and_by_index(saved: Path) -> None:
    model = load(saved)
    expected = model.sample(4, classes=[1, 2])
    assert np.array_equal(model.sample(4, classes=["b", 2]), expected)
    assert np.array_equal(model.sample(4, classes=np.array([1, 2])), expected)
    assert np.array_equal(model.sample(2, classes="c"), model.sample(2, classes=[2]))


def test_ones_own_latents_give_the_images_that_sampling_gives(saved: Path) -> None:
    from orthogan.game.latents import latents_at

    model = load(saved, precision="bf16")
    for truncation in (None, 0.5):
        z = latents_at(3, 0, 5, model.dim_z, truncation)
        expected = model.sample(5, classes=[1], truncation=truncation, seed=3)
        one_hot = np.tile([0.0, 1.0, 0.0], (5, 1))
        for y in (1, "b", [1] * 5, ["b", 1, "b", 1, 1], torch.ones(5, dtype=torch.int64), torch.tensor(1), one_hot):
            assert np.array_equal(model.generate(z.double().numpy(), y, truncation=truncation), expected), y
    assert np.array_equal(model.generate(z.tolist(), "b", truncation=0.5), expected)


@pytest.mark.parametrize(
    ("z", "y", "message"),
    [
        (np.zeros((2, 11)), 0, r"z.shape=\(2, 11\): must be \(N, 12\)"),
        (np.zeros(12), 0, "z.shape"),
        (np.zeros((0, 12)), 0, "z.shape"),
        (np.full((2, 12), np.nan), 0, "must be finite"),
        ([["a"]], 0, "not an array of numbers"),
        (np.zeros((2, 12)), None, "3 classes"),
        (np.zeros((2, 12)), [0, 1, 2], "3 labels"),
        (np.zeros((2, 12)), 3, "classes 0 to 2"),
        (np.zeros((2, 12)), [0.5, 0.5], "neither an index nor a name"),
        (np.zeros((2, 12)), np.zeros((2, 2)), "y.shape"),
        (np.zeros((2, 12)), np.zeros((1, 3)), "1 rows"),
    ],
)
def test_latents_and_labels_of_other_shapes_are_refused(z: Any, y: Any, message: str, saved: Path) -> None:
    with pytest.raises(UserError, match=message):
        load(saved).generate(z, y)


def test_a_model_says_what_it_is(saved: Path) -> None:
    told = repr(load(saved))
    for part in ("biggan", "16x16", "3 classes", "z of 12", "normal", "cpu", saved.name):
        assert part in told


def test_dir_shows_what_there_is() -> None:
    assert {"load", "build", "Model", "UserError"} <= set(dir(orthogan))
    assert all(getattr(orthogan, name) is not None for name in dir(orthogan))


def test_a_program_that_loads_a_model_ends_in_silence(saved: Path) -> None:
    code = f"import orthogan; model = orthogan.load({str(saved)!r}); model.sample(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_network_whose_sampler_is_gone_computes_its_kernels_again() -> None:
    s = sampler()
    generator = s.generator
    assert any(m._kernel is not None for m in generator.modules() if hasattr(m, "_kernel"))
    del s
    gc.collect()
    assert all(m._kernel is None for m in generator.modules() if hasattr(m, "_kernel"))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"PK\x03\x04\x00\x00\x08\x08", "torch.save"), (b"\x80\x02\x8a\nl\xfc\x9cF", "pickle"), (b"\x89HDF\r\n", "HDF5")],
)
def test_checkpoints_of_other_programs_are_told_what_they_are(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "G_ema.pth"
    path.write_bytes(content + bytes(100))
    with pytest.raises(UserError, match=rf"{told}.*\.safetensors"):
        load(path)


def noisy(family: str, **changes: Any) -> Sampler:
    """Of a tiny generator whose noise is heard."""
    torch.manual_seed(0)
    generator = build_generator(GENERATORS[family].tiny, 16, 0)
    for name, parameter in generator.named_parameters():
        if name.endswith("strength"):
            parameter.data.fill_(0.5)
    made = Sampler(generator, "float32", **changes)
    made.collect()
    return made


def styled(**changes: Any) -> Sampler:
    return noisy("stylegan2", **changes)


def test_psi_draws_w_to_its_mean() -> None:
    s = styled(noise="const")
    one = together(s.stream(6, truncation=0.0))
    assert (one == one[:1]).all()
    far, near = (together(s.stream(6, truncation=psi)).float() for psi in (1.0, 0.5))
    assert torch.equal(far, together(s.stream(6)).float())
    assert (near - one.float()).abs().mean() < (far - one.float()).abs().mean()


def test_cutoff_leaves_the_last_layers_alone() -> None:
    whole, cut = styled(noise="const"), styled(noise="const", cutoff=1)
    assert torch.equal(together(whole.stream(3, truncation=1.0)), together(cut.stream(3, truncation=1.0)))
    images = together(cut.stream(3, truncation=0.0))
    assert not (images == images[:1]).all()


def test_noise_is_an_image_s_own_or_everybody_s_or_absent() -> None:
    by_mode = {mode: together(styled(noise=mode).stream(5, seed=3)) for mode in ("random", "const", "none")}
    assert torch.equal(by_mode["random"], together(styled().stream(5, seed=3)))
    for a, b in (("random", "const"), ("random", "none"), ("const", "none")):
        assert not torch.equal(by_mode[a], by_mode[b])
    assert torch.equal(together(styled().stream(2, seed=3)), by_mode["random"][:2])


def test_walks_between_styles_are_straight_in_w_and_begin_at_a_sample() -> None:
    s = styled(noise="const")
    rows = together(walk(s, "latents", rows=2, steps=3, truncation=0.7))
    samples = together(s.stream(3, truncation=0.7))
    torch.testing.assert_close(rows[::3].int(), samples[:2].int(), rtol=0, atol=1)
    torch.testing.assert_close(rows[2::3].int(), samples[1:].int(), rtol=0, atol=1)
    z = s.latents(0, 0, 2, None, "redraw")
    g = s.generator
    middle = g.truncate(g.styles(z).mean(0, keepdim=True), 0.7)
    image = to_uint8(g.synthesize(middle, Noise("const", torch.zeros(1, dtype=torch.long))))
    torch.testing.assert_close(rows[1:2].int(), image.int(), rtol=0, atol=1)


@pytest.mark.parametrize("family", ["fastgan", "stylegan2"])
def test_noise_is_constant_on_walks_unless_a_mode_is_said(family: str) -> None:
    shown, step = {}, {}
    for mode in (None, "random", "const", "none"):
        s = noisy(family, noise=mode)
        frames = shown[mode] = together(walk(s, "latents", rows=1, steps=8, seed=1))
        step[mode] = (frames[1:].int() - frames[:-1].int()).abs().float().mean()
        assert s.generator.noise == (mode or "random")  # as it was
    assert step[None] < 0.7 * step["random"]
    assert not torch.equal(shown[None], shown["none"])


def test_images_on_a_walk_of_fastgan_differ_by_their_latents_alone() -> None:
    """It brings latents to one length, so that z and 3 z differ in their noise."""
    z = torch.randn(1, 12)
    for mode, alike in ((None, True), ("const", True), ("none", True), ("random", False)):
        a, b = together(noisy("fastgan", noise=mode).between(torch.cat([z, 3 * z])))
        assert ((a.int() - b.int()).abs().max() <= 1) == alike


@pytest.mark.parametrize(
    ("family", "options", "told"),
    [
        ("biggan", {"noise": "const"}, "this generator has no noise inside"),
        ("stylegan2", {"noise": "loud"}, "must be one of random, const, none"),
        ("biggan", {"cutoff": 2}, "is for truncation of w"),
        ("stylegan2", {"cutoff": 0}, "is for truncation of w, and must be positive"),
    ],
)
def test_noise_and_cutoff_that_a_generator_cannot_have(family: str, options: dict[str, Any], told: str) -> None:
    generator = build_generator(GENERATORS[family].tiny, 16, 0)
    with pytest.raises(UserError, match=told):
        Sampler(generator, "float32", **options)


@pytest.mark.parametrize(
    ("family", "truncation", "told"), [("fastgan", 0.5, "no truncation"), ("stylegan2", math.nan, "finite")]
)
def test_truncation_that_a_generator_cannot_have(family: str, truncation: float, told: str) -> None:
    made = Sampler(build_generator(GENERATORS[family].tiny, 16, 0), "float32")
    with pytest.raises(UserError, match=told):
        made.stream(2, truncation=truncation)
    if family == "stylegan2":
        with pytest.raises(UserError, match="form"):
            made.stream(2, truncation=0.5, form="scaled")


def test_statistics_of_one_mode_of_noise_are_not_another_s(tmp_path: Path, arrays: Path) -> None:
    """FastGAN's batch norms see the noise."""
    row = GENERATORS["fastgan"]
    config = tiny_run(arrays, generator=row.tiny, images=16)
    torch.manual_seed(0)
    generator = build_generator(config.generator, 16, 3)
    for name, parameter in generator.named_parameters():
        if name.endswith("strength"):
            parameter.data.fill_(0.5)
    path = tmp_path / checkpoint.file_name(5)
    tensors = {f"ema.{k}": v for k, v in generator.state_dict().items()}
    checkpoint.save(path, tensors, Header(config, 5, 1, {}))
    fresh = load(path, "cpu", noise="none").sample(2)
    assert not np.array_equal(load(path, "cpu").sample(2), fresh)
    assert np.array_equal(load(path, "cpu", noise="none").sample(2), fresh)
    assert len(list((tmp_path / "standing").glob("*"))) == 2
    assert load(path, "cpu", noise="none").describe()["noise"] == "none"


def test_cutoff_without_psi_is_refused() -> None:
    with pytest.raises(UserError, match="give --truncation too"):
        styled(cutoff=1).stream(2)


def test_a_path_between_latents_is_refused_where_walks_are_in_w() -> None:
    with pytest.raises(UserError, match="straight in w"):
        walk(styled(), "latents", rows=2, steps=3, path="slerp")
