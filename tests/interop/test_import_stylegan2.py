"""StyleGAN2 by the published names and shapes of its tensors, written out here a second time."""

import dataclasses
import pickle
import sys
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_files import part
from torch import Tensor

from orthogan.errors import UserError
from orthogan.interop.writing import prepare, write
from orthogan.model import load
from orthogan.networks.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from orthogan.networks.stylegan2_discriminator import StyleGAN2Discriminator, StyleGAN2DiscriminatorConfig
from orthogan.nn.noise import Noise, keys

G = StyleGAN2GeneratorConfig(
    channel_base=128, channel_max=12, dim_z=5, dim_w=7, mapping_layers=2, mapping_lr_mult=0.02, conv_clamp=64.0
)
D = StyleGAN2DiscriminatorConfig(channel_base=128, channel_max=12, mbstd_group=2, conv_clamp=64.0)
FILTER = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 64


class Persistent:
    """An object that is pickled as StyleGAN2-ADA pickles one."""

    def __init__(self, kind: str):
        self.kind = kind
        self.state: dict[str, Any] = {
            "_parameters": OrderedDict(),
            "_buffers": OrderedDict(),
            "_modules": OrderedDict(),
        }

    def __reduce__(self) -> tuple[object, ...]:
        meta = {"type": "class", "version": 6, "module_src": "raise SystemExit", "class_name": self.kind}
        return sys.modules["torch_utils.persistence"]._reconstruct_persistent_obj, (meta | {"state": self.state},)


def tree(tensors: dict[str, Tensor], settings: dict[str, Any]) -> Persistent:
    """Nested objects from dotted names."""
    root = Persistent("Network")
    for kind, entries in (("_parameters", tensors), ("", settings)):
        for name, value in entries.items():
            *path, last = name.split(".")
            node = root
            for word in path:
                node = node.state["_modules"].setdefault(word, Persistent("Layer"))
            if kind:
                is_buffer = last in ("resample_filter", "noise_const", "w_avg")
                entry = value if is_buffer else torch.nn.Parameter(value)
                node.state["_buffers" if is_buffer else "_parameters"][last] = entry
            else:
                node.state[last] = value
    return root


def of_generator(g: StyleGAN2Generator) -> dict[str, Tensor]:
    """The published names of a generator of 4, 8 and 16 pixels with classes."""
    own = g.state_dict()
    names = {"mapping.w_avg": "mean.mean", "synthesis.b4.const": "const"}
    for leaf in ("weight", "bias"):
        names[f"mapping.embed.{leaf}"] = f"mapping.embedding.{leaf}"
        for i in (0, 1):
            names[f"mapping.fc{i}.{leaf}"] = f"mapping.layers.{i}.{leaf}"
    convs = {"4.conv1": "0.conv", "8.conv0": "1.up", "8.conv1": "1.conv", "16.conv0": "2.up", "16.conv1": "2.conv"}
    for theirs, ours in convs.items():
        names |= {f"synthesis.b{theirs}.{leaf}": f"blocks.{ours}.conv.{leaf}" for leaf in ("weight", "bias")}
        names |= {
            f"synthesis.b{theirs}.affine.{leaf}": f"blocks.{ours}.conv.style.{leaf}" for leaf in ("weight", "bias")
        }
        names[f"synthesis.b{theirs}.noise_strength"] = f"blocks.{ours}.noise.strength"
        names[f"synthesis.b{theirs}.noise_const"] = f"blocks.{ours}.noise.const"
    for k, side in enumerate((4, 8, 16)):
        names |= {f"synthesis.b{side}.torgb.{leaf}": f"blocks.{k}.to_rgb.{leaf}" for leaf in ("weight", "bias")}
        for leaf in ("weight", "bias"):
            names[f"synthesis.b{side}.torgb.affine.{leaf}"] = f"blocks.{k}.to_rgb.style.{leaf}"
    assert sorted(names.values()) == sorted(own)
    filters = {f"synthesis.b{side}.resample_filter": FILTER for side in (4, 8, 16)}
    filters |= {f"synthesis.b{name}.resample_filter": FILTER for name in convs}
    return {theirs: own[ours].clone() for theirs, ours in names.items()} | filters


