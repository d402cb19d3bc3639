"""Parts of a run beyond plain networks: frozen weights, rules that remember, draws of another attempt."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_run
from torch import Tensor, nn

from orthogan import runs
from orthogan.config import RunConfig, WatchConfig
from orthogan.game import regularizers
from orthogan.game.moment import Moment
from orthogan.game.regularizers import Rule
from orthogan.game.regularizers.base import Regularizer
from orthogan.networks.base import Discriminator, Generator
from orthogan.nn.frozen import Frozen
from orthogan.settings import override
from orthogan.training import checkpoint, saving, setup
from orthogan.training.changes import Changes, change
from orthogan.training.checkpoint import BadCheckpoint
from orthogan.training.trainer import Observer, Trainer

CPU = torch.device("cpu")


def begin(folder: Path, config: RunConfig) -> Trainer:
    return runs.start(config, "digits", folder, Observer(), CPU, lambda done, total: None)


def go_on(folder: Path, config: RunConfig) -> Trainer:
    return runs.resume(folder, config, Observer(), CPU, lambda done, total: None)


class Behind(Discriminator):
    """D behind a frozen layer."""

    def __init__(self, inner: Discriminator, identity: str):
        super().__init__(inner.config, inner.resolution, inner.n_classes)
        with torch.random.fork_rng():
            self.features = Frozen(nn.Conv2d(3, 3, 1), identity)
        self.inner = inner

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        logits: Tensor = self.inner(self.features(x), y)
        return logits


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Any:
    build = setup.build_pair

    def with_identity(identity: str) -> None:
        def pair(run: RunConfig) -> tuple[Generator, Discriminator]:
            g, d = build(run)
            return g, Behind(d, identity)

        monkeypatch.setattr(setup, "build_pair", pair)

    return with_identity


def test_a_frozen_part_is_neither_trained_nor_saved_and_must_be_the_same_on_resume(
    tmp_path: Path, arrays: Path, frozen: Any
) -> None:
    frozen("lite0 57934424")
    config = tiny_run(arrays, images=32)
    first = begin(tmp_path / "run", config)
    before = first.game.d.network.features.module.weight.clone()  # type: ignore[union-attr]
    assert first.run()
    assert torch.equal(first.game.d.network.features.module.weight, before)  # type: ignore[union-attr]
    found, _ = checkpoint.newest(tmp_path / "run" / "checkpoints")
    assert found.header.extra["frozen"] == {"discriminator": {"features": "lite0 57934424"}}
    assert not [name for name in found.tensors if "features" in name]
    longer = override(config, {"images": 48})
    assert go_on(tmp_path / "run", longer).run()
    frozen("lite1 77cc7160")
    with pytest.raises(BadCheckpoint, match="other frozen weights"):
        go_on(tmp_path / "run", override(config, {"images": 64}))


class Memory(Regularizer):
    """Pulls D's logits of real images towards their running mean; asked at every other update."""

    interval = 2

    def __init__(self) -> None:
        self.mean = torch.zeros(())

    def on_loss(self, moment: Moment) -> Tensor:
        logits = moment.discriminator(moment.real, moment.real_labels)
        self.mean = torch.lerp(self.mean, logits.detach().mean(), 0.5)
        return (logits - self.mean).square()

    def state_dict(self) -> dict[str, Tensor]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.mean = state["mean"].clone()


def test_a_rule_with_memory_resumes_exactly(tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(regularizers.RULES, "d_consistency", Rule("discriminator", lambda settings: Memory()))
    config = override(tiny_run(arrays, images=96), {"regularizers.d_consistency.strength": 1.0})
    assert begin(tmp_path / "whole", config).run()
    assert begin(tmp_path / "parted", override(config, {"images": 48})).run()
    assert go_on(tmp_path / "parted", config).run()
    whole, parted = (checkpoint.newest(tmp_path / name / "checkpoints")[0] for name in ("whole", "parted"))
    assert whole.tensors["rules.d_consistency.mean"].item() != 0
    assert whole.tensors.keys() == parted.tensors.keys()
    assert all(torch.equal(whole.tensors[name], parted.tensors[name]) for name in whole.tensors)


def test_a_checkpoint_without_what_a_rule_remembers_is_not_resumed(
    tmp_path: Path, arrays: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = override(tiny_run(arrays, images=16), {"regularizers.d_consistency.strength": 1.0})
    assert begin(tmp_path / "run", config).run()
    monkeypatch.setitem(regularizers.RULES, "d_consistency", Rule("discriminator", lambda settings: Memory()))
    with pytest.raises(BadCheckpoint, match=r"lacks the state of rules\.d_consistency"):
        go_on(tmp_path / "run", override(config, {"images": 32}))


def test_another_attempt_takes_other_draws_and_is_kept(tmp_path: Path, arrays: Path) -> None:
    config = tiny_run(arrays, images=32)
    losses = []
    for attempt in (0, 1, 1):
        run = begin(tmp_path / f"run{len(losses)}", config)
        run.feed.attempt = attempt
        losses.append([float(value) for value in run.step().values()])
    assert losses[0] != losses[1]
    assert losses[1] == losses[2]
    assert run.run()
    assert go_on(tmp_path / "run2", override(config, {"images": 48})).feed.attempt == 1


def test_a_checkpoint_holds_every_part_of_the_game(tmp_path: Path, arrays: Path) -> None:
    settings = {
        "regularizers.g_ortho.strength": 1e-4,
        "regularizers.d_consistency.strength": 1.0,
        "augment.kind": "ada",
    }
    run = begin(tmp_path / "run", override(tiny_run(arrays), settings))
    run.close()
    networks = {"generator", "discriminator", "ema", "g_optimizer", "d_optimizer"}
    assert set(saving.parts(run)) == networks | {"augment", "rules.g_ortho", "rules.d_consistency"}


def test_what_a_rollback_changed_in_the_rules_of_d_is_taken_back(tmp_path: Path, arrays: Path) -> None:
    """As by a return to a checkpoint from before."""
    config = override(tiny_run(arrays), {"regularizers.d_r1.strength": 3.0, "regularizers.d_r1.interval": 4})
    run = begin(tmp_path / "run", config)
    run.close()
    rules = run.game.d.rules

    def r1() -> tuple[float, int]:
        rule: Any = run.game.d.rules["d_r1"]
        return rule.settings.strength, rule.interval

    change(run, Changes(r1_gamma=6.0))
    assert r1() == (6.0, 4)
    change(run, Changes())
    assert r1() == (3.0, 4)
    assert run.game.d.rules is rules
    twice = Changes().after(WatchConfig(on_collapse="rollback", change="r1", r1_gamma=6.0))
    assert twice.after(WatchConfig(on_collapse="rollback", change="r1", r1_gamma=6.0)) == Changes(r1_gamma=12.0)
