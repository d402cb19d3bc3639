"""The losses of tiny games stay what they were: nothing but rounding may move them without a word."""

from pathlib import Path

import losses
import numpy as np
import pytest

MAY_MOVE = np.geomspace(5e-5, 5e-4, losses.STEPS)
"""Of 1 + the loss, step by step. Sums in another order (two threads, feature maps channels first, oneDNN off, AVX2
instead of AVX-512) move less than half of it; a changed formula moves more, at once or a few steps on."""


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return losses.write_images(tmp_path_factory.mktemp("waves"))


@pytest.mark.parametrize("game", losses.GAMES)
@pytest.mark.parametrize("players", losses.PLAYERS)
def test_losses_are_the_recorded_ones(tmp_path: Path, images: Path, players: str, game: str) -> None:
    recorded, found = losses.read(players)[game], losses.play(players, game, images, tmp_path / "run")
    for name, values in recorded.items():
        off = np.abs(np.subtract(found[name], values)) / (1 + np.abs(values))
        step = int(np.argmax(off > MAY_MOVE))
        assert off[step] <= MAY_MOVE[step], (
            f"{name} of step {step + 1} is {found[name][step]}, and was {values[step]}; if it has to move, "
            "record it anew by `python tests/golden/losses.py` and say why in the commit"
        )
