"""What the loop hands to the algorithm: the numbers of updates, and draws that no two updates share."""

from pathlib import Path
from typing import Any

import torch
from tiny import tiny_run

from orthogan import runs
from orthogan.settings import override
from orthogan.training.duties import Window
from orthogan.training.observer import Observer
from orthogan.training.steps import Batch, Numbers, Stats
from orthogan.training.trainer import Trainer


class Recorded:
    """A trainer whose updates are written down instead of made."""

    def __init__(self, folder: Path, source: Path, **changes: Any):
        config = override(tiny_run(source), changes)
        cpu = torch.device("cpu")
        self.trainer = runs.start(config, "digits", folder, Observer(), cpu, lambda done, total: None)
        self.updates: list[tuple[str, int]] = []
        self.drawn: list[tuple[list[Batch], list[Numbers]]] = []
        game: Any = self.trainer.game
        game.update_discriminator = self.of_d
        game.update_generator = self.of_g
        ema: Any = self.trainer.ema
        ema.update = lambda network, steps: self.updates.append(("average", steps))

    def of_d(self, real: list[Batch], latents: list[Batch], numbers: list[Numbers], update: int) -> Stats:
        self.updates.append(("D", update))
        self.drawn.append((latents, numbers))
        return {}

    def of_g(self, real: list[Batch], latents: list[Batch], numbers: list[Numbers], update: int) -> Stats:
        self.updates.append(("G", update))
        self.drawn.append((latents, numbers))
        return {}


def test_updates_are_counted_from_0_and_those_of_the_average_from_1(tmp_path: Path, arrays: Path) -> None:
    found = Recorded(tmp_path / "run", arrays, d_steps=2)
    for _ in range(2):
        found.trainer.step()
    found.trainer.close()
    step = [("D", 0), ("D", 1), ("G", 0), ("average", 1)]
    assert found.updates == [*step, ("D", 2), ("D", 3), ("G", 1), ("average", 2)]
    assert (found.trainer.images, found.trainer.steps) == (32, 2)


def test_a_frozen_player_is_left_out_and_counted(tmp_path: Path, arrays: Path) -> None:
    for frozen, updates in (("generator", [("D", 0), ("D", 1)]), ("discriminator", [("G", 0), ("average", 1)])):
        found = Recorded(tmp_path / frozen, arrays, d_steps=2, freeze=frozen)
        found.trainer.step()
        found.trainer.close()
        assert found.updates == updates
        assert (found.trainer.images, found.trainer.steps) == (16, 1)


def test_no_two_updates_share_a_draw(tmp_path: Path, arrays: Path) -> None:
    """Those of G and of the next D come after the same images; those of another attempt, of every update."""
    seen: list[torch.Tensor] = []
    for attempt in (0, 1):
        found = Recorded(tmp_path / f"{attempt}", arrays, d_steps=2)
        trainer: Trainer = found.trainer
        trainer.feed.attempt = attempt
        for _ in range(2):
            trainer.step()
        trainer.close()
        for latents, numbers in found.drawn:
            seen += [latents[0][0].flatten()[:8], numbers[0].rules[:8]]
    assert len(seen) == 24
    assert len({tuple(each.tolist()) for each in seen}) == 24


def test_a_line_has_the_means_of_the_steps_since_the_line_before() -> None:
    window = Window()
    for losses, mean in (((1.0, 3.0), 2.0), ((5.0,), 5.0), ((1.0, 2.0, 6.0), 3.0)):
        for loss in losses:
            window.add({"d_loss": torch.tensor(loss)})
        assert window.empty() == {"d_loss": mean}
    assert window.empty() == {}
