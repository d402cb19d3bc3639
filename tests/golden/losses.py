"""Golden losses: what twelve steps of tiny games of every family lose, step by step.

`python tests/golden/losses.py` writes them anew, a file for each family, beside this one. Do so only where a change
must move them, and say in the commit which moved and why.
"""

import json
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from tiny import tiny_run

from orthogan import runs
from orthogan.formats import from_json, upgrade
from orthogan.settings import override
from orthogan.training.trainer import Observer, Trainer

HERE = Path(__file__).parent
STEPS = 12
Losses = dict[str, list[float]]

# Each pair of networks plays with the settings that its publication adds to the plain game.
PLAYERS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "biggan": (
        "biggan",
        {"g_channels": (2, 2, 1), "d_channels": (1, 2, 2), "d_downs": 2, "g_attention": 8, "d_attention": 8}
        | {"width": 8, "dim_z": 12, "shared_dim": 8},
        {"regularizers.g_ortho.strength": 0.3},
    ),
    "biggan-deep": (
        "biggan-deep",
        {"g_channels": (4, 2, 1), "d_channels": (1, 2, 2), "g_attention": 8, "d_attention": 8}
        | {"width": 8, "dim_z": 12, "shared_dim": 8},
        {"data.mirror": True},
    ),
    "sagan": (
        "biggan",
        {"g_channels": (2, 2, 1), "d_channels": (1, 2, 2), "d_downs": 2, "g_attention": 8, "d_attention": 8}
        | {"width": 8, "dim_z": 12, "skip_z": False, "shared_embedding": False, "init": "xavier"},
        {"optimizer.g_lr": 1e-4},
    ),
    "sngan": (
        "sngan",
        {"g_channels": (4, 2, 1), "d_channels": (1, 2, 2, 4), "d_downs": 2, "width": 4, "dim_z": 12},
        {"g_batches": 2, "data.dequantize": True, "optimizer.decay_from_images": 0},
    ),
    "sngan-cnn": (
        "sngan-cnn",
        {"width": 4, "dim_z": 12},
        {
            "optimizer.beta1": 0.5,
            "optimizer.g_lr": 1e-3,
            "optimizer.d_lr": 1e-3,
            "d_steps": 2,
            "data.unconditional": True,
        },
    ),
}
SLOW = {"optimizer.g_lr": 2e-4, "optimizer.d_lr": 2e-4}
"""Slow enough for rounding not to grow: a game of twelve fast steps is chaotic."""

GAMES: dict[str, dict[str, Any]] = {
    "hinge": {"loss": "hinge"},
    "wgan-gp": {"loss": "wasserstein", "discriminator.stabilizer": "wgan-gp"},
    "relativistic": {"loss": "relativistic"},
}
GAMES |= {
    "hinge, in two": GAMES["hinge"] | {"accumulate": 2},
    "wgan-gp, in two": GAMES["wgan-gp"] | {"accumulate": 2},
    "relativistic, in two": GAMES["relativistic"] | {"accumulate": 2, "bn_over": "batch"},
}


def write_images(folder: Path) -> Path:
    """12 images of 16 pixels in 3 classes: waves, from a formula and not from a generator of random numbers."""
    across, down = np.meshgrid(np.arange(16), np.arange(16))
    waves = [
        np.sin((1 + i % 3) * across[..., None] / 4 + i + np.arange(3)) * np.cos(down[..., None] / (2 + i / 4))
        for i in range(12)
    ]
    path = folder / "waves.npz"
    np.savez(path, images=np.round(127.5 + 127.5 * np.stack(waves)).astype(np.uint8), labels=np.arange(12) % 3)
    return path


def begin(players: str, game: str, images: Path, folder: Path) -> Trainer:
    """The real trainer before its first step."""
    family, shape, settings = PLAYERS[players]
    shape = {"resolution": 16, "n_classes": 10, **shape}  # 10: as many as the data has
    networks = from_json(upgrade(family, {"network": shape}))
    changes = {"images": STEPS * 16, "batch": 8, "d_steps": 1, **SLOW, **settings, **GAMES[game]}
    begun = replace(
        tiny_run(images),
        resolution=16,
        n_classes=10,
        generator=networks.generator,
        discriminator=networks.discriminator,
    )
    config = override(begun, changes)
    trainer = runs.start(config, "digits", folder, Observer(), torch.device("cpu"), lambda done, total: None)
    for network in (trainer.game.g.network, trainer.game.d.network):
        for name, parameter in network.named_parameters():
            if name.endswith("gamma"):
                torch.nn.init.constant_(parameter, 0.5)  # attention starts at 0, and would not be seen
    return trainer


def play(players: str, game: str, images: Path, folder: Path) -> Losses:
    """The losses of D and of G at each step, with one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        trainer = begin(players, game, images, folder)
        steps = [{name: float(value) for name, value in trainer.step().items()} for _ in range(STEPS)]
        trainer.feed.close()
    finally:
        torch.set_num_threads(threads)
    return {name: [step[name] for step in steps] for name in ("d_loss", "g_loss")}


def read(players: str) -> dict[str, Losses]:
    """The recorded losses of one pair of networks, by game."""
    recorded: dict[str, Losses] = json.loads((HERE / f"{players}.json").read_text())
    return recorded


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["ORTHOGAN_CACHE"] = f"{place}/cache"
        images = write_images(Path(place))
        for players in PLAYERS:
            found = {game: play(players, game, images, Path(place, players, game)) for game in GAMES}
            (HERE / f"{players}.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
