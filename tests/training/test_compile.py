"""Networks that torch.compile translates: which ones, what it is refused for, and that training is the same."""

from pathlib import Path

import pytest
import torch
from tiny import tiny_run
from torch import nn

from orthogan import runs
from orthogan.errors import UserError
from orthogan.settings import override
from orthogan.training.trainer import Observer

CPU = torch.device("cpu")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[nn.Module]:
    """The networks that are compiled: traced and differentiated as ever, then run without generated code."""
    found: list[nn.Module] = []
    real = nn.Module.compile

    def compiled(self: nn.Module, **settings: object) -> None:
        found.append(self)
        real(self, **settings, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compiled)
    monkeypatch.setattr("shutil.which", lambda name: name)
    return found


def losses(arrays: Path, folder: Path, compiled: str) -> list[float]:
    config = tiny_run(arrays, compile=compiled)
    trainer = runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None)
    found = [float(value) for _ in range(3) for value in trainer.step().values()]
    trainer.close()
    return found


@pytest.mark.parametrize(("compiled", "networks"), [("generator", 1), ("discriminator", 1), ("both", 2)])
def test_losses_are_those_of_the_run_that_is_not_compiled(
    tmp_path: Path, arrays: Path, traced: list[nn.Module], compiled: str, networks: int
) -> None:
    expected = losses(arrays, tmp_path / "plain", "none")
    assert traced == []
    assert losses(arrays, tmp_path / "compiled", compiled) == pytest.approx(expected, rel=1e-5)
    assert len(traced) == networks


def test_the_rules_that_differentiate_twice_are_refused_for_the_network_that_has_them(
    tmp_path: Path, arrays: Path, traced: list[nn.Module]
) -> None:
    r1 = {"regularizers.d_r1.strength": 1.0}
    config = override(tiny_run(arrays, compile="both"), r1)
    with pytest.raises(UserError, match=r"compile='both'.*d_r1 differentiates the discriminator twice"):
        runs.check_compile(config, CPU)
    runs.check_compile(override(tiny_run(arrays, compile="generator"), r1), CPU)


def test_a_processor_without_a_compiler_is_named_before_any_work(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(UserError, match=r"compile: no C\+\+ compiler"):
        losses(arrays, tmp_path / "run", "both")
    assert not (tmp_path / "run").exists()
