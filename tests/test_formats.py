"""Configurations of earlier formats, in which one family gave both networks."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import orthogan
from orthogan import tensorfile
from orthogan.config import CadenceConfig
from orthogan.errors import UserError
from orthogan.formats import RENAMED, from_json, renamed, to_json, upgrade
from orthogan.networks import DISCRIMINATORS, GENERATORS
from orthogan.presets import PRESETS, get
from orthogan.settings import flatten, nested, override
from orthogan.training import checkpoint
from orthogan.training.checkpoint import config_from_json, config_to_json

OLD = json.loads(Path(__file__).with_name("format2.json").read_text())
"""What format 2 wrote of presets."""


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_written_is_read_back(name: str) -> None:
    assert config_from_json(json.loads(json.dumps(config_to_json(get(name))))) == get(name)


@pytest.mark.parametrize("name", OLD)
def test_a_configuration_of_format_2_is_that_of_today(name: str) -> None:
    """But for the cadence of spectra, which came later and is the default in old files."""
    later = {"cadence.spectra_images": CadenceConfig().spectra_images}
    assert config_from_json(OLD[name]) == override(get(name), later)


def test_every_old_path_occurs_and_leads_to_a_setting_of_today() -> None:
    rows = [*GENERATORS.values(), *DISCRIMINATORS.values()]
    known = {path for row in rows for path in flatten({row.tiny.role: vars(row.tiny)})} | flatten(get("digits")).keys()
    assert all(set(paths) <= known for paths in RENAMED.values())
    stored = {path for old in OLD.values() for path in flatten(old["run"])}
    assert stored >= RENAMED.keys()
    assert {path for path in stored if path.startswith(("network.", "regularizers."))} == RENAMED.keys()


def test_a_path_leads_to_the_networks_that_have_the_setting() -> None:
    sngan = flatten(get("sngan-32"))
    assert renamed("network.width", sngan) == ("generator.width", "discriminator.width")
    assert renamed("network.sn_eps", sngan) == ("discriminator.sn_eps",)
    assert renamed("network.skip_z", sngan) == ()


def test_an_unknown_setting_of_an_old_file_is_named() -> None:
    with pytest.raises(UserError, match=r"unknown setting 'network\.widht'; did you mean 'network\.width'"):
        upgrade("biggan", {"network": {"resolution": 32, "widht": 3}})


def test_an_unknown_family_is_named() -> None:
    values = to_json(get("digits"))
    with pytest.raises(UserError, match="unknown discriminator 'stylegan9'"):
        from_json({**values, "discriminator": {"family": "stylegan9"}})


def test_nested_is_the_opposite_of_flatten() -> None:
    values = to_json(get("digits"))
    assert nested(flatten(values)) == values


def test_a_checkpoint_of_format_2_loads_and_samples(tmp_path: Path) -> None:
    stored = Path(__file__).parent / "training" / "format1"
    (path,) = (stored / "checkpoints").glob("*.safetensors")
    found = tensorfile.read(path, unsigned=True)
    facts = {name: value for name, value in found.facts.items() if name != "crc32"}
    tensorfile.write(tmp_path / path.name, found.tensors, {**facts, "format": "orthogan-checkpoint-2"})
    images = orthogan.load(tmp_path / path.name, device="cpu", precision="float32").sample(4, seed=0)
    assert np.abs(images.astype(int) - np.load(stored / "samples.npz")["images"]).max() <= 1


def test_a_resumed_run_of_format_1_is_written_down_as_of_format_3(tmp_path: Path, arrays: Path) -> None:
    stored = shutil.copytree(Path(__file__).parent / "training" / "format1", tmp_path / "run")
    (path,) = (stored / "checkpoints").glob("*.safetensors")
    loaded = checkpoint.load(path)
    checkpoint.save(tmp_path / "again.safetensors", loaded.tensors, loaded.header)
    facts = tensorfile.read(tmp_path / "again.safetensors").facts
    assert facts["format"] == "orthogan-checkpoint-3"
    assert facts["config"]["run"]["generator"]["family"] == "biggan"
    assert checkpoint.load(tmp_path / "again.safetensors").header.config == loaded.header.config