def of_discriminator(d: StyleGAN2Discriminator) -> dict[str, Tensor]:
    own, names = d.state_dict(), {}
    for leaf in ("weight", "bias"):
        names |= {f"b16.fromrgb.{leaf}": f"from_rgb.{leaf}", f"b4.conv.{leaf}": f"conv.{leaf}"}
        names |= {f"b4.fc.{leaf}": f"linear.{leaf}", f"b4.out.{leaf}": f"out.{leaf}"}
        names[f"mapping.embed.{leaf}"] = f"mapping.embedding.{leaf}"
        names |= {f"mapping.fc{i}.{leaf}": f"mapping.layers.{i}.{leaf}" for i in range(8)}
        for k, side in enumerate((16, 8)):
            names |= {f"b{side}.conv{i}.{leaf}": f"blocks.{k}.conv{i + 1}.{leaf}" for i in (0, 1)}
    names |= {"b16.skip.weight": "blocks.0.skip.weight", "b8.skip.weight": "blocks.1.skip.weight"}
    assert sorted(names.values()) == sorted(own)
    filters = {f"b{side}.{conv}.resample_filter": FILTER for side in (16, 8) for conv in ("conv0", "conv1", "skip")}
    return {theirs: own[ours].clone() for theirs, ours in names.items()} | filters


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch) -> tuple[StyleGAN2Generator, StyleGAN2Discriminator]:
    """Two networks with numbers of their own in every tensor; and the function by whose name they are pickled."""
    module = types.ModuleType("torch_utils.persistence")

    def _reconstruct_persistent_obj(meta: object) -> None:
        raise AssertionError("called")

    _reconstruct_persistent_obj.__module__ = "torch_utils.persistence"
    _reconstruct_persistent_obj.__qualname__ = "_reconstruct_persistent_obj"
    module._reconstruct_persistent_obj = _reconstruct_persistent_obj  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_utils", types.ModuleType("torch_utils"))
    monkeypatch.setitem(sys.modules, "torch_utils.persistence", module)
    torch.manual_seed(0)
    g, d = StyleGAN2Generator(G, 16, 3), StyleGAN2Discriminator(D, 16, 3)
    for network in (g, d):
        for tensor in network.state_dict().values():
            tensor += torch.randn_like(tensor)
    return g.eval(), d.eval()


SETTINGS = {
    "synthesis.b4.conv1.conv_clamp": 64,
    "mapping.num_layers": 2,
    # As in such files, a number of numpy's.
    "mapping.fc0.weight_gain": np.float64(0.02 / np.sqrt(12)),
}


def snapshot(folder: Path, g: dict[str, Tensor], d: dict[str, Tensor], **settings: Any) -> Path:
    path = folder / "network-snapshot-000001.pkl"
    of_d = {"b16.conv0.conv_clamp": 64, "b4.mbstd.group_size": 2}
    saved = {"G": tree(g, SETTINGS | settings), "D": tree(d, of_d), "G_ema": tree(g, SETTINGS | settings)}
    path.write_bytes(pickle.dumps(saved | {"augment_pipe": None, "training_set_kwargs": {"path": "x"}}, protocol=4))
    return path


def test_a_snapshot_becomes_the_same_networks(networks: Any, tmp_path: Path) -> None:
    g, d = networks
    result = prepare([snapshot(tmp_path, of_generator(g), of_discriminator(d))])
    assert [p.name for p in result.parts] == ["generator", "ema", "discriminator"]
    assert (result.config.resolution, result.config.n_classes) == (16, 3)
    assert result.config.generator == G
    assert result.config.discriminator == D
    for name, network in (("generator", g), ("ema", g), ("discriminator", d)):
        found = part(result, name)
        assert found.keys() == network.state_dict().keys()
        assert all(found[key].equal(tensor) for key, tensor in network.state_dict().items())


def test_its_mean_of_w_is_kept_at_every_truncation(networks: Any, tmp_path: Path) -> None:
    g, d = networks
    write(prepare([snapshot(tmp_path, of_generator(g), of_discriminator(d))]), tmp_path / "out.safetensors")
    model = load(tmp_path / "out.safetensors", "cpu", "float32", noise="const")
    z = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    for psi in (None, 0.5):
        model.stand(psi)
        assert model.sampler.generator.mean_style().equal(g.mean_style())
    w = g.truncate(g.styles(z, torch.tensor([0, 2])), 0.5)
    with torch.no_grad():
        wanted = g.synthesize(w, Noise("const", keys(z)))
    wanted = ((wanted.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1)
    made = torch.from_numpy(model.generate(z, [0, 2], truncation=0.5)).float()
    assert (made - wanted).abs().max() <= 1.01


def test_what_is_not_the_published_network_is_refused(networks: Any, tmp_path: Path) -> None:
    g, d = (of_generator(networks[0]), of_discriminator(networks[1]))
    cases = {
        "another filter": {"synthesis.b8.resample_filter": torch.ones(4, 4) / 16},
        "not known": {"synthesis.b8.skip.weight": torch.ones(8, 12, 1, 1)},
        "not of 4, 8, 16": {"synthesis.b64.conv1.weight": torch.ones(8, 8, 3, 3)},
        "do not halve": {"synthesis.b8.conv1.weight": torch.ones(5, 12, 3, 3)},
    }
    for why, change in cases.items():
        with pytest.raises(UserError, match=why):
            prepare([snapshot(tmp_path, g | change, d)])
    with pytest.raises(UserError, match=r"synthesis\.b8\.conv0\.noise_strength is missing"):
        prepare([snapshot(tmp_path, {k: v for k, v in g.items() if k != "synthesis.b8.conv0.noise_strength"}, d)])


def test_no_clamp_is_no_clamp(networks: Any, tmp_path: Path) -> None:
    g, d = networks
    path = snapshot(tmp_path, of_generator(g), of_discriminator(d), **{"synthesis.b4.conv1.conv_clamp": None})
    assert prepare([path]).config.generator == dataclasses.replace(G, conv_clamp=0.0)


def test_a_file_of_tensorflow_is_named(tmp_path: Path) -> None:
    path = tmp_path / "network-snapshot-000001.pkl"
    path.write_bytes(pickle.dumps((1, 2, 3), protocol=4))
    with pytest.raises(UserError, match="StyleGAN2's of TensorFlow"):
        prepare([path])
